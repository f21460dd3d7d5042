"""Which SHA-256 sum a downloaded file must have. Without a sum to trust, nothing is downloaded.

Sums come, in this order, from

1. the file that OPSLIB_PINS names: for a company's mirror, or for other builds;
2. ``pins.json`` of this package;
3. the checksum file that the project publishes beside the artefact, only where
   OPSLIB_ALLOW_UNPINNED=checksum-file says so: whoever can change the artefact on the
   server can change that file too, so it guards against a broken transfer and not against
   a hostile server.

Both JSON files have the form ``{component: {path under the mirror: sum}}``.

What ``pins.json`` does not list is built from source instead, which go.sum pins. Sums are
added there by a person who has verified the release's signature
(https://kubernetes.io/docs/tasks/administer-cluster/verify-signed-artifacts/); the listed
ones were published by two parties independently of each other (linux-amd64) or by one of
them (the others).
"""

from __future__ import annotations

import json
import os
import re
from importlib.resources import files
from pathlib import Path

from opslib.core.errors import InputError
from opslib.sandbox.download import DownloadError, read_text
from opslib.sandbox.tools import Artefact

_SUM = re.compile(r"[0-9a-f]{64}")
_UNPINNED = "OPSLIB_ALLOW_UNPINNED"
_CHECKSUM_FILE = "checksum-file"


def expected_sum(artefact: Artefact) -> str:
    """Return the sum that the artefact must have, hex.

    Raises DownloadError where there is no sum to trust, InputError for a wrong setting.
    """
    for pins in (_user_pins(), _own_pins()):
        if found := pins.get(artefact.component, {}).get(artefact.path):
            return found
    if _unpinned_allowed():
        return _published_sum(artefact)
    raise DownloadError(
        f"no pinned sum for {artefact.path}, so it is not downloaded",
        where=artefact.path,
        hint=f"give its sum in a file named by OPSLIB_PINS, or set {_UNPINNED}={_CHECKSUM_FILE}",
    )


def _own_pins() -> dict[str, dict[str, str]]:
    text = files("opslib.sandbox").joinpath("pins.json").read_text(encoding="utf-8")
    return _parse(text, "pins.json")


def _user_pins() -> dict[str, dict[str, str]]:
    name = os.environ.get("OPSLIB_PINS")
    if not name:
        return {}
    try:
        return _parse(Path(name).read_text(encoding="utf-8"), name)
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}", where="OPSLIB_PINS") from error


def _parse(text: str, where: str) -> dict[str, dict[str, str]]:
    try:
        pins = {
            str(component): {str(path): str(value).lower() for path, value in entries.items()}
            for component, entries in json.loads(text).items()
        }
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{where} is not a file of pins: {error}",
            where=where,
            expected='JSON such as {"etcd": {"v3.7.3/SOME-FILE": "64 hex digits"}}',
        ) from error
    for entries in pins.values():
        for path, value in entries.items():
            if not _SUM.fullmatch(value):
                raise InputError(
                    f"the sum of {path} is not a SHA-256 sum",
                    where=where,
                    expected="64 hexadecimal digits",
                )
    return pins


def _unpinned_allowed() -> bool:
    value = os.environ.get(_UNPINNED, "")
    if value not in {"", _CHECKSUM_FILE}:
        raise InputError(
            f"{_UNPINNED}={value!r} is not known", where=_UNPINNED, expected=_CHECKSUM_FILE
        )
    return bool(value)


def _published_sum(artefact: Artefact) -> str:
    url = artefact.checksums_url
    if not url:
        raise DownloadError(
            f"no checksum file is published for {artefact.path}", where=artefact.url
        )
    name = artefact.path.rpartition("/")[2]
    return find_sum(read_text(url), name, artefact.checksums)


def find_sum(text: str, name: str, where: str) -> str:
    """Find a file's sum in sha256sum(1) output; a file with a bare sum is read as well."""
    for line in text.splitlines():
        words = line.split()
        if not words or not _SUM.fullmatch(words[0].lower()):
            continue
        if len(words) == 1 or words[-1].lstrip("*") == name:
            return words[0].lower()
    raise DownloadError(f"{where} has no SHA-256 sum of {name}", where=where)
