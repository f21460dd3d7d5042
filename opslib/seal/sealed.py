"""SealedSecrets as they stand in files: found, read, and told what is odd about them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.seal import notes
from opslib.seal.reading import MOST, items_of, read_documents, read_file, text_of
from opslib.seal.wire import Scope, label_of, scope_of

GROUP = "bitnami.com/"
KIND = "SealedSecret"


@dataclass(frozen=True)
class Declared:
    """One SealedSecret of a file; ``lines`` are of its fields by JSON pointer, 1-based.

    ``sums`` are the check sums that stand behind the ciphertexts, by key.
    """

    manifest: dict[str, Any] = field(repr=False)
    path: str
    line: int
    lines: dict[str, int] = field(default_factory=dict, repr=False)
    sums: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def metadata(self) -> dict[str, Any]:
        found = self.manifest.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name") or "")

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace") or "")

    @property
    def annotations(self) -> dict[str, Any]:
        found = self.metadata.get("annotations")
        return found if isinstance(found, dict) else {}

    @property
    def scope(self) -> Scope:
        return scope_of(self.annotations)

    @property
    def label(self) -> bytes:
        return label_of(self.scope, self.namespace, self.name)

    @property
    def spec(self) -> dict[str, Any]:
        found = self.manifest.get("spec")
        return found if isinstance(found, dict) else {}

    @property
    def data(self) -> dict[str, Any]:
        """The ciphertexts by key; what is no text is left for the check to tell."""
        found = self.spec.get("encryptedData")
        return found if isinstance(found, dict) else {}

    @property
    def template(self) -> dict[str, Any]:
        found = self.spec.get("template")
        return found if isinstance(found, dict) else {}

    @property
    def template_metadata(self) -> dict[str, Any]:
        found = self.template.get("metadata")
        return found if isinstance(found, dict) else {}

    def read_notes(self) -> tuple[dict[str, notes.Note], list[str]]:
        """Return the notes by key, with the check sums, and what is wrong with them."""
        return notes.read(self.annotations.get(notes.ANNOTATION))

    def sum_of(self, key: str, note: notes.Note | None) -> str:
        """Return the check sum that was written down for a key; "" where there is none."""
        return self.sums.get(key) or (note.sum if note else "")

    def place(self, pointer: str = "") -> str:
        """Return file:line of a field, or of its nearest ancestor that has one."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return f"{self.path}:{self.lines.get(pointer, self.line)}"

    def place_of(self, key: str) -> str:
        return self.place(f"/spec/encryptedData/{escaped(key)}")

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"SealedSecret {place}{self.name}"


def is_sealed(manifest: Any) -> bool:
    """Tell whether a document is a SealedSecret, of whatever version."""
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        return False
    return str(manifest.get("apiVersion", "")).startswith(GROUP)


def read_sealed(data: bytes, path: str, *, others: bool = False) -> list[Declared]:
    """Read the SealedSecrets of an input. ``others``: documents of other kinds are passed over.

    Raises InputError for input that is neither YAML nor JSON, and, unless ``others``, for
    another kind and for input without any.
    """
    found = []
    rows = text_of(data, path).split("\n")
    for document in (item for one in read_documents(data, path) for item in items_of(one)):
        if is_sealed(document.manifest):
            manifest: dict[str, Any] = document.manifest
            one = Declared(manifest, path, document.line, document.lines)
            one.sums.update(_sums(one, rows))
            found.append(one)
        elif not others:
            manifest = document.manifest
            kind = manifest.get("kind") if isinstance(manifest, dict) else None
            raise InputError(
                f"this is no SealedSecret but {kind or 'something else'}",
                where=f"{path}:{document.line}",
                expected="kind: SealedSecret, apiVersion: bitnami.com/v1alpha1",
            )
    if not found and not others:
        raise InputError("there is no SealedSecret in it", where=path, expected=f"kind: {KIND}")
    return found


def in_folder(folder: Path) -> Iterator[Path]:
    """Yield the YAML and JSON files below a folder, sorted; hidden folders are left out."""
    if folder.is_file():
        yield folder
        return
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if path.suffix in {".yaml", ".yml", ".json"} and not path.is_symlink():
                yield path


def in_paths(
    paths: Iterable[Path], unread: Callable[[InputError], None] | None = None
) -> list[Declared]:
    """Read the SealedSecrets of files and folders; files that do not name the kind are passed over.

    A file that names it and cannot be read, as the template of a chart, is told to ``unread``.
    Raises InputError for a path that is not there, and without ``unread`` for such a file.
    """
    found: list[Declared] = []
    for start in paths:
        if not start.exists():
            raise InputError("there is no such file or folder", where=str(start))
        for path in in_folder(start):
            if path.stat().st_size > MOST:
                continue  # no SealedSecret is a thousandth of this
            data = read_file(path)
            if KIND.encode() not in data:
                continue
            try:
                found += read_sealed(data, str(path), others=True)
            except InputError as error:
                if unread is None:
                    raise
                unread(error)
    return found


def escaped(key: str) -> str:
    """Escape a key for a JSON pointer: https://www.rfc-editor.org/rfc/rfc6901#section-3 ."""
    return key.replace("~", "~0").replace("/", "~1")


def _sums(one: Declared, rows: list[str]) -> Iterator[tuple[str, str]]:
    for key, text in one.data.items():
        line = one.lines.get(f"/spec/encryptedData/{escaped(str(key))}", 0)
        row = rows[line - 1] if 0 < line <= len(rows) else ""
        if isinstance(text, str) and (match := notes.find_comment(row)):
            yield str(key), match[1]
