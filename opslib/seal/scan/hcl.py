"""Terraform and other HCL, read by its blocks: what a block is called says what its values are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from opslib.seal.scan import blanks, judge, lines
from opslib.seal.scan.names import Telling, telling
from opslib.seal.scan.sink import Place, Sink, joined

_LIKELY = re.compile(
    r"^\s*(?:resource|data|variable|output|provider|module|locals|terraform|moved)\b[^\n=:]{0,200}\{\s*$",
    re.MULTILINE,
)
_BLOCK = re.compile(
    r"^\s*(?P<type>[\w-]+)(?P<labels>(?:\s+\"[^\"\n]*\"|\s+[\w-]+)*)\s*\{\s*(?P<rest>.*)$"
)
_ENTRY = re.compile(r"^\s*[\"(]{0,2}(?P<name>[\w.\-/]+)[\")]{0,2}\s*[=:]\s*(?P<value>.*?)\s*,?\s*$")
_INLINE = re.compile(r"[\"]?(?P<name>[\w.-]+)\"?\s*[=:]\s*\"(?P<value>(?:\\.|[^\"\\])*)\"")
_LITERAL = re.compile(r"\"(?P<value>(?:\\.|[^\"\\])*)\"")
_HEREDOC = re.compile(r"<<[-~]?\s*\"?(?P<word>\w+)\"?\s*$")
_KEEPS = re.compile(
    r"kubernetes_secret|vault_(?:generic|kv)_\w*|secret_?(?:manager|version|key_vault)|key_vault_secret|actions_\w*secret"
    r"|secretsmanager|_secret(?:_v1)?$"
)
_KEPT = frozenset(
    [
        "data",
        "string_data",
        "binary_data",
        "value",
        "secret_string",
        "secret_data",
        "plaintext_value",
        "data_json",
        "secret_data_wo",
    ]
)
_HANDED = frozenset(["default", "value"])
_Embed = Callable[[str, Place], None]


def likely(text: str) -> bool:
    """Tell HCL by the blocks of Terraform."""
    return _LIKELY.search(text) is not None


def read(text: str, place: Place, sink: Sink, embed: _Embed) -> None:
    """Read HCL and note what stands in the open."""
    _Reader(text, place, sink, embed).run()


class _Reader:
    def __init__(self, text: str, place: Place, sink: Sink, embed: _Embed) -> None:
        self.rows = text.split("\n")
        self.place = place
        self.sink = sink
        self.embed = embed
        self.open: list[list[str]] = []

    def run(self) -> None:
        number = 0
        while number < len(self.rows):
            number = self._row(number) + 1

    def _row(self, number: int) -> int:
        """Read one line; return the number of the last line that was used."""
        row = _without_comment(self.rows[number])
        if heredoc := _HEREDOC.search(row):
            return self._heredoc(number, row, heredoc["word"])
        entry = _ENTRY.match(row)
        if entry:
            self._entry(number, entry["name"], entry["value"])
            self._braces(row, [entry["name"]])
        elif block := _BLOCK.match(row):
            labels = [word.strip('"') for word in block["labels"].split()]
            self._literals(number, block["rest"], [block["type"], *labels])
            self._braces(row, [block["type"], *labels])
        else:
            self._literals(number, row, [])
            self._braces(row, [""])
        return number

    def _braces(self, row: str, names: list[str]) -> None:
        bare = _LITERAL.sub("", row)
        for char in bare:
            if char in "{[":
                self.open.append(names)
            elif char in "}]" and self.open:
                self.open.pop()

    def _entry(self, number: int, name: str, value: str) -> None:
        if value.startswith('"'):
            literal = _LITERAL.match(value)
            if literal:
                self._value(number, name, literal["value"])
                return
        if re.fullmatch(r"\d{5,}", value):
            self._value(number, name, value)
            return
        self._literals(number, value, [name])

    def _literals(self, number: int, text: str, names: list[str]) -> None:
        spans = []
        for found in _INLINE.finditer(text):
            spans.append(found.span())
            self._value(number, found["name"], found["value"])
        for found in _LITERAL.finditer(text):
            if not any(a <= found.start() < b for a, b in spans):
                name = names[-1] if names else self._name()
                inner = name if text.lstrip()[:1] in '["' else ""
                self._value(number, inner, found["value"])

    def _name(self) -> str:
        return self.open[-1][-1] if self.open and self.open[-1] else ""

    def _value(self, number: int, name: str, value: str) -> None:
        text = value.replace("\\n", "\n").replace('\\"', '"')
        pointer = self._pointer(name)
        if self._kept(name) and not blanks.filled_in(text):
            if judge.in_secret(name, text, encoded=False):
                self.sink.add("secret-value", self.place.at(number), pointer, value)
            return
        if judge.serious(self._telling(name), text) and not _refers(text):
            self.sink.add("credential", self.place.at(number), pointer, value)
        elif len(text) >= 8:
            self.embed(text, self._inner(name, number, flat=True))

    def _telling(self, name: str) -> Telling:
        if name in _HANDED and self.open and self.open[-1][0] in {"variable", "output"}:
            return telling(self.open[-1][-1])
        return telling(name) if name else Telling.NOTHING

    def _kept(self, name: str) -> bool:
        """Tell a value that a resource keeps as a secret, whatever it is called."""
        holds = any(
            len(names) > 1 and names[0] == "resource" and _KEEPS.search(names[1])
            for names in self.open
        )
        return holds and (name in _KEPT or any(names[-1] in _KEPT for names in self.open))

    def _heredoc(self, number: int, row: str, word: str) -> int:
        last = number + 1
        while last < len(self.rows) and self.rows[last].strip() != word:
            last += 1
        text = "\n".join(self.rows[number + 1 : last])
        entry = _ENTRY.match(row)
        name = entry["name"] if entry else ""
        kept = self._kept(name) and not blanks.filled_in(text)
        if kept and judge.in_secret(name, text, encoded=False):
            self.sink.add("secret-value", self.place.at(number), self._pointer(name), text.strip())
        elif judge.serious(self._telling(name), text) and "\n" not in text.strip():
            self.sink.add("credential", self.place.at(number), self._pointer(name), text.strip())
        else:
            self.embed(text, self._inner(name, number + 1, flat=False))
        self._braces(row[: row.rfind("<<")], [name])
        return last

    def _inner(self, name: str, number: int, *, flat: bool) -> Place:
        outer = self.place
        return Place(
            name,
            self._pointer(name),
            outer.at(number),
            flat or outer.flat,
            (),
            outer.depth + 1,
            outer.coded,
        )

    def _pointer(self, name: str) -> str:
        pointer = self.place.pointer
        for part in [*(part for names in self.open for part in names if part), name]:
            pointer = joined(pointer, part) if part else pointer
        return pointer


def _refers(text: str) -> bool:
    return lines.names_itself(text) or blanks.templated(text)


def _without_comment(row: str) -> str:
    """Drop a comment; a # within quotes is none."""
    for found in _marks(row):
        return row[:found]
    return row


def _marks(row: str) -> Iterator[int]:
    quoted = False
    for at, char in enumerate(row):
        if char == '"' and row[at - 1 : at] != "\\":
            quoted = not quoted
        elif not quoted and (char == "#" or row[at : at + 2] == "//"):
            yield at
