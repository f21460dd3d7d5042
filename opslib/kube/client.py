"""One connection to one API server, speaking raw JSON.

The official client brings authentication (kubeconfig, exec plugins, in-cluster
tokens) and transport; its typed models are left out, because they drop fields that
they do not know.
"""

from __future__ import annotations

import contextlib
import copy
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3

from opslib.core.errors import InputError, OpslibError
from opslib.kube.errors import ApiError, Refused, Unreachable, from_response, seconds_of
from opslib.kube.kubeconfig import access, client
from opslib.kube.pace import MOST, Pacer

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
PAGE = 500
"""Objects per LIST page: kubectl's own default (--chunk-size)."""

Query = Mapping[str, str | int | bool]


class Fenced(OpslibError):
    """A write was not sent, because this process may no longer write."""

    kind = "fenced"


class Cut:
    """Ends streams from another thread: who waits for the server's next word is woken up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[urllib3.BaseHTTPResponse] = set()
        self.done = threading.Event()

    def end(self) -> None:
        """End what is read now, and whatever is opened later."""
        with self._lock:
            self.done.set()
            for response in self._open:
                # One that is at its end already has no connection to shut down.
                with contextlib.suppress(RuntimeError, ValueError, OSError):
                    response.shutdown()

    @contextlib.contextmanager
    def reading(self, response: urllib3.BaseHTTPResponse) -> Iterator[None]:
        """Close a response after the block, and let ``end`` reach it before.

        Raises Unreachable when it was ended already.
        """
        with self._lock:
            self._open.add(response)
        try:
            if self.done.is_set():
                raise Unreachable("this stream was ended before it began")
            yield
        finally:
            with self._lock:
                self._open.discard(response)
            response.close()


class Cluster:
    """An API server and who we are to it. Safe to use from several threads."""

    def __init__(self, api: Any, *, context: str, namespace: str, timeout: float) -> None:
        self._api = api
        self._pool: urllib3.PoolManager = api.rest_client.pool_manager
        self.server: str = api.configuration.host.rstrip("/")
        self.context = context
        self.namespace = namespace
        self.timeout = timeout
        self.version = ""
        self.pacer = Pacer()
        self._may_write: Callable[[], bool] | None = None

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
            raise _refusal(response, response.data, where)
        try:
            return orjson.loads(response.data) if response.data else {}
        except orjson.JSONDecodeError as error:
            raise ApiError(
                response.status,
                "NotJSON",
                "the answer is not JSON, so something between here and the API server wrote it",
                where=where,
            ) from error

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
                raise _refusal(response, b"\n".join(_lines(response, where)), where)
            yield from _lines(response, where)

    def get(self, path: str, query: Query | None = None) -> Any:
        """GET one object."""
        return self.request("GET", path, query=query)

    def find(self, path: str) -> Any | None:
        """GET one object, or None where there is none."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, path: str, query: Query | None = None) -> tuple[list[dict[str, Any]], str]:
        """LIST a collection page by page; return its items and the resourceVersion read.

        A continue token that expired midway (410) starts the list again without paging,
        as client-go's pager does.
        """
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            asked: dict[str, str | int | bool] = {**(query or {}), "limit": PAGE}
            if token:
                asked["continue"] = token
            try:
                page = self.request("GET", path, query=asked)
            except ApiError as error:
                if error.code != 410 or not token:
                    raise
                page = self.request("GET", path, query=query)
                items = []
            items.extend(page.get("items") or [])
            token = page["metadata"].get("continue", "")
            if not token:
                return items, str(page["metadata"].get("resourceVersion", ""))

    def uid(self) -> str:
        """Return what names this cluster for ever: the uid of its kube-system namespace."""
        return str(self.get("/api/v1/namespaces/kube-system")["metadata"]["uid"])

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
        url = f"{self.server}{path}"
        if query:
            url += "?" + urlencode({k: _text(v) for k, v in query.items()})
        seconds = self.timeout if timeout is None else timeout
        content: bytes | Iterator[bytes] | None = payload
        if self._may_write and method != "GET":
            where = f"{method} {self.server}{path}"
            _guard(self._may_write, where)
            content = _fenced(payload or b"", self._may_write, where)
            headers["Content-Length"] = str(len(payload or b""))
        try:
            return self._pool.request(
                method,
                url,
                body=content,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(seconds, self.timeout), read=seconds),
                preload_content=not stream,
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, ssl.SSLError, OSError) as error:
            raise explain(error, self.server) from error

    def _credentials(self, method: str, path: str) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        clean = {name: value.strip() for name, value in headers.items()}
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
        dry = "dryRun" in (options.get("query") or {})
        sort = f"{method} {path.rpartition('/')[0]} {dry}"
        with self.pacer.turn(sort) as turn:
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


def explain(error: BaseException, server: str) -> InputError:
    """Say in one sentence why no answer came from ``server``."""
    root: BaseException = error
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason:
        root = error.reason
    hint = "check that the server runs and that the address is right (`kubectl cluster-info`)"
    if isinstance(root, urllib3.exceptions.SSLError | ssl.SSLError) and not _cut_off(root):
        return Refused(
            f"TLS with the API server fails: {_one_line(root)}",
            where=server,
            hint="check the certificate authority and the client certificate of the kubeconfig: "
            "wrong cluster, or expired",
        )
    if isinstance(root, urllib3.exceptions.NameResolutionError):
        return Unreachable("the API server's host name does not resolve", where=server, hint=hint)
    if isinstance(root, urllib3.exceptions.NewConnectionError):
        return Unreachable("no API server answers at this address", where=server, hint=hint)
    if isinstance(root, urllib3.exceptions.TimeoutError | TimeoutError):
        return Unreachable("the API server did not answer in time", where=server, hint=hint)
    return Unreachable(f"the connection broke: {_one_line(root)}", where=server, hint=hint)


def _guard(may_write: Callable[[], bool], where: str) -> None:
    if not may_write():
        raise Fenced(
            "this process may no longer write: its lease ended or was taken",
            where=where,
            hint="nothing to do: whoever holds the lease now goes on",
        )


def _fenced(payload: bytes, may_write: Callable[[], bool], where: str) -> Iterator[bytes]:
    """Yield the body of a request right before it goes into the connection, or not at all.

    Without its body the server does nothing: this is the last moment there is, a millisecond
    after the headers. A connection that breaks off here is closed and not used again.
    """
    _guard(may_write, where)
    yield payload


def _cut_off(error: BaseException) -> bool:
    """Tell whether TLS failed for no fault of its own: the connection ended in the middle of it."""
    causes = (error, error.__cause__, error.__context__, *error.args)
    return any(isinstance(one, ssl.SSLEOFError | ssl.SSLZeroReturnError) for one in causes)


def _lines(response: urllib3.BaseHTTPResponse, where: str) -> Iterator[bytes]:
    rest = b""
    try:
        for chunk in response.stream(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise explain(error, where) from error
    if rest:
        yield rest


def _refusal(response: urllib3.BaseHTTPResponse, data: bytes, where: str) -> OpslibError:
    try:
        body = orjson.loads(data) if data else {}
    except orjson.JSONDecodeError:
        body = {"message": data[:300].decode(errors="replace").strip()}
    wait = response.headers.get("Retry-After")
    return from_response(response.status, body, where=where, retry_after=wait)


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
