"""From files to resources: plain folders of YAML and JSON, and kustomizations."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Origin, Resource, ResourceKey, Revision
from opslib.core.progress import SILENT, Progress
from opslib.source import kustomize
from opslib.source.mirror import Mirror
from opslib.source.parsed import Store
from opslib.source.trees import Commit, Disk, Tree
from opslib.source.yamlload import Document, load_documents

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Rendered:
    """What a folder declares. ``files`` are all that were read for it."""

    revision: Revision | None
    resources: tuple[Resource, ...]
    kind: Literal["plain", "kustomize"]
    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def render(
    mirror: Mirror, revision: Revision, path: str = "", *, progress: Progress = SILENT
) -> Rendered:
    """Render a folder of one commit: a kustomization if it has one, else all its manifests.

    Plain folders are read with their subfolders; hidden files are left out. Raises
    InputError or Problems, with file and line, for what cannot be read, is no Kubernetes
    object, is declared twice or would come from outside the repository; also for a folder
    without any manifest, which is never what Git wants.
    """
    progress.update("rendering")
    folder = posixpath.normpath(path).strip("/") if path else ""
    if folder.startswith(".."):
        raise InputError(f"{path} leads out of the repository", where="--path")
    return _render(Commit(mirror, revision.commit), "" if folder == "." else folder, revision)


def render_folder(folder: Path) -> Rendered:
    """Render a folder on disk as it is, committed or not.

    A kustomization may build on folders beside it, up to the root of the repository (or the
    parent folder where there is none). Origins are paths from there.
    """
    place = folder.resolve()
    if not place.is_dir():
        raise InputError("there is no such folder", where=str(folder))
    roots = (one for one in (place, *place.parents) if (one / ".git").exists())
    root = next(roots, place.parent)
    inside = str(place.relative_to(root))
    return _render(Disk(root), "" if inside == "." else inside, None)


def render_tree(tree: Tree, path: str) -> Rendered:
    """Render a folder of any tree of files, as ``render`` does."""
    folder = posixpath.normpath(path).strip("/") if path else ""
    return _render(tree, "" if folder == "." else folder, None)


def _render(tree: Tree, folder: str, revision: Revision | None) -> Rendered:
    files = tree.files(folder)
    if not files:
        raise InputError(
            "there is no such folder in this revision" if folder else "this revision has no files",
            where=folder or "/",
            hint="name a folder with manifests by --path",
        )
    if kustomize.kustomization_of(files, folder):
        resources, used = kustomize.build(tree, folder)
        kind: Literal["plain", "kustomize"] = "kustomize"
    else:
        _no_kustomizations_below(files, folder)
        used = [name for name in files if _is_manifest(name, folder)]
        resources, kind = _plain(tree, used, folder), "plain"
    if not resources:
        raise InputError(
            "this folder declares nothing",
            where=folder or "/",
            expected=f"manifests in files that end in {', '.join(SUFFIXES)}",
            hint="an empty folder is never taken for the wish to delete everything",
        )
    _no_duplicates(resources)
    return Rendered(revision, tuple(resources), kind, tuple(used))


def _no_kustomizations_below(files: Iterable[str], folder: str) -> None:
    below = sorted(
        {posixpath.dirname(f) for f in files if posixpath.basename(f) in kustomize.NAMES}
    )
    if below:
        raise InputError(
            f"this folder holds {len(below)} kustomizations and is none itself",
            where=folder or "/",
            expected=f"--path with one of: {', '.join(below[:8])}",
        )


def _is_manifest(name: str, folder: str) -> bool:
    inside = name.removeprefix(folder).strip("/")
    hidden = any(part.startswith(".") for part in inside.split("/"))
    return name.endswith(SUFFIXES) and not hidden


def _plain(tree: Tree, names: list[str], folder: str) -> list[Resource]:
    contents = tree.read(names)
    store = Store(tree.aside(folder)) if isinstance(tree, Commit) else None
    problems: list[OpslibError] = []
    found: list[Resource] = []
    for name in names:
        data = contents[name]
        try:
            found += store.read(data, name, parse_file) if store else parse_file(data, name)
        except Problems as several:
            problems += several.problems
        except InputError as error:
            problems.append(error)
    if problems:
        raise Problems(problems)
    if store:
        store.save()
    return found


def parse_file(data: bytes, name: str) -> tuple[Resource, ...]:
    """Return what a file declares. Raises InputError or Problems with file and line."""
    documents = load_documents(_text(data, name), name)
    return tuple(_resource(one, name) for one in documents)


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("this file is not UTF-8", where=f"{name}:{line}") from None


def _resource(document: Document, name: str) -> Resource:
    return Resource(document.manifest, Origin(name, document.line), document.lines)


def _no_duplicates(resources: Iterable[Resource]) -> None:
    seen: dict[ResourceKey, Resource] = {}
    problems: list[OpslibError] = []
    for one in resources:
        first = seen.setdefault(one.key, one)
        if first is not one:
            where = f"{first.origin} and {one.origin}"
            problems.append(
                InputError(f"{one.key} is declared twice", where=where, hint="keep one of them")
            )
    if problems:
        raise Problems(problems)
