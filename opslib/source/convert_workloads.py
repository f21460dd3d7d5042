"""Conversions of workloads: the selector that is required now, and defaults that changed."""

from __future__ import annotations

from yaml.nodes import MappingNode, Node

from opslib.source.conversion import Job
from opslib.source.textedit import Tree
from opslib.source.yamlnodes import Entry, Stuck, dig, find, lacks, own, scalar


def deployment(job: Job) -> str:
    spec = own(job.root, "spec")
    said = _workload(job, spec)
    if job.removal.api_version == "extensions/v1beta1":
        if not job.partial and spec is not None:
            _keep_rollout_steps(job, spec)
        said += (
            "A rollout without progress for 600 s is now reported (before: never), and 10 old"
            " revisions are kept (before: all); running pods do not notice. "
        )
        said += _own_labels(job)
    return said


def _keep_rollout_steps(job: Job, spec: Node) -> None:
    """extensions/v1beta1 replaced one pod at a time; apps/v1 takes 25 % where nothing is said."""
    strategy = own(spec, "strategy")
    if (scalar(dig(strategy, "type")) or "RollingUpdate") != "RollingUpdate":
        return
    rolling = own(strategy, "rollingUpdate")
    missing: Tree = {name: "1" for name in ("maxSurge", "maxUnavailable") if lacks(rolling, name)}
    if not missing:
        return
    if rolling is not None:
        job.editor.add(rolling, missing)
    elif strategy is not None:
        job.editor.add(strategy, {"rollingUpdate": missing})
    else:
        tree: Tree = {"strategy": {"type": "RollingUpdate", "rollingUpdate": missing}}
        job.editor.add(spec, tree, before="template")
    job.note(
        rolling or strategy or _template(spec).key,
        f"{' and '.join(missing)} 1 written out",
        "this was the default of extensions/v1beta1; apps/v1 has 25%, which would change how"
        " many pods a rollout takes away at once",
    )


def daemon_set(job: Job) -> str:
    spec = own(job.root, "spec")
    said = _workload(job, spec)
    if job.removal.api_version == "extensions/v1beta1" and not job.partial and spec is not None:
        _keep_on_delete(job, spec)
    return said + (_own_labels(job) if job.removal.api_version == "extensions/v1beta1" else "")


def stateful_set(job: Job) -> str:
    spec = own(job.root, "spec")
    said = _workload(job, spec)
    if job.removal.api_version == "apps/v1beta1" and not job.partial and spec is not None:
        _keep_on_delete(job, spec)
    return said


def _keep_on_delete(job: Job, spec: Node) -> None:
    strategy = own(spec, "updateStrategy")
    if not lacks(strategy, "type"):
        return
    if strategy is not None:
        job.editor.add(strategy, {"type": "OnDelete"})
    else:
        job.editor.add(spec, {"updateStrategy": {"type": "OnDelete"}}, before="template")
    job.note(
        strategy or _template(spec).key,
        "updateStrategy OnDelete written out",
        f"this was the default of {job.removal.api_version}; apps/v1 has RollingUpdate, which"
        " would restart pods by itself. Choose RollingUpdate when you want that",
    )


def replica_set(job: Job) -> str:
    return _workload(job, own(job.root, "spec"))


def _workload(job: Job, spec: Node | None) -> str:
    """Give a workload the selector that the old version took from the template's labels."""
    for name in ("rollbackTo", "templateGeneration"):
        entry = find(spec, name)
        if entry is not None and spec is not None:
            job.editor.remove(spec, entry)
            job.note(entry.key, f"{name} removed", f"{job.removal.replacement} has no such field")
    if job.partial:
        return ""
    if spec is None:
        raise Stuck("it has no spec", job.root)
    if not lacks(spec, "selector"):
        return ""
    template = _template(spec)
    labels = dig(template.value, "metadata", "labels")
    if not isinstance(labels, MappingNode) or not labels.value:
        raise Stuck("it has no selector, and its template no labels to take one from", template.key)
    find(labels, "")  # refuses merge keys
    raw = job.editor.raw
    wanted: Tree = {raw(key): raw(value) for key, value in labels.value}
    job.editor.add(spec, {"selector": {"matchLabels": wanted}}, before="template")
    job.note(
        template.key,
        "selector added from the template's labels",
        f"{job.removal.replacement} requires it; {job.removal.api_version} took it from there."
        " It cannot be changed after creation",
    )
    return ""


def _own_labels(job: Job) -> str:
    if job.partial or dig(job.root, "metadata", "labels") is not None:
        return ""
    return "The object itself no longer gets the template's labels. "


def _template(spec: Node) -> Entry:
    entry = find(spec, "template")
    if entry is None:
        raise Stuck("it has no pod template", spec)
    if entry.aliased:
        raise Stuck("its pod template is a YAML alias", entry.key)
    return entry
