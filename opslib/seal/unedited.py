"""What an edit of a SealedSecret may change, and what must be as it was: compared afterwards."""

from __future__ import annotations

from typing import Any

from opslib.seal import notes
from opslib.seal.reading import read_documents
from opslib.seal.sealed import Declared, is_sealed, read_sealed


def same_but_edits(before: str, after: str, path: str) -> bool:
    """Compare all documents of two texts, but for the fields that edits may reach."""
    return _all_fixed(before, path) == _all_fixed(after, path)


def _is_list(manifest: Any) -> bool:
    """Tell a List, whose items are compared one by one."""
    return isinstance(manifest, dict) and str(manifest.get("kind")).endswith("List")


def _all_fixed(text: str, path: str) -> list[Any]:
    """Return what edits leave alone in all documents of a text."""
    data = text.encode()
    whole: list[Any] = [one.manifest for one in read_documents(data, path)]
    kept = [one for one in whole if not is_sealed(one) and not _is_list(one)]
    return [*kept, *(_fixed(one) for one in read_sealed(data, path, others=True))]


def _fixed(one: Declared) -> dict[str, Any]:
    """Return a SealedSecret without what edits may change: its data, notes, template texts."""
    spec = {key: value for key, value in one.spec.items() if key != "encryptedData"}
    template = {**one.template}
    inner = template.get("metadata")
    if isinstance(inner, dict):
        kept = {k: v for k, v in inner.items() if k not in {"labels", "annotations"}}
        template["metadata"] = kept
    annotations = {k: v for k, v in one.annotations.items() if k != notes.ANNOTATION}
    metadata = {**one.metadata, "annotations": annotations}
    template.setdefault("metadata", {})
    return {**one.manifest, "metadata": metadata, "spec": {**spec, "template": template}}
