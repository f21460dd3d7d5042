"""What was parsed before is not parsed again, and is never anything but what parsing gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from opslib.core.model import Resource
from opslib.source import parsed, render
from opslib.source.parsed import WORTH, Store

from .test_render import CONFIG, committed

words = some.text(some.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
values = some.one_of(
    words, some.booleans(), some.none(), some.integers(), some.floats(allow_nan=False, width=32)
)
trees = some.recursive(
    values,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(words, inner, max_size=3),
)


class Parser:
    """The parser, counted."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, data: bytes, name: str) -> tuple[Resource, ...]:
        self.files.append(name)
        return render.parse_file(data, name)


def _files(number: int = WORTH) -> dict[str, bytes]:
    return {f"app/{n}.yaml": CONFIG.format(f"c{n}").encode() for n in range(number)}


def _read(place: Path, files: dict[str, bytes]) -> tuple[list[Resource], Parser]:
    store, parser = Store(place), Parser()
    found = [one for name, data in files.items() for one in store.read(data, name, parser)]
    store.save()
    return found, parser


@given(data=some.dictionaries(words, trees, max_size=4))
def test_what_is_kept_is_what_parsing_gives(
    data: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Objects, lines and all, for any values that a file can hold, also those JSON cannot."""
    place = tmp_path_factory.mktemp("store") / "parsed"
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "x": data}
    text = json.dumps(manifest, ensure_ascii=False)
    files = {**_files(), "app/x.yaml": text.encode()}
    first, _ = _read(place, files)
    second, parser = _read(place, files)
    assert second == first
    assert [one.lines for one in second] == [one.lines for one in first]
    assert repr([one.manifest for one in second]) == repr([one.manifest for one in first])
    assert parser.files == [] or not place.exists()


def test_only_what_changed_isparse_file(tmp_path: Path) -> None:
    """One file of forty is edited, one is renamed, one is gone: one is parsed."""
    files = _files(40)
    _, parser = _read(tmp_path / "parsed", files)
    assert len(parser.files) == 40
    files["app/7.yaml"] = CONFIG.format("other").encode()
    files["app/new.yaml"] = files.pop("app/8.yaml")
    del files["app/9.yaml"]
    found, parser = _read(tmp_path / "parsed", files)
    assert parser.files == ["app/7.yaml"]
    assert {str(one.origin) for one in found} == {f"{name}:1" for name in files}
    _, parser = _read(tmp_path / "parsed", files)
    assert parser.files == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another parser", "a folder"])
def test_a_store_that_is_not_whole_is_not_used(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is parsed again, and nobody is troubled."""
    place, files = tmp_path / "parsed", _files()
    first, _ = _read(place, files)
    whole = place.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    if damage == "another parser":
        monkeypatch.setattr(parsed, "_parser", lambda: b"x" * 64)
    elif damage == "a folder":
        place.unlink()
        place.mkdir()
    else:
        place.write_bytes({"cut": whole[:-9], "flipped": bytes(flipped), "empty": b""}[damage])
    found, parser = _read(place, files)
    assert found == first
    assert len(parser.files) == WORTH


def test_a_file_with_a_secret_is_never_kept(tmp_path: Path) -> None:
    """Its values are in Git, and need not be anywhere else."""
    text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  k: swordfish\n"
    files = {**_files(), "app/s.yaml": text.encode()}
    _read(tmp_path / "parsed", files)
    assert b"swordfish" not in (tmp_path / "parsed").read_bytes()
    _, parser = _read(tmp_path / "parsed", files)
    assert parser.files == ["app/s.yaml"]


def test_a_commit_is_rendered_the_same_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store lies beside the mirror, readable by its owner alone."""
    monkeypatch.setenv("OPSLIB_CACHE", str(tmp_path / "cache"))
    files = {name: data.decode() for name, data in _files().items()}
    first = committed(tmp_path, files, "app")
    (store,) = (tmp_path / "cache").glob("mirrors/*/*.parsed")
    assert store.stat().st_mode & 0o077 == 0
    (tmp_path / "repo" / "app" / "0.yaml").write_text(CONFIG.format("zero"))
    second = committed(tmp_path, {"app/more.yaml": CONFIG.format("more")}, "app")
    assert {r.name for r in second.resources} == {r.name for r in first.resources} - {"c0"} | {
        "zero",
        "more",
    }
