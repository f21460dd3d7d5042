"""One connection to one API server, speaking raw JSON.

The official client brings authentication (kubeconfig, exec plugins, in-cluster
tokens) and transport; its typed models are left out, because they drop fields that
they do not know.
"""

from __future__ import annotations

import contextlib
import copy
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
import urllib3

from opslib.core import secrecy
from opslib.core.errors import InputError, OpslibError
from opslib.kube.answers import explain, lines_of, refusal
from opslib.kube.cut import Cut
from opslib.kube.errors import ApiError, Refused, seconds_of
from opslib.kube.fence import fenced_body, guard
from opslib.kube.kubeconfig import access, client
from opslib.kube.pace import MOST, Pacer

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
METADATA = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"
"""Of a collection, only the metadata of its items, from servers that can.
https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""
BRIEF = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
"""The same of one object, for whoever writes and knows what it is then."""
PAGE = 500
"""Objects per LIST page: kubectl's own default (--chunk-size)."""

_SYSTEM = "/api/v1/namespaces/kube-system"
NAMES = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"
"""Asks for a collection as a table, whose column "Name" has the names."""

Query = Mapping[str, str | int | bool]


class Cluster:
    """An API server and who we are to it. Safe to use from several threads."""

    def __init__(self, api: Any, *, context: str, namespace: str, timeout: float) -> None:
        self._api = api
        self._pool: urllib3.PoolManager = api.rest_client.pool_manager
        self.server: str = api.configuration.host.rstrip("/")
        self._opener: Any = self._pool
        self._prefix = self.server
        if not isinstance(self._pool, urllib3.ProxyManager):
            # The way from an address to its connections is gone once, not for each request.
            self._opener = self._pool.connection_from_url(self.server)
            self._prefix = urlsplit(self.server).path
        self.context = context
        self.namespace = namespace
        self.timeout = timeout
        self.version = ""
        self.pacer = Pacer()
        self._may_write: Callable[[], bool] | None = None
        self._unread: Callable[[str, str], None] | None = None

    def lenient(self, unread: Callable[[str, str], None]) -> Cluster:
        """Return the same connection for a reader who goes on without what it may not read.

        A refusal (403) of ``find``, ``list`` or ``uid`` is told to ``unread`` as path and reason,
        and answered as if nothing were there: whoever uses this must not take it for that.
        """
        other = copy.copy(self)
        other._unread = unread  # noqa: SLF001  # it is one of us
        return other

    def _passed_over(self, path: str, error: ApiError) -> bool:
        if self._unread is None or error.code != 403:
            return False
        self._unread(path, error.what)
        return True

    def fenced(self, may_write: Callable[[], bool]) -> Cluster:
        """Return the same connection for a writer that may lose its right to write.

        ``may_write`` is asked at the last moment before each request that writes, also one that
        is sent again; where it says no, its body is not sent and Fenced is raised. Between the
        question and the kernel lie microseconds, and the lock that the write carries.
        """
        other = copy.copy(self)
        other._may_write = may_write  # noqa: SLF001  # it is one of us
        return other

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
    ) -> Any:
        """Send one request and return the JSON of its answer.

        ``path`` starts with "/". Raises ApiError for an answer that is not 2xx,
        Unreachable when there is none within ``timeout`` seconds, Refused for 401 and TLS.
        """
        response = self._send(
            method,
            path,
            query=query,
            body=body,
            content_type=content_type,
            accept=accept,
            timeout=timeout,
            stream=False,
        )
        where = f"{method} {self.server}{path}"
        if not 200 <= response.status < 300:
            raise refusal(response, response.data, where)
        try:
            answer = orjson.loads(response.data) if response.data else {}
        except orjson.JSONDecodeError as error:
            raise ApiError(
                response.status,
                "NotJSON",
                "the answer is not JSON, so something between here and the API server wrote it",
                where=where,
            ) from error
        if _may_be_secret(path):
            secrecy.note_object(answer)
        return answer

    def stream(
        self,
        path: str,
        *,
        query: Query | None = None,
        timeout: float | None = None,
        accept: str = "*/*",
        cut: Cut | None = None,
    ) -> Iterator[bytes]:
        """Yield the lines of an answer as they come (watches, logs); ends when the server ends it.

        ``timeout`` is the longest silence in seconds; ``cut`` ends it from another thread.
        Errors as ``request``.
        """
        where = f"GET {self.server}{path}"
        response = self._send("GET", path, query=query, accept=accept, timeout=timeout, stream=True)
        with (cut or Cut()).reading(response):
            if response.status != 200:
                raise refusal(response, b"\n".join(lines_of(response, where)), where)
            for line in lines_of(response, where):
                if _may_be_secret(path) and line.startswith(b"{"):
                    with contextlib.suppress(orjson.JSONDecodeError):
                        secrecy.note_object(orjson.loads(line))
                yield line

    def get(self, path: str, query: Query | None = None) -> Any:
        """GET one object."""
        return self.request("GET", path, query=query)

    def find(self, path: str) -> Any | None:
        """GET one object, or None where there is none."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.code == 404 or self._passed_over(path, error):
                return None
            raise

    def list(
        self, path: str, query: Query | None = None, *, accept: str = JSON
    ) -> tuple[list[dict[str, Any]], str]:
        """LIST a collection page by page; return its items and the resourceVersion read.

        ``accept`` may ask for METADATA alone. A continue token that expired midway (410) starts
        the list again without paging, as client-go's pager does.
        """
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            asked: dict[str, str | int | bool] = {**(query or {}), "limit": PAGE}
            if token:
                asked["continue"] = token
            try:
                page = self.request("GET", path, query=asked, accept=accept)
            except ApiError as error:
                if self._passed_over(path, error):
                    return [], ""
                if error.code != 410 or not token:
                    raise
                page = self.request("GET", path, query=query, accept=accept)
                items = []
            items.extend(page.get("items") or [])
            token = page["metadata"].get("continue", "")
            if not token:
                return items, str(page["metadata"].get("resourceVersion", ""))

    def uid(self) -> str:
        """Return what names this cluster for ever: the uid of its kube-system namespace."""
        found = self.find(_SYSTEM) if self._unread else self.get(_SYSTEM)
        return str(found["metadata"]["uid"]) if found else ""

    def about(self) -> dict[str, str | None]:
        """Return server, version and uid for a record; uid None where it may not be read."""
        try:
            uid: str | None = self.uid()
        except OpslibError:
            uid = None
        return {"server": self.server, "version": self.version, "uid": uid}

    def paced(self, go_on: Callable[[], bool] = lambda: True) -> Cluster:
        """Return the same connection for work in bulk: no more at once than the server takes.

        What must not wait behind such work, as the renewal of a lease, uses the cluster itself.
        ``go_on`` is asked when the turn of a write has come, also of one that is tried again:
        where it says False nothing is sent and OpslibError raised.
        """
        return _Paced(self, go_on)

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str,
        timeout: float | None,
        stream: bool,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": accept, "User-Agent": "opslib", **self._credentials(method, path)}
        payload = None
        if body is not None:
            headers["Content-Type"] = content_type
            payload = body if isinstance(body, bytes) else orjson.dumps(body)
            if _may_be_secret(path):
                secrecy.note_object(body)
        url = f"{self._prefix}{path}"
        if query:
            url += "?" + urlencode({k: _text(v) for k, v in query.items()})
        seconds = self.timeout if timeout is None else timeout
        content: bytes | Iterator[bytes] | None = payload
        if self._may_write and method != "GET":
            where = f"{method} {self.server}{path}"
            guard(self._may_write, where)
            content = fenced_body(payload or b"", self._may_write, where)
            headers["Content-Length"] = str(len(payload or b""))
        try:
            response: urllib3.BaseHTTPResponse = self._opener.urlopen(
                method,
                url,
                body=content,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(seconds, self.timeout), read=seconds),
                preload_content=not stream,
                retries=False,
                redirect=False,
            )
            return response
        except (urllib3.exceptions.HTTPError, ssl.SSLError, OSError) as error:
            raise explain(error, self.server) from error

    def _credentials(self, method: str, path: str) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        clean = {name: value.strip() for name, value in headers.items()}
        for value in clean.values():  # also one that a plugin has just renewed
            secrecy.note(value.rpartition(" ")[2], "kubeconfig/token")
        if not all(value.isascii() and value.isprintable() for value in clean.values()):
            # http.client would say so too, and quote the token.
            raise Refused(
                "the token of the kubeconfig holds line breaks or characters that no token has",
                where=self.server,
                hint="write it again, on one line",
            )
        return clean


class _Paced(Cluster):
    """A cluster whose requests wait for their turn; streams do not, as they last."""

    def __init__(self, cluster: Cluster, go_on: Callable[[], bool]) -> None:
        # Nothing is opened: connections, credentials and pace are those of the cluster.
        self.__dict__.update(cluster.__dict__)
        self._go_on = go_on

    def _send(
        self, method: str, path: str, *, stream: bool, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        if stream:
            return super()._send(method, path, stream=True, **options)
        with self.pacer.turn() as turn:
            if method != "GET" and not self._go_on():
                turn.sent = False
                raise OpslibError("stopped before this request was sent", where=path)
            response = super()._send(method, path, stream=False, **options)
            turn.status = response.status
            turn.retry_after = seconds_of(response.headers.get("Retry-After")) or 0.0
        return response


def connect(
    kubeconfig: Path | str | None = None, context: str | None = None, *, timeout: float = 30
) -> Cluster:
    """Connect by a kubeconfig (default: KUBECONFIG, ~/.kube/config, in-cluster).

    ``timeout`` is seconds per request; asking the version waits 5 s at most. Raises InputError
    for a kubeconfig or context that cannot be used and for a server that is no API server,
    Unreachable and Refused as ``request``.
    """
    found = access(kubeconfig, context)
    found.configuration.connection_pool_maxsize = MOST
    cluster = Cluster(
        client(found), context=found.context, namespace=found.namespace, timeout=timeout
    )
    try:
        cluster.version = _version(cluster)
    except OpslibError:
        cluster.close()
        raise
    return cluster


def _version(cluster: Cluster) -> str:
    try:
        answer = cluster.request("GET", "/version", timeout=min(5, cluster.timeout))
    except ApiError as error:
        if error.code == 403:  # some roles may not even ask this; the rest works
            return ""
        if error.code == 429 or error.code >= 500:
            raise
        raise _no_api_server(cluster, f"it answers {error.code} to /version") from error
    version = answer.get("gitVersion") if isinstance(answer, dict) else None
    if not version:
        raise _no_api_server(cluster, "its /version names no gitVersion")
    return str(version)


def _no_api_server(cluster: Cluster, why: str) -> InputError:
    return InputError(
        f"this is not a Kubernetes API server: {why}",
        where=cluster.server,
        expected="the address of an API server in the kubeconfig's cluster",
    )


def _may_be_secret(path: str) -> bool:
    return "/secrets" in path or path.endswith("/token")


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
