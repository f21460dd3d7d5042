"""SealedSecrets and Secrets as text: YAML and JSON as kubeseal writes them, only quicker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from opslib.core.errors import InputError
from opslib.seal import notes

FORMATS = ("json", "yaml")
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+=-]*|\.[A-Za-z_-][A-Za-z0-9_.-]*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_SPECIAL = re.compile(r"\.(?:inf|nan)", re.IGNORECASE)


def render(documents: Iterable[Mapping[str, Any]], form: str) -> str:
    """Write documents one after the other, each YAML one begun by ``---``."""
    if check(form) == "json":
        whole = map(_with_sums, documents)
        return "".join(json.dumps(one, indent=2, ensure_ascii=False) + "\n" for one in whole)
    return "".join("---\n" + _document(one) for one in documents)


def check(form: str) -> str:
    """Return the format's name in small letters. Raises InputError for an unknown one."""
    if form.lower() not in FORMATS:
        raise InputError(
            f"{form!r} is no output format", where="--format", expected=" or ".join(FORMATS)
        )
    return form.lower()


def scalar(text: str) -> str:
    """Write a text as a YAML scalar that every reader takes for this text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not _SPECIAL.fullmatch(text):
        return text
    return "".join(map(_visible, json.dumps(text, ensure_ascii=False)))


def _with_sums(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the check sums into the notes: JSON has no comments for them."""
    metadata = one.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    known, wrong = notes.read(annotations.get(notes.ANNOTATION))
    data = (one.get("spec") or {}).get("encryptedData")
    if not known or wrong or not isinstance(data, dict):
        return one
    summed = {
        key: replace(note, sum=notes.check_sum(data[key]))
        if isinstance(data.get(key), str)
        else note
        for key, note in known.items()
    }
    annotations = {**annotations, notes.ANNOTATION: notes.write(summed)}
    return {**one, "metadata": {**metadata, "annotations": annotations}}


def _document(one: Mapping[str, Any]) -> str:
    annotations = (one.get("metadata") or {}).get("annotations") or {}
    writer = _Writer(noted=notes.ANNOTATION in annotations)
    writer.mapping(one, "", ())
    return "\n".join(writer.lines) + "\n"


class _Writer:
    """Writes one document as block mappings with sorted keys, as sigs.k8s.io/yaml does."""

    def __init__(self, *, noted: bool) -> None:
        self.lines: list[str] = []
        self._noted = noted

    def mapping(self, values: Mapping[str, Any], indent: str, path: tuple[str, ...]) -> None:
        sealed = self._noted and path == ("spec", "encryptedData")
        for name in sorted(values):
            value = values[name]
            head = f"{indent}{scalar(name)}:"
            if isinstance(value, str) and name == notes.ANNOTATION and value.endswith("\n"):
                self.lines.append(f"{head} |")
                self.lines += [f"{indent}  {line}" for line in value.splitlines()]
            elif isinstance(value, str):
                text = f"{head} {scalar(value)}"
                self.lines.append(f"{text} {notes.comment(value)}" if sealed else text)
            elif isinstance(value, Mapping) and value:
                self.lines.append(head)
                self.mapping(value, f"{indent}  ", (*path, name))
            else:
                self.lines.append(f"{head} {json.dumps(value, ensure_ascii=False)}")


def _visible(char: str) -> str:
    """Write out what YAML does not allow in a text: control characters, lone surrogates, marks."""
    code = ord(char)
    if 0x20 <= code < 0x7F or (code >= 0xA0 and char.isprintable() and not _odd(code)):
        return char
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"


def _odd(code: int) -> bool:
    return 0xD800 <= code < 0xE000 or code in {0xFFFE, 0xFFFF, 0xFEFF}
