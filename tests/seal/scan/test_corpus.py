"""The scan against its truth tables: everything that leaks is told, nothing else is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from opslib.seal.scan.files import MOST, scan_bytes

from . import mixed
from .alike import ALIKE
from .leaking import LEAKING
from .values import Values

_Make = Callable[[Values], tuple[str, str]]
_ROOT = Path(__file__).parents[3]


def corpus(makers: Iterable[_Make], seeds: Iterable[int]) -> Iterable[tuple[str, str, set[int]]]:
    """Yield name, text and the lines that must be told."""
    for seed in seeds:
        for make in makers:
            name, text = make(Values(seed * 7919 + len(make.__name__)))
            rows = text.split("\n")
            marked = {number for number, row in enumerate(rows, 1) if row.endswith("§")}
            yield f"{make.__name__}-{seed}/{name}", text.replace("§", ""), marked


def test_each_leak_is_told_at_its_line_and_nothing_else() -> None:
    """435 files of 145 forms: each marked line has a finding, and no other line has."""
    wrong, files, lines = [], 0, 0
    for name, text, marked in corpus([*LEAKING, *ALIKE], range(3)):
        found = scan_bytes(text.encode(), name)
        told = {one.line for one in found.seen}
        files, lines = files + 1, lines + len(marked)
        if told != marked or found.unread:
            wrong.append((name, sorted(marked - told), sorted(told - marked), found.unread))
    print(f"\n{files} files, {lines} lines to be told, {len(wrong)} files judged wrong")
    assert files >= 400
    assert wrong == []


def test_what_is_wrapped_up_is_told_as_well() -> None:
    """Objects in a List, in a text, in a note, in base64 twice, in gzip, in an output, anywhere.

    For each seed other wrappings, other quotes, other line ends, other encodings of the file.
    """
    wrong, count = [], 0
    for seed in range(40):
        for leaks, makers in ((True, mixed.LEAKS), (False, mixed.CLEAN)):
            for make in makers:
                name, data = mixed.write(Values(seed * 31 + 11), make)
                found = scan_bytes(data, name)
                count += 1
                if bool(found.seen) != leaks or found.unread:
                    wrong.append((make.__name__, seed, name, found.unread))
    print(f"\n{count} files, {len(wrong)} judged wrong")
    assert wrong == []


def test_no_finding_holds_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither what a finding prints, nor its JSON, nor repr of what was seen has a value."""
    from opslib.seal.scan.model import Finding

    for name, text, _ in corpus(LEAKING, [5]):
        for one in scan_bytes(text.encode(), name).seen:
            told = Finding(one.kind, name, one.line, one.key, one.detail)
            shown = f"{told}{told.as_dict()}{one!r}{told!r}"
            words = [word for word in re.split(r"\s+", one.value) if len(word) >= 8]
            assert not [word for word in words if word in shown], (name, one)


def test_the_examples_and_the_documentation_are_clean() -> None:
    """Files of this project that nobody made for the scan: no finding."""
    files = [
        path
        for folder in (
            "examples",
            "docs",
            "notebooks",
            "opslib/sandbox",
            "opslib/reconcile",
            "tools",
        )
        for path in sorted((_ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    found = [(path.name, scan_bytes(path.read_bytes(), str(path)).seen) for path in files]
    print(f"\n{len(files)} files")
    assert [one for one in found if one[1]] == []


def test_hostile_files_end_soon_and_are_told() -> None:
    """Depth, aliases of aliases, endless brackets, a huge line: no crash, and no silence."""
    aliases = "token: &a [x, x]\n" + "".join(
        f"k{n}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}, *{chr(97 + n)}, *{chr(97 + n)}]\n"
        for n in range(20)
    )
    cases = {
        "deep.yaml": "- " * 100_000,
        "deep.json": "[" * 100_000,
        "flow.yaml": "{a: " * 50_000,
        "aliases.yaml": aliases,
        "stairs.yaml": "\n".join(" " * n + "token:" for n in range(3000)),
        "words.txt": "password " * 100_000,
        "quotes.py": "password = '" * 50_000,
        "urls.txt": "http://a:" * 50_000,
        "rows.md": "token=" * 100_000,
    }
    for name, text in cases.items():
        scan_bytes(text.encode(), name)
    told = scan_bytes(aliases.encode(), "aliases.yaml")
    assert told.failing
    assert scan_bytes(b"x" * (MOST + 1), "large.txt").failing
    print(f"\n{len(cases)} hostile files")


def test_binary_files_are_named_and_key_stores_told() -> None:
    """A picture and a program are named as not read; a key in DER and a key store are findings."""
    v = Values(3)
    picture = scan_bytes(b"\x89PNG\r\n\x1a\n" + v.rng.randbytes(4000), "logo.png")
    assert (picture.seen, picture.unread, picture.failing) == ((), "binary (PNG)", False)
    key = scan_bytes(v.der(), "key.der")
    assert [one.kind for one in key.seen] == ["private-key"]
    token = v.token_of("github").encode()
    inside = scan_bytes(b"\0\1\2" * 50 + token + b"\0\xff" * 50, "a.bin")
    assert [one.kind for one in inside.seen] == ["token"]
    assert inside.unread == "binary"
