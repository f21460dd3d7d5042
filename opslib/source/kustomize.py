"""Kustomizations, by ``kubectl kustomize``: nothing from outside, nothing executed."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from opslib.core import scratch
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Manifest, Origin, Resource
from opslib.core.proc import run
from opslib.source.trees import Tree
from opslib.source.yamlload import Document, load_documents, load_values

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/"""

SECONDS = 60.0
ORIGIN = "config.kubernetes.io/origin"
_KEPT, _KEPT_BUILDS = 10_000_000, 32
"""Characters and builds that are kept in memory, the newest ones."""
_KNOWN: OrderedDict[bytes, str] = OrderedDict()
_FOLDERS = ("resources", "bases", "components")
_EXECUTE = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")
_REMOTE = ("://", "git@", "git::", "?ref=", "ssh:")


def kustomization_of(files: Iterable[str], folder: str) -> str | None:
    """Return the kustomization file of a folder, if it has one."""
    present = set(files)
    paths = (posixpath.join(folder, name) for name in NAMES)
    return next((path for path in paths if path in present), None)


def build(tree: Tree, folder: str) -> tuple[list[Resource], list[str]]:
    """Build a kustomization; return its resources and the files that it was made from.

    Raises InputError (or Problems) for what leads out of the repository, would fetch or
    execute something, and for what kubectl refuses, in its words.
    """
    folders = _needed(tree, folder)
    files = sorted({name for one in folders for name in tree.files(one)})
    contents = tree.read(files)
    text = _built(contents, folder)
    sources = _Sources(contents)
    built = load_documents(text, f"{folder} (kustomize)")
    return [sources.resource(document, folder) for document in built], files


def _built(contents: Mapping[str, bytes], folder: str) -> str:
    """Return what kubectl makes of files; the same files are not built twice in a row of edits."""
    seal = hashlib.blake2b(folder.encode())
    for name, data in contents.items():
        seal.update(b"%d %d " % (len(name), len(data)) + name.encode() + data)
    key = seal.digest()
    if key in _KNOWN:
        _KNOWN.move_to_end(key)
        return _KNOWN[key]
    with scratch.folder("kustomize-") as root:
        for name, data in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        _ask_for_origins(root / str(kustomization_of(contents, folder)))
        text = _kubectl(root, folder)
    _KNOWN[key] = text
    while sum(map(len, _KNOWN.values())) > _KEPT or len(_KNOWN) > _KEPT_BUILDS:
        _KNOWN.popitem(last=False)
    return text


def _needed(tree: Tree, folder: str) -> list[str]:
    """Return the folders of a kustomization and of all that it builds on, checked."""
    found: dict[str, None] = {}
    waiting = [folder]
    problems: list[OpslibError] = []
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found[one] = None
        files = tree.files(one)
        path = kustomization_of(files, one)
        if path is None:
            problems.append(InputError("there is no kustomization", where=one or "/"))
            continue
        for document in load_values(_decoded(tree.read([path])[path], path), path):
            check = _Check(tree, one, path, document)
            waiting += check.bases()
            problems += check.problems
    if problems:
        raise Problems(problems)
    return list(found)


