"""What a kustomization says about patches: which files are partial, which targets are stale."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml.nodes import Node

from opslib.source.removed import Removal, removed_in
from opslib.source.yamlnodes import line_of, members, parse, peek, scalar

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_LISTS = ("patches", "patchesStrategicMerge", "patchesJson6902")


def patch_files(folder: Path) -> set[Path]:
    """Return the files below a folder that its kustomizations use as patches."""
    found = set[Path]()
    for base, _, files in os.walk(folder):
        for name in {*NAMES} & {*files}:
            try:
                roots = parse(Path(base, name).read_bytes().decode())
            except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError):
                continue  # reported by whoever reads the file as a manifest
            for item in (item for root in roots for item in _entries(root)):
                path = scalar(item) or scalar(peek(item, "path"))
                if path and "\n" not in path:
                    found.add(Path(base, path).resolve())
    return found


def stale_targets(root: Node) -> Iterator[tuple[int, str, str, str]]:
    """Find targets and inline patches of removed API versions: line, finding, fix, source."""
    if scalar(peek(root, "kind")) not in (None, "Kustomization", "Component"):
        return
    for item in _entries(root):
        target = peek(item, "target")
        group, version = scalar(peek(target, "group")), scalar(peek(target, "version"))
        removal = removed_in(f"{group}/{version}", scalar(peek(target, "kind")) or "")
        if removal and target:
            yield _row(target, removal, "a patch's target names")
        inline = item if scalar(item) else peek(item, "patch")
        for removal in _inline(scalar(inline) or ""):
            if inline is not None:
                yield _row(inline, removal, "an inline patch is written for")


def _row(node: Node, removal: Removal, what: str) -> tuple[int, str, str, str]:
    text = f"{what} {removal.api_version} {removal.kind}, gone since Kubernetes {removal.version}"
    fix = f"write {removal.replacement or 'what replaces it'} there"
    return line_of(node) + 1, text, fix, removal.source


def _inline(text: str) -> Iterator[Removal]:
    if "\n" not in text:
        return
    try:
        roots = parse(text)
    except yaml.YAMLError:
        return
    for root in roots:
        version, kind = scalar(peek(root, "apiVersion")), scalar(peek(root, "kind"))
        if removal := removed_in(version or "", kind or ""):
            yield removal


def _entries(root: Node) -> list[Node]:
    return [item for name in _LISTS for item in members(peek(root, name))]
