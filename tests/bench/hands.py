"""Requests of somebody else: any user, any manager, any client."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml


@dataclass(frozen=True)
class Person:
    """A user and a group, who may do everything."""

    user: str
    group: str

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return the headers by which an administrator acts as this person."""
        groups = (self.group, "system:masters", "system:authenticated")
        return [("Impersonate-User", self.user), *(("Impersonate-Group", one) for one in groups)]


class Hands:
    """Sends requests with the credentials of a kubeconfig, on behalf of others."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        user = document["users"][0]["user"]
        self._server = cluster["server"]
        self._folder = folder
        self._pool = urllib3.PoolManager(
            maxsize=16,
            ca_certs=self._file(cluster, "certificate-authority"),
            cert_file=self._file(user, "client-certificate"),
            key_file=self._file(user, "client-key"),
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _file(self, holder: dict[str, Any], name: str) -> str:
        if name in holder:
            return str(holder[name])
        path = self._folder / name
        path.write_bytes(base64.b64decode(holder[f"{name}-data"]))
        return str(path)

    def send(
        self,
        method: str,
        path: str,
        body: Any,
        person: Person,
        *,
        manager: str,
        agent: str,
        kind: str = "application/json",
    ) -> Any:
        """Send one request and return the JSON of its answer; SystemExit where it is refused."""
        headers = urllib3.HTTPHeaderDict({"User-Agent": agent, "Content-Type": kind})
        for name, value in person.headers:
            headers.add(name, value)
        query = "" if method in {"GET", "DELETE"} else "?" + urlencode({"fieldManager": manager})
        answer = self._pool.request(
            method,
            f"{self._server}{path}{query}",
            body=None if body is None else json.dumps(body),
            headers=headers,
            retries=False,
        )
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.data[:300]!r}")
        return json.loads(answer.data)
