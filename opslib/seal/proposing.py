"""How a value becomes an edit of Git: the file is found or made, and lines of it are changed."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from opslib.core.errors import InputError, OpslibError
from opslib.seal import emit, sealing
from opslib.seal.merging import Merge
from opslib.seal.proposal import Change, Placed, Wish
from opslib.seal.recipients import Recipient
from opslib.seal.sealed import KIND, Declared, read_sealed
from opslib.seal.secret import MOST_VALUES, check_key
from opslib.seal.uses import mark_of, marked, marks, reads
from opslib.seal.wire import Scope
from opslib.source.filediff import diff_of
from opslib.source.yamledit import amend_document, documents
from opslib.source.yamltree import CannotEdit

if TYPE_CHECKING:
    from opslib.source.trees import Tree

_YAML, _MANIFESTS = (".yaml", ".yml"), (".yaml", ".yml", ".json")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_MOST = 2_000_000
"""Bytes of a file that is looked into for workloads and SealedSecrets."""


def propose(
    tree: Tree, base: str, recipients: Sequence[Recipient], wish: Wish, told: Sequence[str] = ()
) -> Change:
    """Seal for each cluster and find the smallest edit of the commit's files; nothing is written.

    A SealedSecret that is there gets lines; else a file of its own is made, and listed where a
    kustomization lists its files. Raises InputError where the values cannot be sealed, or a
    file cannot be edited by position.
    """
    for key in wish.values:
        check_key(key)
    if (size := sum(map(len, wish.values.values()))) > MOST_VALUES:
        expected = f"at most {MOST_VALUES} bytes in one Secret"
        raise InputError(
            f"the values are {size} bytes together", where=str(wish), expected=expected
        )
    work = _Work(tree, wish, list(told))
    for one in recipients:
        work.seal(one)
    sealed = any(one.sealed for one in work.placed)
    mark = work.restart() if sealed and wish.restart else ""
    files = {path: data for path, data in work.files.items() if data != work.old(path)}
    return Change(
        wish,
        base,
        tuple(work.placed),
        files if sealed else {},
        diff_of(tree, files) if sealed else "",
        tuple(work.restarts),
        mark,
        tuple(dict.fromkeys(work.told)),
    )


def standing(
    tree: Tree, one: Recipient, namespace: str, name: str, keys: Sequence[str]
) -> Placed | None:
    """Return the SealedSecret of one cluster as the commit has it; None where it has none.

    Raises InputError for keys that it does not have.
    """
    found = _Work(tree, Wish(namespace, name, {}, sealing.Noting()), []).present(one.folder)
    if found is None:
        return None
    for key in keys:
        if key not in found.data:
            known = ", ".join(map(str, found.data))
            raise InputError(f"it has no key {key}", where=found.place(), expected=f"of: {known}")
    return Placed(one, found.path, found, tuple(keys or map(str, found.data)))


def mark_in(tree: Tree, folder: str, namespace: str, name: str) -> str:
    """Return the mark that pod templates of Git have for a Secret; "" where none has one."""
    work = _Work(tree, Wish(namespace, name, {}, sealing.Noting()), [])
    for path, data in work.read(folder, _YAML, mark_of(name)):
        try:
            found = documents(data.decode(errors="replace"), path)
        except OpslibError:
            continue
        for _, document in found:
            manifest: Any = document.manifest
            if reads(manifest, namespace, name) and (mark := marks(manifest, name)):
                return mark
    return ""


class _Work:
    """The files as they become, one cluster after the other."""

    def __init__(self, tree: Tree, wish: Wish, told: list[str]) -> None:
        self.tree = tree
        self.wish = wish
        self.told = told
        self.files: dict[str, bytes] = {}
        self.placed: list[Placed] = []
        self.restarts: list[str] = []
        self._all = set(tree.files(""))

    def old(self, path: str) -> bytes | None:
        return self.tree.read([path])[path] if path in self._all else None

    def seal(self, one: Recipient) -> None:
        """Put the values into the file of one cluster."""
        found = self.present(one.folder)
        path = found.path if found else self._new_path(one.folder)
        if other := next((row for row in self.placed if row.path == path), None):
            raise InputError(
                f"{other.recipient.name} and {one.name} would share one file",
                where=path,
                expected="a path of its own for each cluster in seal.yaml",
            )
        text = self._edited(one, found) if found else self._made(one, path)
        self.files[path] = text.encode()
        (made,) = [row for row in read_sealed(text.encode(), path, others=True) if self._is(row)]
        sealed = [k for k in self.wish.values if not found or made.data[k] != found.data.get(k)]
        same = [key for key in self.wish.values if key not in sealed]
        self.placed.append(Placed(one, path, made, tuple(sealed), tuple(same), not found))

    def _is(self, one: Declared) -> bool:
        return (one.namespace, one.name) == (self.wish.namespace, self.wish.name)

    def present(self, folder: str) -> Declared | None:
        """Return the SealedSecret that Git has in a folder. Raises InputError for two of them."""
        found = []
        for path, data in self.read(folder, _MANIFESTS, KIND):
            try:
                rows = read_sealed(data, path, others=True)
            except InputError as error:
                self.told.append(f"{path} cannot be read and was passed over: {error.what}")
                continue
            found += [one for one in rows if self._is(one)]
            for one in rows:
                if one.name == self.wish.name and not one.namespace and one.scope != Scope.CLUSTER:
                    raise InputError(
                        "this SealedSecret names no namespace, to which a value is bound",
                        where=one.place("/metadata/name"),
                        expected=f"namespace: {self.wish.namespace}",
                    )
        if len(found) > 1:
            places = ", ".join(one.place() for one in found)
            raise InputError(f"SealedSecret {self.wish} is in Git twice", where=places)
        return found[0] if found else None

    def _edited(self, one: Recipient, found: Declared) -> str:
        wish = self.wish
        merge = Merge(one.certificate, wish.noting, wish.scope)
        data = self.files.get(found.path) or self.tree.read([found.path])[found.path]
        if len(read_sealed(data, found.path, others=True)) > 1:
            self._alone(data, found)
        secret = wish.secret()
        text, _ = merge.into(data, found.path, [secret], one.known)
        return text

    def _alone(self, data: bytes, found: Declared) -> None:
        """Refuse a file in which two SealedSecrets have one name: the edit goes by the name."""
        same = [o for o in read_sealed(data, found.path, others=True) if o.name == found.name]
        if len(same) > 1:
            raise InputError("two SealedSecrets of this file have one name", where=found.place())

    def _made(self, one: Recipient, path: str) -> str:
        wish = self.wish
        options = sealing.Options(scope=wish.scope, namespace=wish.namespace, noting=wish.noting)
        (sealed,) = sealing.seal([wish.secret()], one.certificate, options)
        self.told += sealed.warnings
        self._list(path)
        return emit.render([sealed.manifest], "yaml").removeprefix("---\n")

    def _new_path(self, folder: str) -> str:
        for name in (f"{self.wish.name}.yaml", f"{self.wish.name}-sealed.yaml"):
            path = posixpath.join(folder, name)
            if path not in self._all:
                return path
        raise InputError("a file of this name is there already", where=path)

    def _list(self, path: str) -> None:
        """Name a new file in the kustomization of its folder, which else would not have it."""
        folder, name = posixpath.split(path)
        for one in _KUSTOMIZATIONS:
            place = posixpath.join(folder, one)
            if place in self._all:
                data = self.files.get(place) or self.tree.read([place])[place]
                (manifest,) = (row.manifest for _, row in documents(data.decode(), place))
                wanted = {**manifest, "resources": [*(manifest.get("resources") or []), name]}
                self._amend(place, data.decode(), 0, wanted)

    def _amend(self, path: str, text: str, number: int, wanted: Any) -> None:
        try:
            self.files[path] = amend_document(text, number, wanted).encode()
        except CannotEdit as error:
            self.told.append(f"{path}:{error.line or 1} has to be edited by hand: {error.what}")

    def restart(self) -> str:
        """Change the pod templates in Git that read the Secret; return what they get."""
        rows = [[one.path, sorted(one.declared.data.items())] for one in self.placed]
        mark = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]
        for folder in dict.fromkeys(one.recipient.folder for one in self.placed if one.sealed):
            for path, _ in self.read(folder, _YAML, self.wish.name):
                self._mark(path, mark)
        return mark

    def _mark(self, path: str, mark: str) -> None:
        text = (self.files.get(path) or self.tree.read([path])[path]).decode(errors="replace")
        try:
            found = documents(text, path)
        except OpslibError:
            return  # a template of another tool: it is passed over as its Secrets are
        for number, (_, document) in enumerate(found):
            manifest: Any = document.manifest
            if reads(manifest, self.wish.namespace, self.wish.name):
                name = f"{manifest['kind']} {manifest['metadata'].get('name')} ({path})"
                if name not in self.restarts:
                    self.restarts.append(name)
                before = self.files.get(path)
                self._amend(path, text, number, marked(manifest, self.wish.name, mark))
                if self.files.get(path) is before:
                    self.restarts.remove(name)
                text = (self.files.get(path) or text.encode()).decode()

    def read(self, folder: str, ends: tuple[str, ...], word: str) -> Iterator[tuple[str, bytes]]:
        """Yield the files below a folder that have a word, as they are now."""
        paths = [path for path in self.tree.files(folder) if path.endswith(ends)]
        for path, data in self.tree.read(paths).items() if paths else ():
            now = self.files.get(path, data)
            if len(now) <= _MOST and word.encode() in now:
                yield path, now
