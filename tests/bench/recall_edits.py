"""What is edited by hand of an object, and where that has to be found.

Also a program for EDITOR: ``python recall_edits.py FILE`` edits what ``kubectl edit`` wrote.
Only the standard library: it starts in milliseconds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CLASSES = (
    "value changed",
    "key added",
    "list item added",
    "key removed",
    "label or annotation",
    "finalizer or owner",
    "object deleted",
    "foreign object",
)
VALUE, KEY, ITEM, GONE, LABEL, HELD, DELETED, FOREIGN = CLASSES

Edit = tuple[str, str, str]
"""Its class, the difference, and the path at which it has to be found."""

_SPEC = "spec.template.spec"
_APP = f"{_SPEC}.containers[name=app]"
_OWNER = "recall-owner"


def edits_of(manifest: dict[str, Any]) -> tuple[Edit, ...]:
    """Return what ``edit`` changes of an object."""
    held = (HELD, "added", "metadata.finalizers[0]")
    if _odd(manifest):
        held = (HELD, "added", "metadata.ownerReferences[uid={owner}]")
    if manifest["kind"] == "ConfigMap":
        return (
            (VALUE, "changed", "data.a"),
            (KEY, "added", 'data["new.key"]'),
            (GONE, "removed", "data.b"),
            (LABEL, "added", "metadata.labels.team"),
            held,
        )
    if manifest["kind"] == "Service":
        return (
            (VALUE, "changed", "spec.selector.app"),
            (KEY, "added", "spec.selector.tier"),
            (ITEM, "added", "spec.ports[port=81,protocol=TCP]"),
            (LABEL, "added", 'metadata.annotations["example.com/by"]'),
            held,
        )
    return (
        (VALUE, "changed", f"{_APP}.image"),
        (KEY, "added", f"{_SPEC}.nodeSelector.disk"),
        (ITEM, "added", f"{_APP}.env[name=NEW]"),
        (ITEM, "added", f"{_SPEC}.containers[name=debug]"),
        (GONE, "removed", f"{_APP}.env[name=B]"),
        (LABEL, "changed", "metadata.labels.tier"),
        (LABEL, "added", "spec.template.metadata.labels.team"),
        held,
    )


def _odd(manifest: dict[str, Any]) -> bool:
    return int(manifest["metadata"]["name"].rpartition("-")[2]) % 2 == 1


def token(manifest: dict[str, Any]) -> str:
    """Return the text that all edits of an object carry, and nothing else."""
    return "edited-" + str(manifest["metadata"]["name"])


def edit(manifest: dict[str, Any], owner: str) -> None:
    """Edit an object in place. ``owner`` is the uid of an object that is there."""
    word, metadata = token(manifest), manifest["metadata"]
    if _odd(manifest):
        metadata["ownerReferences"] = [_reference(owner)]
    else:
        metadata["finalizers"] = [f"example.com/{word}"]
    if manifest["kind"] == "ConfigMap":
        metadata["labels"]["team"] = word
        data = manifest["data"]
        data["a"], data["new.key"] = word, word
        del data["b"]
    elif manifest["kind"] == "Service":
        metadata.setdefault("annotations", {})["example.com/by"] = word
        spec = manifest["spec"]
        spec["selector"] = {"app": word, "tier": word}
        spec["ports"].append({"name": "more", "port": 81, "targetPort": 8081})
    else:
        metadata["labels"]["tier"] = word
        template = manifest["spec"]["template"]
        template["metadata"]["labels"]["team"] = word
        template["spec"]["nodeSelector"] = {"disk": word}
        template["spec"]["containers"].append({"name": "debug", "image": f"{word}:1"})
        app = next(one for one in template["spec"]["containers"] if one["name"] == "app")
        app["image"] = f"registry.example/{word}:2"
        app["env"] = [one for one in app["env"] if one["name"] != "B"]
        app["env"].append({"name": "NEW", "value": word})


def patch(manifest: dict[str, Any], owner: str) -> dict[str, Any]:
    """Return the same edits as a strategic merge patch."""
    word = token(manifest)
    metadata: dict[str, Any] = {"finalizers": [f"example.com/{word}"]}
    if _odd(manifest):
        metadata = {"ownerReferences": [_reference(owner)]}
    if manifest["kind"] == "ConfigMap":
        data = {"a": word, "new.key": word, "b": None}
        return {"metadata": {**metadata, "labels": {"team": word}}, "data": data}
    if manifest["kind"] == "Service":
        annotations = {"annotations": {"example.com/by": word}}
        ports = [{"name": "more", "port": 81, "targetPort": 8081}]
        spec: dict[str, Any] = {"selector": {"app": word, "tier": word}, "ports": ports}
        return {"metadata": {**metadata, **annotations}, "spec": spec}
    env = [{"name": "B", "$patch": "delete"}, {"name": "NEW", "value": word}]
    app = {"name": "app", "image": f"registry.example/{word}:2", "env": env}
    pod = {
        "nodeSelector": {"disk": word},
        "containers": [app, {"name": "debug", "image": f"{word}:1"}],
    }
    template = {"metadata": {"labels": {"team": word}}, "spec": pod}
    return {
        "metadata": {**metadata, "labels": {"tier": word}},
        "spec": {"template": template},
    }


def _reference(owner: str) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "name": _OWNER, "uid": owner}


def main(path: str, owner: str) -> None:
    """Edit the object, or the list of objects, in a file."""
    file = Path(path)
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    document = json.loads("\n".join(lines))
    for one in document["items"] if document["kind"] == "List" else [document]:
        edit(one, owner)
    file.write_text(json.dumps(document, indent=2))


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[1])
