"""A small client for the sandbox's own API server, with nothing but the standard library.

It is for looking at a sandbox and setting it up in tens of milliseconds; everything else
uses :mod:`opslib.kube`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opslib.core.errors import OpslibError


class Api:
    """One connection to the API server, authenticated by the sandbox's client certificate."""

    def __init__(self, port: int, pki: Path, *, timeout: float = 5.0) -> None:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=timeout, context=context
        )

    def close(self) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Return the status and body of one request. Raises OSError where nobody answers."""
        headers = {"Accept": "application/json", "User-Agent": "opslib-sandbox"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        try:
            self._connection.request(method, path, body=payload, headers=headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise OSError(str(error) or type(error).__name__) from error

    def json(self, method: str, path: str, body: Any = None, **options: str) -> Any:
        """Return the JSON answer of a request that must succeed. Raises OpslibError, OSError."""
        status, answer = self.send(method, path, body, **options)
        if status >= 300:
            raise OpslibError(
                f"the API server answered {status} to {method}: {_message(answer)}", where=path
            )
        return json.loads(answer)


@contextlib.contextmanager
def connect(port: int, pki: Path, *, timeout: float = 5.0) -> Iterator[Api]:
    """Open a connection to the API server on the loopback address and close it after use."""
    api = Api(port, pki, timeout=timeout)
    try:
        yield api
    finally:
        api.close()


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("message") or "")
    except (ValueError, AttributeError):
        return answer[:200].decode(errors="replace")
