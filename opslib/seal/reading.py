"""What kubeseal reads: YAML or JSON, one document or many, Lists taken apart; strictly UTF-8."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.source.yamlload import Document, load_values

MOST = 100 * 1000 * 1000
"""Bytes of one input."""
_BOMS = ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))


def read_file(path: Path) -> bytes:
    """Read a file whole. Raises InputError where it is missing, no file, or too large."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MOST + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return _bounded(data, str(path))


def read_stdin() -> bytes:
    """Read standard input whole. Raises InputError where it is too large."""
    return _bounded(sys.stdin.buffer.read(MOST + 1), "standard input")


def text_of(data: bytes, where: str) -> str:
    """Return the text of bytes. Raises InputError, with the line, for what is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        other = next((name for mark, name in _BOMS if data.startswith(mark)), None)
        what = f"it is {other}" if other else f"byte {error.start + 1} is not UTF-8"
        raise InputError(
            f"this is not text in UTF-8: {what}",
            where=f"{where}:{line}",
            expected="YAML or JSON in UTF-8",
            hint="write it anew as UTF-8 (PowerShell: Out-File -Encoding utf8)" if other else None,
        ) from None


def read_documents(data: bytes, where: str) -> list[Document]:
    """Read the documents of an input; empty ones are left out, Lists are not taken apart.

    Raises InputError with the line for what is neither YAML nor JSON.
    """
    text = text_of(data, where).removeprefix("\ufeff")
    found = _json_stream(text) if text.lstrip()[:1] == "{" else None
    documents = found if found is not None else list(load_values(text, where))
    return [one for one in documents if one.manifest is not None]


def items_of(document: Document) -> Iterator[Document]:
    """Yield the items of a List with their lines, or the document itself."""
    manifest: Any = document.manifest
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    items = manifest.get("items") if isinstance(manifest, dict) else None
    if kind not in {"List", "SecretList", "SealedSecretList"} or not isinstance(items, list):
        yield document
        return
    inner = {"apiVersion": manifest.get("apiVersion"), "kind": str(kind).removesuffix("List")}
    for number, item in enumerate(items):
        prefix = f"/items/{number}"
        lines = {
            pointer.removeprefix(prefix): line
            for pointer, line in document.lines.items()
            if pointer.startswith(f"{prefix}/")
        }
        whole = {**inner, **item} if kind != "List" and isinstance(item, dict) else item
        yield Document(whole, document.lines.get(prefix, document.line), lines)


def _json_stream(text: str) -> list[Document] | None:
    """Read JSON documents that follow each other; None where it is no JSON, or has keys twice."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    found: list[Document] = []
    at = 0
    line, counted = 1, 0
    try:
        while True:
            while at < len(text) and text[at] in " \t\r\n":
                at += 1
            if at == len(text):
                return found
            line += text.count("\n", counted, at)
            counted = at
            value, at = decoder.raw_decode(text, at)
            found.append(Document(value, line))
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is written twice")
    return made


def _bounded(data: bytes, where: str) -> bytes:
    if len(data) > MOST:
        raise InputError(
            "the input is too large", where=where, expected=f"at most {MOST // 1_000_000} MB"
        )
    return data