class _Check:
    """One kustomization file, looked through before anything is run."""

    def __init__(self, tree: Tree, folder: str, path: str, document: Document) -> None:
        self.tree, self.folder, self.path = tree, folder, path
        self.document = document
        self.problems: list[OpslibError] = []

    def bases(self) -> list[str]:
        """Return the folders that this kustomization builds on; collect what is refused."""
        manifest: Any = self.document.manifest
        if not isinstance(manifest, dict):
            self._refuse("a kustomization is a mapping", "")
            return []
        for name in _EXECUTE:
            if name in manifest:
                self._refuse(f"{name} would run another program", f"/{name}")
        self._remote(manifest, "")
        folders = []
        for name in _FOLDERS:
            for index, entry in enumerate(manifest.get(name) or ()):
                folders += self._folder(entry, f"/{name}/{index}")
        return folders

    def _folder(self, entry: Any, pointer: str) -> list[str]:
        if not isinstance(entry, str) or _is_remote(entry):
            return []
        target = posixpath.normpath(posixpath.join(self.folder, entry))
        target = "" if target == "." else target
        if entry.startswith("/") or target.startswith(".."):
            self._refuse(f"{entry} leads out of the repository", pointer)
            return []
        if self.tree.files(target):
            return [target]
        if target not in self.tree.files(posixpath.dirname(target)):
            self._refuse(f"{entry} is not in the repository", pointer)
        else:
            self._file(target)
        return []

    def _file(self, path: str) -> None:
        """Read a resource file for its mistakes: kubectl would name no file and no line."""
        try:
            for _ in load_values(_decoded(self.tree.read([path])[path], path), path):
                pass
        except InputError as error:
            self.problems.append(error)

    def _remote(self, node: Any, pointer: str) -> None:
        """Refuse every address anywhere: kustomize fetches those of most of its fields."""
        if isinstance(node, dict):
            for key, value in node.items():
                # Inline patches and literals are texts of their own, not addresses.
                if key not in {"patch", "literals", "commonAnnotations", "annotations", "images"}:
                    self._remote(value, f"{pointer}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                self._remote(value, f"{pointer}/{index}")
        elif isinstance(node, str) and "\n" not in node and _is_remote(node):
            self._refuse(f"{node} would be fetched from elsewhere", pointer)

    def _refuse(self, what: str, pointer: str) -> None:
        line = self.document.lines.get(pointer, self.document.line)
        self.problems.append(
            InputError(
                what,
                where=f"{self.path}:{line}",
                expected="files and folders of this repository only",
                hint="copy what it refers to into the repository, at a reviewed version",
            )
        )


def _is_remote(text: str) -> bool:
    return any(mark in text for mark in _REMOTE) or text.startswith("github.com/")


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("this file is not UTF-8", where=f"{path}:{line}") from None


def _ask_for_origins(path: Path) -> None:
    """Let kustomize note the file that each resource comes from, in the temporary copy."""
    text = path.read_text(encoding="utf-8")
    known = yaml.safe_load(text)
    if "buildMetadata" not in known:
        edited = text.rstrip("\n") + "\nbuildMetadata: [originAnnotations]\n"
        try:
            if yaml.safe_load(edited) == {**known, "buildMetadata": ["originAnnotations"]}:
                path.write_text(edited, encoding="utf-8")
                return
        except yaml.YAMLError:
            pass
    wanted = {*(known.get("buildMetadata") or ()), "originAnnotations"}
    path.write_text(yaml.safe_dump({**known, "buildMetadata": sorted(wanted)}), encoding="utf-8")


def _kubectl(root: Path, folder: str) -> str:
    program = shutil.which("kubectl")
    if program is None:
        from opslib.sandbox.binaries import kubectl  # noqa: PLC0415  # only where none is on PATH

        program = str(kubectl())
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(root),
        # Whatever slipped through the checks finds no network and no transport.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_TERMINAL_PROMPT": "0",
    }
    words = [program, "kustomize", str(root / folder)]
    done = run(words, timeout=SECONDS, cwd=root, env=env, check=False)
    if done.code:
        reason = done.err.decode(errors="replace").strip().replace(f"{root}/", "")
        raise InputError(
            f"kubectl kustomize refuses this: {reason.removeprefix('error: ')}",
            where=folder or "/",
            hint=f"try it: kubectl kustomize {folder or '.'}",
        )
    return done.text


class _Sources:
    """Finds for each built resource the document that it comes from."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents
        self._documents: dict[str, list[Document]] = {}

    def resource(self, built: Document, folder: str) -> Resource:
        """Return a built resource with its origin, and the lines of what was not transformed."""
        manifest, origin = _without_origin(built.manifest)
        path = posixpath.normpath(posixpath.join(folder, origin)) if origin else ""
        document = self._find(path, manifest)
        if document is None:
            place = path if path in self._contents else ""
            fallback = place or str(kustomization_of(self._contents, folder))
            return Resource(manifest, Origin(fallback, 1))
        lines = {
            pointer: line
            for pointer, line in document.lines.items()
            if _at(document.manifest, pointer) == _at(manifest, pointer)
            or isinstance(_at(manifest, pointer), dict | list)
        }
        return Resource(manifest, Origin(path, document.line), lines)

    def _find(self, path: str, manifest: Manifest) -> Document | None:
        kinds = [d for d in self._load(path) if d.manifest.get("kind") == manifest.get("kind")]
        name = manifest["metadata"]["name"]
        exact = [d for d in kinds if d.manifest["metadata"]["name"] == name]
        part = [d for d in kinds if d.manifest["metadata"]["name"] in name]
        return next(iter([*exact, *part, *(kinds if len(kinds) == 1 else [])]), None)

    def _load(self, path: str) -> list[Document]:
        if path not in self._documents:
            data = self._contents.get(path)
            try:
                self._documents[path] = load_documents(data.decode(), path) if data else []
            except (OpslibError, UnicodeDecodeError):
                # kustomize read it; what our stricter reading refuses has no lines.
                self._documents[path] = []
        return self._documents[path]


_ABSENT = object()


def _at(manifest: Any, pointer: str) -> Any:
    node = manifest
    for part in _parts(pointer):
        if isinstance(node, dict):
            node = node.get(part, _ABSENT)
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return _ABSENT
    return node


def _parts(pointer: str) -> Iterator[str]:
    for part in pointer.split("/")[1:]:
        yield part.replace("~1", "/").replace("~0", "~")


def _without_origin(manifest: Manifest) -> tuple[Manifest, str]:
    """Take off kustomize's note; return the file that it names ("" for a generated one)."""
    metadata = dict(manifest["metadata"])
    annotations = dict(metadata.pop("annotations", None) or {})
    note = annotations.pop(ORIGIN, "")
    if annotations:
        metadata["annotations"] = annotations
    known = yaml.safe_load(note) if note else None
    path = known.get("path", "") if isinstance(known, dict) else ""
    return {**manifest, "metadata": metadata}, str(path)
