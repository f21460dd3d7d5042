"""YAML as kubectl reads it, with the line of every field.

PyYAML's C scanner and parser do the syntax; what plain words and numbers mean is kubectl's
(``scalars``), and so are merge keys. Stricter than kubectl in one thing: a key that is
written twice is an error, not the last one wins.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import yaml
from yaml import events as ev

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Manifest
from opslib.source import scalars

MAX_NODES = 1_000_000
"""Values in one document, aliases expanded: a few lines of nested aliases can mean billions."""

MAX_DEPTH = 100

OWN_GROUP = "opslib.dev/"
"""Files of the kit itself (a policy, an app's own) are no objects of the cluster."""

STANDS_FOR_OBJECTS = frozenset({"VaultSecret"})
"""Kinds of the kit's own that an object of the cluster is made of."""

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """One object of a file: where it starts, and the line of each field by JSON pointer."""

    manifest: Manifest
    line: int
    lines: dict[str, int] = field(default_factory=dict, repr=False)


def load_documents(text: str, path: str) -> list[Document]:
    """Read all objects of a text; Lists are taken apart.

    Empty documents and the kit's own are skipped.

    Raises InputError with file:line:column for what is not YAML, and Problems with every
    object that is not a Kubernetes object: apiVersion, kind and metadata.name are needed.
    """
    problems: list[OpslibError] = []
    found: list[Document] = []
    for document in load_values(text, path):
        if document.manifest is None:
            continue
        for item in _items(document):
            if is_own(item.manifest):
                continue
            wrong = _wrong(item, path)
            problems += wrong
            if not wrong:
                found.append(item)
    if problems:
        raise Problems(problems)
    return found


def is_own(manifest: Any) -> bool:
    """Tell whether a document is one of the kit's own, which no cluster ever sees."""
    if not isinstance(manifest, dict) or manifest.get("kind") in STANDS_FOR_OBJECTS:
        return False
    return str(manifest.get("apiVersion")).startswith(OWN_GROUP)


def load_values(text: str, path: str) -> Iterator[Document]:
    """Read the documents of a text, whatever they are; ``manifest`` may be any JSON value."""
    clean = text.removeprefix("\ufeff")
    try:
        found = list(_Reader(clean, path).documents())
    except InputError:
        # JSON is nearly YAML: escaped surrogates and tabs are where it is not.
        if not clean.lstrip().startswith("{"):
            raise
        found = [_json(clean)]
        if found[0].manifest is None:
            raise
    yield from found


def _json(text: str) -> Document:
    """Read a JSON text; its manifest is None where it is none, or names a key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError(pairs)
        return dict(pairs)

    try:
        return Document(json.loads(text, object_pairs_hook=once), 1)
    except ValueError:
        return Document(cast("Manifest", None), 1)


def _items(document: Document) -> Iterator[Document]:
    """Yield the items of a List, or the object itself."""
    manifest = document.manifest
    items = manifest.get("items") if isinstance(manifest, dict) else None
    if not isinstance(items, list) or not str(manifest.get("kind", "")).endswith("List"):
        yield document
        return
    for index, item in enumerate(items):
        prefix = f"/items/{index}"
        lines = {
            pointer.removeprefix(prefix): line
            for pointer, line in document.lines.items()
            if pointer.startswith(prefix + "/")
        }
        yield Document(item, document.lines.get(prefix, document.line), lines)


def _wrong(document: Document, path: str) -> list[OpslibError]:
    """Return what keeps a value from being a Kubernetes object, each with its line."""
    manifest = document.manifest

    def problem(what: str, pointer: str, expected: str, hint: str | None = None) -> InputError:
        line = document.lines.get(pointer, document.line)
        return InputError(what, where=f"{path}:{line}", expected=expected, hint=hint)

    if not isinstance(manifest, dict):
        return [problem("this is no Kubernetes object", "", "a mapping with apiVersion and kind")]
    found: list[OpslibError] = [
        problem(f"{name} is missing or no text", f"/{name}", f"{name}: …, as in every manifest")
        for name in ("apiVersion", "kind")
        if not _is_text(manifest.get(name))
    ]
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict):
        return [*found, problem("metadata is missing or no mapping", "/metadata", "a mapping")]
    if not _is_text(metadata.get("name")):
        hint = "server-side apply needs a name; generateName is for creation only"
        generated = "generateName" in metadata
        what = "metadata.name is missing or no text"
        place = "/metadata/name" if "name" in metadata else "/metadata"
        found.append(problem(what, place, "a name", hint if generated else None))
    if not isinstance(metadata.get("namespace", ""), str | None):
        found.append(problem("metadata.namespace is no text", "/metadata/namespace", "a name"))
    for part in ("labels", "annotations"):
        found += _not_text(metadata.get(part), f"/metadata/{part}", problem)
    return found


def _not_text(values: Any, pointer: str, problem: Any) -> Iterator[OpslibError]:
    if not isinstance(values, dict | None):
        yield problem(f"{_dotted(pointer)} is no mapping", pointer, "a mapping of texts")
        return
    for key, value in (values or {}).items():
        if not isinstance(value, str):
            place = f"{pointer}/{_escaped(key)}"
            what = f"{_dotted(pointer)}[{key}] is {_shown(value)}, not text"
            yield problem(what, place, "text", f'put it into quotes: {key}: "…"')


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _dotted(pointer: str) -> str:
    return pointer.strip("/").replace("/", ".")


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return "a number" if isinstance(value, int | float) else "a mapping or list"


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


class _Reader:
    """Builds the values of one text from the parser's events."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self.text = text
        self.events: Iterator[Any] = iter(())
        self.anchors: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self.nodes = 0

    def documents(self) -> Iterator[Document]:
        try:
            # Not yaml.parse: it asks before each event whether there is one.
            self.events = iter(yaml.CSafeLoader(self.text).get_event, None)
            for event in self.events:
                if isinstance(event, ev.DocumentStartEvent):
                    yield self._document()
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from None
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise InputError(
                f"a character that YAML does not allow: {error.reason}",
                where=f"{self.path}:{line}",
                expected="printable text in UTF-8",
            ) from None

    def _syntax(self, error: yaml.MarkedYAMLError) -> InputError:
        mark = error.problem_mark or error.context_mark
        what = f"this is not YAML: {error.problem or error.context}"
        if mark is None:
            return InputError(what, where=self.path)
        line = "".join(self.text.splitlines()[mark.line : mark.line + 1])
        hint = "indent with spaces, not tabs" if "\t" in line else None
        return InputError(what, where=f"{self.path}:{mark.line + 1}:{mark.column + 1}", hint=hint)

    def _document(self) -> Document:
        self.anchors, self.lines, self.nodes = {}, {}, 0
        first = next(self.events)
        value = self._value(first, "", 0)
        return Document(value, _line(first), self.lines)

    def _fail(self, what: str, event: Any, **more: str) -> InputError:
        mark = event.start_mark
        return InputError(what, where=f"{self.path}:{mark.line + 1}:{mark.column + 1}", **more)

    def _value(self, event: Any, pointer: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise self._fail("this document is too large or too deep to be a manifest", event)
        if isinstance(event, ev.AliasEvent):
            return self._alias(event)
        if isinstance(event, ev.ScalarEvent):
            value: Any = self._scalar(event)
        elif isinstance(event, ev.SequenceStartEvent):
            value = self._sequence(pointer, depth)
        else:
            value = self._mapping(event, pointer, depth)
        if event.anchor:
            self.anchors[event.anchor] = value
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise self._fail(f"there is no anchor &{event.anchor} before this alias", event)
        value = self.anchors[event.anchor]
        self.nodes += _size(value)
        if self.nodes > MAX_NODES:
            raise self._fail("this document is too large: aliases of aliases", event)
        return copy.deepcopy(value)

    def _sequence(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), ev.SequenceEndEvent):
            place = f"{pointer}/{len(items)}"
            self.lines[place] = _line(event)
            items.append(self._value(event, place, depth + 1))
        return items

    def _mapping(self, start: Any, pointer: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        seen: dict[str, int] = {}
        while not isinstance(event := next(self.events), ev.MappingEndEvent):
            if not isinstance(event, ev.ScalarEvent):
                raise self._fail("a key must be a word, not a list or mapping", event)
            line = _line(event)
            if _is_merge(event):
                self._merge(values, next(self.events), pointer, depth)
                continue
            key = scalars.key_text(self._key(event))
            if key is None:
                raise self._fail("a key is missing before the colon", event)
            if key in seen:
                what = f"the key {key!r} is written twice (first in line {seen[key]})"
                raise self._fail(what, event, hint="keep one: kubectl would silently take the last")
            seen[key] = line
            place = f"{pointer}/{_escaped(key)}"
            self.lines[place] = line
            values[key] = self._value(next(self.events), place, depth + 1)
        del start
        return values

    def _merge(self, values: dict[str, Any], event: Any, pointer: str, depth: int) -> None:
        """Merge as kubectl does: over what stands before, under what follows."""
        merged = self._value(event, f"{pointer}/<<", depth + 1)
        parts = merged if isinstance(merged, list) else [merged]
        if not all(isinstance(part, dict) for part in parts):
            raise self._fail("<< takes a mapping, or a list of mappings", event)
        for part in reversed(parts):
            values.update(part)

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        try:
            if tag is None:
                return text if event.style else scalars.plain(text)
            return self._tagged(tag.removeprefix(_TAG), text, event)
        except scalars.NotJsonError:
            what = f"{text} cannot be sent: JSON has no infinity and no not-a-number"
            raise self._fail(what, event, hint="quote it if it is meant as text") from None

    def _key(self, event: Any) -> scalars.Scalar:
        if event.tag is None and not event.style:
            with contextlib.suppress(scalars.NotJsonError):
                return scalars.resolve(event.value)
            return str(event.value)
        value: scalars.Scalar = self._scalar(event)
        return value

    def _tagged(self, tag: str, text: str, event: Any) -> Any:
        value = scalars.plain(text)
        if tag == "int" and isinstance(value, int) and not isinstance(value, bool):
            return value
        if tag == "float" and isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if (tag == "bool" and isinstance(value, bool)) or (tag == "null" and value is None):
            return value
        if tag in {"int", "float", "bool", "null"}:
            raise self._fail(f"{text!r} cannot be read as {tag}", event)
        if tag == "binary":
            try:
                return base64.b64decode(text, validate=False).decode(errors="replace")
            except binascii.Error:
                raise self._fail("this is not base64", event) from None
        return text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _is_merge(event: Any) -> bool:
    return event.value == "<<" and not event.style and event.tag in {None, _TAG + "merge"}


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1
