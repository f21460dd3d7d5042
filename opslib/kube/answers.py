"""What comes back from an API server, or why nothing does: lines, refusals, broken connections."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import orjson
import urllib3

from opslib.core.errors import InputError, OpslibError
from opslib.kube.errors import Refused, Unreachable, from_response


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


def lines_of(response: urllib3.BaseHTTPResponse, where: str) -> Iterator[bytes]:
    """Yield the lines of an answer as they come; errors as ``explain`` says them."""
    rest = b""
    try:
        for chunk in response.stream(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise explain(error, where) from error
    if rest:
        yield rest


def refusal(response: urllib3.BaseHTTPResponse, data: bytes, where: str) -> OpslibError:
    """Return the error that an answer which is not 2xx stands for."""
    try:
        body = orjson.loads(data) if data else {}
    except orjson.JSONDecodeError:
        body = {"message": data[:300].decode(errors="replace").strip()}
    wait = response.headers.get("Retry-After")
    return from_response(response.status, body, where=where, retry_after=wait)


def _cut_off(error: BaseException) -> bool:
    """Tell whether TLS failed for no fault of its own: the connection ended in the middle of it."""
    causes = (error, error.__cause__, error.__context__, *error.args)
    return any(isinstance(one, ssl.SSLEOFError | ssl.SSLZeroReturnError) for one in causes)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
