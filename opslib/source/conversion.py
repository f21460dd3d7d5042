"""One object that is being converted, as the rules of its kind see it."""

from __future__ import annotations

from dataclasses import dataclass

from yaml.nodes import Node

from opslib.source.removed import Removal
from opslib.source.textedit import TextEditor
from opslib.source.yamlnodes import line_of


@dataclass
class Job:
    """One object that is being converted: its node, what is gone, and where edits go."""

    root: Node
    removal: Removal
    editor: TextEditor
    partial: bool = False  # a patch: it carries only some fields, nothing may be completed
    found: list[tuple[int, str, str]] | None = None

    def note(self, node: Node, what: str, why: str) -> None:
        """Remember a change: its 0-based line, what was done and why."""
        if self.found is None:
            self.found = []
        self.found.append((line_of(node), what, why))
