"""Files that a runbook leaves in its record beside the notebook: ``runbook.attach``.

What is too large to be shown goes there, such as all the values of a review. The bytes do not
pass through the notebook's messages, so that no front end has to hold them; they are masked,
hashed and listed in the manifest as every file of a record is.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.runbook import channel, facts
from opslib.runbook.folder import EVENTS, HTML, MANIFEST, RECORD, RESULT, RecordFolder
from opslib.runbook.verify import AFTERWARDS

KIND = "attach"
MOST_BYTES = 256 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,80}")
_OWN = {RECORD, HTML, RESULT, MANIFEST, EVENTS, *AFTERWARDS}

Handler = Callable[[str, dict[str, Any]], dict[str, Any]]


def attach(name: str, content: Any) -> str:
    """Keep a file in the record of this run; return its name, "" where there is no record.

    ``content`` is text, or data that becomes JSON. A name that ends in .gz is compressed.
    Raises InputError for a name that is none or that the record has for itself.
    """
    if not _NAME.fullmatch(name) or name in _OWN:
        raise InputError(
            f"{name!r} cannot name a file of a record",
            expected="small letters, digits and . _ - , and none of the record's own names",
        )
    text = content if isinstance(content, str) else _json(content, name)
    if len(text) > MOST_BYTES:
        raise InputError("the file is too large for a record", where=name, expected="256 MB")
    if facts.inside_run() and channel.available():
        return _hand_over(name, text)
    from opslib.runbook import live  # noqa: PLC0415  # it imports what writes records lazily too

    return name if live.keep(name, text) else ""


def _json(content: Any, name: str) -> str:
    return json.dumps(facts.to_plain(content, name), ensure_ascii=False, indent=1) + "\n"


def _hand_over(name: str, text: str) -> str:
    """Give the text to the runner in a private file beside the line to it."""
    folder = Path(os.environ[channel.CHANNEL]).parent
    handle, path = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode("utf-8", "backslashreplace"))
        channel.call(KIND, name=name, path=path)
    finally:
        os.unlink(path)
    return name


def taking(folder: RecordFolder, others: Handler) -> Handler:
    """Return what answers a kernel's calls: attachments here, the rest by ``others``."""

    def handle(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        if kind != KIND:
            return others(kind, fields)
        text = Path(fields["path"]).read_text(encoding="utf-8")
        folder.write(str(fields["name"]), text)
        return {}

    return handle
