"""The smallest edit of a YAML text that gives a document another value.

Lines that do not have to change stay byte for byte: comments, order, quotes, line ends. Each
edit is proven by reading the text again as kubectl does; what cannot be proven is refused with
the reason. An edit of a node that an alias repeats is refused so, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any

import yaml

from opslib.core.errors import OpslibError
from opslib.source.yamlload import Document, load_values
from opslib.source.yamlops import add, insert, permute, put, remove
from opslib.source.yamltree import CannotEdit, Chunk, MergedIn, Path, Tree, chunks, key_of

Names = Callable[[list[Any], Path], list[Any] | None]
"""Returns what names each item of a list at a path, or None where nothing does."""


def by_name(items: list[Any], path: Path) -> list[Any] | None:
    """Name items by their ``name``, where each has one of its own."""
    del path
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    whole = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return names if whole else None


def documents(text: str, path: str = "") -> list[tuple[Chunk, Document]]:
    """Return each document of a text that has a value, with where it stands.

    Raises InputError with file and line for what is not YAML.
    """
    found = list(load_values(text, path))
    places = chunks(text)
    if len(found) != len(places):
        raise CannotEdit("its documents cannot be told apart")
    return list(zip(places, found, strict=True))


def amend_document(text: str, number: int, value: Any, *, names: Names = by_name) -> str:
    """Return the text in which the document of this number has another value.

    Raises CannotEdit where no edit leads there without touching anything else.
    """
    chunk, document = documents(text)[number]
    part = text[chunk.start : chunk.end]
    try:
        edited = Amendment(part, names).to(document.manifest, value)
    except CannotEdit as error:
        error.line += chunk.line - 1 if error.line else 0
        raise
    whole = text[: chunk.start] + edited + text[chunk.end :]
    wanted = [one.manifest for one in load_values(text, "")]
    wanted[number] = value
    _prove(whole, wanted, part, chunk)
    return whole


def _prove(text: str, wanted: list[Any], part: str, chunk: Chunk) -> None:
    """Read the edited text; raises CannotEdit unless it says exactly what is wanted."""
    try:
        read = [one.manifest for one in load_values(text, "")]
    except OpslibError:
        read = []
    if len(read) == len(wanted) and all(map(same, read, wanted)):
        return
    anchors = Tree(part).anchors
    if anchors:
        name, node = next(iter(anchors.items()))
        line = chunk.line + part.count("\n", 0, node.outer)
        raise CannotEdit(f"the anchor &{name} is used in several places", line=line)
    raise CannotEdit("its layout does not allow an edit that changes nothing else", line=chunk.line)


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are the same: 1 is not true, and 1.0 is 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def remove_document(text: str, number: int) -> str | None:
    """Return the text without one document; None where nothing but comments would be left.

    Comments right above a document go with it; those above a blank line stay.
    """
    found = documents(text)
    filled_ones = [n for n, (_, one) in enumerate(found) if one.manifest is not None]
    if filled_ones == [number]:
        return None
    chunk = found[number][0]
    start = chunk.start
    if number == 0 and not text[start:].startswith("---"):
        while start:
            head = text.rfind("\n", 0, start - 1) + 1
            if not text[head:start].strip().startswith("#"):
                break
            start = head
    return text[:start] + text[chunk.end :]


class Amendment:
    """Edits of the text of one document, one after the other; positions are found anew."""

    def __init__(self, text: str, names: Names = by_name) -> None:
        self.text = text
        self._names = names

    def to(self, old: Any, new: Any, path: Path = ()) -> str:
        """Make the value at a path another one; return the text."""
        if same(old, new):
            return self.text
        if isinstance(old, dict) and isinstance(new, dict) and old:
            self._mapping(old, new, path)
        elif isinstance(old, list) and isinstance(new, list) and old and new:
            self._list(old, new, path)
        else:
            self._edit(put, path, new)
        return self.text

    def _edit(self, work: Callable[..., str], *words: Any) -> None:
        try:
            self.text = work(Tree(self.text), *words)
        except yaml.YAMLError as error:
            raise CannotEdit(f"its layout is in the way: {getattr(error, 'problem', '')}") from None

    def _mapping(self, old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
        for key, value in new.items():
            if key in old:
                self._within(old[key], value, path, key)
        for key, value in new.items():
            if key not in old:
                self._edit(add, path, key, value)
        for key in old:
            if key not in new:
                self._edit(remove, (*path, key))

    def _within(self, old: Any, new: Any, path: Path, key: str) -> None:
        """Change a key's value; one that a merge key brings in gets a line of its own here."""
        before = self.text
        try:
            self.to(old, new, (*path, key))
        except MergedIn:
            self.text = before
            if any(key_of(one) == key for one, _ in Tree(before).find(path).pairs):
                raise
            self._edit(add, path, key, new)

    def _list(self, old: list[Any], new: list[Any], path: Path) -> None:
        names, wanted = self._names(old, path), self._names(new, path)
        if names is None or wanted is None:
            self._by_place(old, new, path)
            return
        for number in reversed(range(len(names))):
            if names[number] not in wanted and len(names) > 1:
                self._edit(remove, (*path, number))
                old, names = _without(old, number), _without(names, number)
        shared = [name for name in wanted if name in names]
        left = [name for name in names if name not in shared]  # one at most, and the last
        order = [names.index(name) for name in (*shared, *left)]
        if order != sorted(order):
            self._edit(permute, path, order)
            old, names = [old[n] for n in order], [names[n] for n in order]
        for number, name in enumerate(shared):
            self.to(old[number], new[wanted.index(name)], (*path, number))
        for number, name in enumerate(wanted):
            if name not in names:
                self._edit(insert, (*path, number), new[number])
        if left:
            self._edit(remove, (*path, len(wanted)))

    def _by_place(self, old: list[Any], new: list[Any], path: Path) -> None:
        """Change items in their places, and insert or remove what is left over."""
        sides = (
            [json.dumps(one, sort_keys=True) for one in old],
            [json.dumps(one, sort_keys=True) for one in new],
        )
        codes = SequenceMatcher(None, *sides, autojunk=False).get_opcodes()
        for _, start, end, first, last in reversed([code for code in codes if code[0] != "equal"]):
            both = min(end - start, last - first)
            for number in range(last - first - 1, both - 1, -1):
                self._edit(insert, (*path, start + both), new[first + number])
            for number in range(end - 1, start + both - 1, -1):
                self._edit(remove, (*path, number))
            for number in range(both):
                self.to(old[start + number], new[first + number], (*path, start + number))


def _without(items: list[Any], number: int) -> list[Any]:
    return items[:number] + items[number + 1 :]
