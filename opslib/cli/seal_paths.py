"""What the verbs on all sealed files of a repository share: paths, keys, and their clusters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import say

if TYPE_CHECKING:
    from opslib.core.errors import InputError
    from opslib.seal.pins import Pinned
    from opslib.seal.privatekeys import PrivateKey
    from opslib.seal.sealed import Declared

Paths = Annotated[
    list[Path] | None, typer.Argument(help="Files and folders; default: this folder.")
]


def pinned_clusters() -> tuple[
    Callable[[Declared], Sequence[Pinned]], Callable[[Sequence[Declared]], list[Pinned]]
]:
    """Return what tells the clusters of an object, and all clusters of the files' pins."""
    from opslib.seal import pins

    cache: dict[Path, pins.Pins] = {}

    def of(one: Declared) -> pins.Pins:
        folder = Path(one.path).resolve().parent
        if folder not in cache:
            cache[folder] = pins.find(folder)
        return cache[folder]

    def everywhere(objects: Sequence[Declared]) -> list[Pinned]:
        return list({id(c): c for one in objects for c in of(one).clusters}.values())

    return lambda one: of(one).of_file(Path(one.path)), everywhere


def left_out(error: InputError) -> None:
    """Tell a file that is left out because it cannot be read."""
    say(f"warning: {error.where} is left out: {error.what}")


def private_keys(keys: Sequence[str] | None) -> dict[str, PrivateKey]:
    from opslib.seal import privatekeys

    return privatekeys.read([Path(name) for text in keys or () for name in text.split(",") if name])
