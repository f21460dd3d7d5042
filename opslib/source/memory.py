"""What a mirror remembers between fetches: the heads that were used, the default branch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.core.files import write_atomic


@dataclass(frozen=True)
class Memory:
    """A small JSON file beside the mirror, so that it outlives a mirror that is made anew."""

    path: Path

    @property
    def default(self) -> str:
        """The remote's default branch at the last fetch that asked for it; "" if none did."""
        return str(self._load().get("default") or "")

    def head_of(self, name: str) -> str:
        """Return the commit that a ref (whole or short name) had when it was last used."""
        heads = self._load().get("heads")
        if not isinstance(heads, dict):
            return ""
        whole = (name, f"refs/heads/{name}", f"refs/tags/{name}")
        return next((str(heads[one]) for one in whole if one in heads), "")

    def remember(self, name: str, commit: str) -> None:
        """Note the commit of a ref that is used now."""
        data = self._load()
        heads = data.get("heads")
        self._save({**data, "heads": {**(heads if isinstance(heads, dict) else {}), name: commit}})

    def remember_default(self, branch: str) -> None:
        """Note the name of the default branch."""
        self._save({**self._load(), "default": branch})

    def _load(self) -> dict[str, Any]:
        try:
            data = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def _save(self, data: dict[str, Any]) -> None:
        if data != self._load():
            write_atomic(self.path, json.dumps(data, indent=1, sort_keys=True) + "\n", mode=0o600)
