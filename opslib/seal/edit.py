"""Edits of a SealedSecret's file: one key changed is one line changed, all else stays as it is.

YAML and JSON; several documents in a file. Every edit is read back before it is given out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from opslib.core.errors import InputError
from opslib.seal import emit, notes
from opslib.seal.reading import text_of
from opslib.seal.sealed import KIND, Declared, read_sealed
from opslib.seal.unedited import same_but_edits
from opslib.source.textedit import TextEditor, Tree
from opslib.source.yamlnodes import Entry, Stuck, dig, end_of, find, own, parse, scalar, start_of

_HAND = "write it by hand as a plain block, or seal the Secret anew"


class SealedFile:
    """The text of a file and the one SealedSecret of it that is edited.

    ``name`` chooses among several. Raises InputError for a file without one, with several
    and no name, or of a form that cannot be edited by position.
    """

    def __init__(self, data: bytes, path: str, name: str = "") -> None:
        self.path = path
        self.text = text_of(data, path)
        found = read_sealed(data, path, others=True)
        fits = [one for one in found if name in {"", one.name, f"{one.namespace}/{one.name}"}]
        if len(fits) != 1:
            raise _not_one(found, fits, path)
        self.declared: Declared = fits[0]
        self._editor = TextEditor(self.text)
        self._root = self._find_root()

    def set(
        self, ciphertexts: Mapping[str, str], made: Mapping[str, notes.Note] | None = None
    ) -> None:
        """Put in ciphertexts, keys that are there and new ones, with their notes."""
        self._guarded(lambda: self._set(ciphertexts))
        if made is not None:
            self._guarded(lambda: self._note(ciphertexts, made))

    def delete(self, key: str) -> None:
        """Take a key out, with its note. Raises InputError where it is the last, or not there."""
        self._known(key)
        if len(self.declared.data) == 1:
            raise InputError(
                f"{key} is the only key", where=self.declared.place_of(key), hint="delete the file"
            )

        def work() -> None:
            data = self._data()
            self._editor.remove(data, self._entry(data, key))
            known, _ = self.declared.read_notes()
            if known.pop(key, None):
                self._write_notes(known)

        self._guarded(work)

    def rename(self, old: str, new: str) -> None:
        """Give a key another name; its ciphertext stays, as a label knows nothing of keys."""
        self._known(old)
        if new in self.declared.data:
            raise InputError(f"there is a key {new} already", where=self.declared.place_of(new))

        def work() -> None:
            entry = self._entry(self._data(), old)
            self._editor.retype(entry.key, self._key(new))
            known, _ = self.declared.read_notes()
            if note := known.pop(old, None):
                self._write_notes({**known, new: note})

        self._guarded(work)

    def template(self, part: str, texts: Mapping[str, str]) -> None:
        """Put labels or annotations into the template's metadata; those that are there stay."""
        now = (self.declared.template.get("metadata") or {}).get(part) or {}
        fresh = {key: text for key, text in texts.items() if now.get(key) != text}
        if fresh:
            self._guarded(lambda: self._merge(("spec", "template", "metadata", part), fresh))

    def result(self) -> str:
        """Return the new text; what is not meant to change is compared with what it was.

        Raises InputError where the edit would have changed anything else.
        """
        made = self._editor.result()
        if self._editor.clash() or not same_but_edits(self.text, made, self.path):
            raise InputError(
                "this file cannot be edited by position, so nothing was written",
                where=self.path,
                hint=_HAND,
            )
        return made

    def _set(self, ciphertexts: Mapping[str, str]) -> None:
        data = self._data()
        fresh: Tree = {}
        for key, text in ciphertexts.items():
            entry = find(data, key)
            if entry is None:
                fresh[self._key(key)] = self._value(data, text)
            else:
                self._replace(data, entry, text)
        self._add(data, fresh, ("spec", "encryptedData"))

    def _replace(self, data: Node, entry: Entry, text: str) -> None:
        """Write a ciphertext in another's place, and its check sum in the old one's place."""
        node = entry.value
        if entry.aliased or not isinstance(node, ScalarNode):
            raise Stuck(f"the value of {entry.key.value!r} is no plain text", entry.key)
        start, end = start_of(node), end_of(node)
        if self.text[start : start + 1] == "&":
            raise Stuck("the value has an anchor, by which others have it too", entry.key)
        if start == end:  # nothing is there yet: its mark is that of what comes next
            colon = self.text.index(":", end_of(entry.key)) + 1
            self._put(colon, colon, f" {self._value(data, text)}")
            return
        if self._flow(data):
            self._put(start, end, json.dumps(text))
            return
        block = node.style in {"|", ">"}
        if block:  # its text ends with the line before the next field
            body = self._editor.text[start:end]
            end -= len(body) - len(body.rstrip())
        rest = self._editor.text[end:].split("\n", 1)[0].rstrip("\r")
        old = notes.find_comment(rest) if not block else None
        quote = node.style if node.style in {"'", '"'} else ""
        self._put(start, end, f"{quote}{text}{quote}" + ("" if old else self._comment(text)))
        if old:
            at = end + old.start(1)
            self._put(at, at + len(old[1]), notes.check_sum(text))

    def _note(self, ciphertexts: Mapping[str, str], made: Mapping[str, notes.Note]) -> None:
        known, _ = self.declared.read_notes()
        flow = self._flow(self._data())
        for key, text in ciphertexts.items():
            note = notes.without_sum(made[key])
            if flow:
                note = notes.Note(**{**vars(note), "sum": notes.check_sum(text)})
            known[key] = note
        self._write_notes(known)

    def _write_notes(self, known: Mapping[str, notes.Note]) -> None:
        text = notes.write(known)
        now = self.declared.annotations.get(notes.ANNOTATION)
        if text != now:
            self._merge(("metadata", "annotations"), {notes.ANNOTATION: text})

    def _merge(self, path: tuple[str, ...], texts: Mapping[str, str]) -> None:
        """Put texts into the mapping at a path; steps of it that are missing are made."""
        node: Node = self._root
        for depth, step in enumerate(path):
            entry = find(node, step)
            if entry is None:
                column = self._column(node) + 2 * (len(path) - depth)
                rows = {self._key(k): self._scalar(node, t, column) for k, t in texts.items()}
                self._add(node, _nested(path[depth:], rows), path[:depth])
                return
            if entry.aliased:
                raise Stuck(f"{step} is a YAML alias", entry.key)
            node = entry.value
        fresh: Tree = {}
        for key, text in texts.items():
            entry = find(node, key)
            shown = self._scalar(node, text, self._column(node))
            if entry is None:
                fresh[self._key(key)] = shown
            else:
                self._retype(entry, shown)
        self._add(node, fresh, path)

    def _retype(self, entry: Entry, text: str) -> None:
        node = entry.value
        if entry.aliased or not isinstance(node, ScalarNode):
            raise Stuck(f"the value of {entry.key.value!r} is no plain text", entry.key)
        start, end = start_of(node), end_of(node)
        if node.style in {"|", ">"}:
            body = self._editor.text[start:end]
            end -= len(body) - len(body.rstrip())
        self._put(start, end, text)

    def _add(self, mapping: Node, fresh: Tree, path: tuple[str, ...]) -> None:
        """Add keys at their place in the alphabet where those that are there are sorted."""
        if not isinstance(mapping, MappingNode):
            raise Stuck(f"{'.'.join(path)} is no mapping", mapping)
        names = [str(key.value) for key, _ in mapping.value]
        for name, value in fresh.items():
            plain = name.strip("\"'")
            later = [one for one in names if one > plain] if names == sorted(names) else []
            before = later[0] if later and not self._flow(mapping) else ""
            self._editor.add(mapping, {name: value}, before=before)

    def _scalar(self, parent: Node, text: str, column: int) -> str:
        if self._flow(parent):
            return json.dumps(text)
        if text.endswith("\n") and "\n" in text:
            newline = self._editor.newline
            return "|" + "".join(f"{newline}{' ' * (column + 2)}{row}" for row in text.splitlines())
        return emit.scalar(text)

    def _value(self, data: Node, text: str) -> str:
        return json.dumps(text) if self._flow(data) else text + self._comment(text)

    def _comment(self, text: str) -> str:
        noted = bool(self.declared.annotations.get(notes.ANNOTATION)) or self.noting
        return f" {notes.comment(text)}" if noted else ""

    noting = True
    """Whether check sums are written behind ciphertexts that have none yet."""

    def _key(self, name: str) -> str:
        return json.dumps(name) if self._flow(self._root) else emit.scalar(name)

    def _put(self, start: int, end: int, text: str) -> None:
        self._editor.put(start, end, text)

    def _data(self) -> Node:
        node = own(own(self._root, "spec"), "encryptedData")
        if node is None:
            raise Stuck("spec.encryptedData is missing", self._root)
        return node

    def _entry(self, data: Node, key: str) -> Entry:
        entry = find(data, key)
        if entry is None:
            raise Stuck(f"there is no key {key}", data)
        return entry

    def _known(self, key: str) -> None:
        data = self.declared.data
        if key not in data:
            raise InputError(
                f"there is no key {key}",
                where=self.declared.place("/spec/encryptedData"),
                expected=f"one of: {', '.join(sorted(map(str, data))) or 'none'}",
            )

    def _flow(self, node: Node) -> bool:
        return isinstance(node, MappingNode) and bool(node.flow_style)

    def _column(self, node: Node) -> int:
        if isinstance(node, MappingNode) and node.value:
            return int(node.value[0][0].start_mark.column)
        return int(node.start_mark.column)

    def _find_root(self) -> Node:
        """Return the node of the SealedSecret among the documents, and items of Lists."""
        try:
            roots = [one for node in parse(self.text) for one in _objects(node)]
            fits = [
                node
                for node in roots
                if scalar(dig(node, "kind")) == KIND
                and (scalar(dig(node, "metadata", "name")) or "") == self.declared.name
                and (scalar(dig(node, "metadata", "namespace")) or "") == self.declared.namespace
            ]
        except Stuck as stuck:
            raise self._stuck(stuck) from None
        except yaml.YAMLError:
            fits = []
        if len(fits) != 1:
            raise InputError(
                f"{self.declared} cannot be found by its position", where=self.path, hint=_HAND
            )
        return fits[0]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Stuck as stuck:
            raise self._stuck(stuck) from None

    def _stuck(self, stuck: Stuck) -> InputError:
        return InputError(
            f"this cannot be edited: {stuck.why}",
            where=f"{self.path}:{stuck.line + 1}",
            hint=stuck.fix or _HAND,
        )


def _objects(node: Node) -> list[Node]:
    items = dig(node, "items") if str(scalar(dig(node, "kind")) or "").endswith("List") else None
    return list(items.value) if items is not None else [node]


def _nested(path: tuple[str, ...], rows: Mapping[str, str]) -> Tree:
    tree: Tree = dict(rows)
    for step in reversed(path):
        tree = {step: tree}
    return tree


def _not_one(found: list[Declared], fits: list[Declared], path: str) -> InputError:
    if not found:
        return InputError("there is no SealedSecret in it", where=path, expected=f"one {KIND}")
    names = ", ".join(f"{one.namespace}/{one.name}" for one in found)
    if not fits:
        what = "the file has no SealedSecret of this name"
        return InputError(what, where=path, expected=f"one of: {names}")
    return InputError(
        f"the file has {len(fits)} SealedSecrets", where=path, hint=f"say which, of: {names}"
    )
