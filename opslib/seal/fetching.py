"""Where a certificate comes from: a file, a URL, or the controller; and whether it may be used."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from opslib.core.errors import InputError
from opslib.seal import certificates, pins
from opslib.seal.certificates import Certificate
from opslib.seal.pins import Pinned
from opslib.seal.reading import read_file
from opslib.source.address import without_credentials

if TYPE_CHECKING:  # a certificate from a file needs no client of Kubernetes
    from opslib.seal.controller import Controller

_SECONDS = 30
_MOST = 1_000_000
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def fetch(place: str) -> bytes:
    """Read a certificate's text from a path, file://, http:// or https://, unchanged.

    Proxies of the environment are used for URLs, as kubeseal does. Raises InputError.
    """
    scheme = "" if _DRIVE.match(place) else urlsplit(place).scheme
    if scheme == "":
        return read_file(Path(place).expanduser())
    if scheme == "file":
        return read_file(Path(unquote(urlsplit(place).path)))
    shown = without_credentials(place)
    if scheme not in {"http", "https"}:
        expected = "a path, file://, http:// or https://"
        raise InputError("this is no address of a certificate", where=shown, expected=expected)
    import urllib.error  # noqa: PLC0415  # with http.client and ssl 30 ms
    import urllib.request  # noqa: PLC0415

    try:
        with urllib.request.urlopen(place, timeout=_SECONDS) as answer:  # noqa: S310  # see above
            data: bytes = answer.read(_MOST + 1)
    except urllib.error.HTTPError as error:
        raise InputError(
            f"the certificate cannot be fetched: the server says {error.code}", where=shown
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"the certificate cannot be fetched: {reason}", where=shown) from None
    if len(data) > _MOST:
        raise InputError("the answer is too large for a certificate", where=shown)
    return data


def certificate(
    place: str, controller: Callable[[], Controller], pinned: Pinned | None
) -> tuple[Certificate, list[str]]:
    """Return the certificate to seal with, and what a person should know of it.

    ``place`` names it; "" asks the controller. It must be valid now and, where the cluster is
    pinned, be of the pinned key. Raises InputError otherwise.
    """
    told: list[str] = []
    if place:
        one = certificates.parse(fetch(place), without_credentials(place))
    else:
        source = controller()
        one = certificates.parse(source.certificate(), f"Service {source.namespace}/{source.name}")
        told += source.news()
    if pinned is not None:
        pins.check(one, pinned)
    told += certificates.check_dates(one)
    if pinned is None and place.startswith("http://"):
        told.append(
            f"{without_credentials(place)} comes without TLS and is not pinned: whoever is on the"
            " way can put their own key in its place; opslib seal pin"
        )
    return one, told
