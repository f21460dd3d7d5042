"""Upgrades of manifests: what changes, what stays byte for byte, what is left to a person."""

from __future__ import annotations

import json
import subprocess
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.errors import ConflictError, InputError, OpslibError, Problems
from opslib.sandbox import cluster
from opslib.sandbox.cluster import Status
from opslib.source.removed import removals, removed_in
from opslib.source.upgrade import Upgraded, upgrade_folder, upgrade_text, write

DEPLOYMENT = """\
# who to ask: the payment team
apiVersion: extensions/v1beta1
kind: Deployment
metadata:
  name:   pay   # odd spacing stays
  labels: {app: pay}
spec:
  replicas: 3
  # the pods
  template:
    metadata:
      labels:
        "app": 'pay'
        tier: back
    spec:
      containers:
      - {name: a, image: 'a:1'}
"""


def _upgrade(text: str, *, patch: bool = False) -> Upgraded:
    """Upgrade a text, and see that a second upgrade finds nothing more to do."""
    once = upgrade_text(text, "f.yaml", patch=patch)
    again = upgrade_text(once.text, "f.yaml", patch=patch)
    assert again.text == once.text
    assert again.changes == ()
    return once


def _load(text: str) -> Any:
    return yaml.safe_load(text)


def _template(**more: Any) -> dict[str, Any]:
    container = {"name": "a", "image": "a:1"}
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container], **more}}


def _old(api_version: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, **fields}


def _ingress(api_version: str) -> dict[str, Any]:
    paths = [
        {"path": "/a", "backend": {"serviceName": "a", "servicePort": 80}},
        {"backend": {"servicePort": "http", "serviceName": "b"}},
    ]
    spec = {
        "backend": {"serviceName": "a", "servicePort": 80},
        "rules": [{"host": "a.example.com", "http": {"paths": paths}}],
    }
    return _old(api_version, "Ingress", spec=spec)


_METRIC = {"name": "cpu", "targetAverageUtilization": 50}
_WEBHOOK = {
    "name": "a.example.com",
    "sideEffects": "None",
    "clientConfig": {"url": "https://a.example.com/x"},
}
_CLUSTER_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
_LEVEL = {"assuredConcurrencyShares": 10, "limitResponse": {"type": "Reject"}}
_SCALE = {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}
OLD = [
    _old("extensions/v1beta1", "Deployment", spec={"template": _template()}),
    _old("apps/v1beta1", "Deployment", spec={"template": _template()}),
    _old(
        "apps/v1beta2", "Deployment", spec={"rollbackTo": {"revision": 1}, "template": _template()}
    ),
    _old(
        "extensions/v1beta1", "DaemonSet", spec={"templateGeneration": 2, "template": _template()}
    ),
    _old("apps/v1beta1", "StatefulSet", spec={"serviceName": "a", "template": _template()}),
    _old("extensions/v1beta1", "ReplicaSet", spec={"replicas": 0, "template": _template()}),
    _ingress("extensions/v1beta1"),
    _ingress("networking.k8s.io/v1beta1"),
    _old("networking.k8s.io/v1beta1", "IngressClass", spec={"controller": "example.com/a"}),
    _old("extensions/v1beta1", "NetworkPolicy", spec={"podSelector": {}}),
    _old(
        "policy/v1beta1",
        "PodDisruptionBudget",
        spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    ),
    _old(
        "batch/v1beta1",
        "CronJob",
        spec={
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": _template(restartPolicy="Never")}},
        },
    ),
    _old(
        "autoscaling/v2beta1",
        "HorizontalPodAutoscaler",
        spec={
            "maxReplicas": 3,
            "scaleTargetRef": _SCALE,
            "metrics": [{"type": "Resource", "resource": _METRIC}],
        },
    ),
    _old(
        "autoscaling/v2beta2",
        "HorizontalPodAutoscaler",
        spec={"maxReplicas": 3, "scaleTargetRef": _SCALE},
    ),
    _old("rbac.authorization.k8s.io/v1beta1", "Role", rules=[]),
    _old(
        "rbac.authorization.k8s.io/v1alpha1",
        "ClusterRoleBinding",
        subjects=[{"kind": "User", "name": "a", "apiGroup": "rbac.authorization.k8s.io"}],
        roleRef=_CLUSTER_ROLE,
    ),
    _old(
        "admissionregistration.k8s.io/v1beta1", "MutatingWebhookConfiguration", webhooks=[_WEBHOOK]
    ),
    _old("scheduling.k8s.io/v1beta1", "PriorityClass", value=5),
    _old("storage.k8s.io/v1beta1", "StorageClass", provisioner="example.com/a"),
    _old("coordination.k8s.io/v1beta1", "Lease", spec={"holderIdentity": "a"}),
    _old("node.k8s.io/v1beta1", "RuntimeClass", handler="a"),
    _old(
        "flowcontrol.apiserver.k8s.io/v1beta2",
        "PriorityLevelConfiguration",
        spec={"type": "Limited", "limited": _LEVEL},
    ),
]
_WRITTEN_OUT = {
    "apps/v1beta1 StatefulSet": {"updateStrategy": {"type": "OnDelete"}},
    "extensions/v1beta1 DaemonSet": {"updateStrategy": {"type": "OnDelete"}},
    "extensions/v1beta1 Deployment": {
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1},
        }
    },
}


def _expected(old: dict[str, Any]) -> dict[str, Any]:
    """Say what an object of OLD has to become, at the level of data and by other means."""
    new = deepcopy(old)
    removal = removed_in(old["apiVersion"], old["kind"])
    assert removal
    new["apiVersion"] = removal.replacement
    spec = new.get("spec", {})
    for name in ("rollbackTo", "templateGeneration"):
        spec.pop(name, None)
    if "template" in spec:
        spec["selector"] = {"matchLabels": spec["template"]["metadata"]["labels"]}
        spec |= _WRITTEN_OUT.get(f"{old['apiVersion']} {old['kind']}", {})
    if new["kind"] == "Ingress":
        spec["defaultBackend"] = _backend(spec.pop("backend"))
        for path in spec["rules"][0]["http"]["paths"]:
            path |= {"pathType": "ImplementationSpecific", "backend": _backend(path["backend"])}
    for metric in spec.get("metrics", ()):
        value = metric["resource"].pop("targetAverageUtilization")
        metric["resource"]["target"] = {"type": "Utilization", "averageUtilization": value}
    for hook in new.get("webhooks", ()):
        hook |= {"failurePolicy": "Ignore", "matchPolicy": "Exact", "timeoutSeconds": 30}
        hook |= {"admissionReviewVersions": ["v1beta1"]}
    if "limited" in spec:
        limited = spec["limited"]
        limited["nominalConcurrencyShares"] = limited.pop("assuredConcurrencyShares")
    return new


def _backend(old: dict[str, Any]) -> dict[str, Any]:
    port = old["servicePort"]
    field = "number" if isinstance(port, int) else "name"
    return {"service": {"name": old["serviceName"], "port": {field: port}}}


_NAMES = [f"{old['apiVersion']} {old['kind']}" for old in OLD]


def test_a_deployment_gets_only_what_it_needs() -> None:
    """The diff of a Deployment is the apiVersion, the selector and the old rollout steps."""
    upgraded = _upgrade(DEPLOYMENT)
    assert upgraded.diff() == dedent(
        """\
        --- a/f.yaml
        +++ b/f.yaml
        @@ -1,11 +1,20 @@
         # who to ask: the payment team
        -apiVersion: extensions/v1beta1
        +apiVersion: apps/v1
         kind: Deployment
         metadata:
           name:   pay   # odd spacing stays
           labels: {app: pay}
         spec:
           replicas: 3
        +  selector:
        +    matchLabels:
        +      "app": 'pay'
        +      tier: back
        +  strategy:
        +    type: RollingUpdate
        +    rollingUpdate:
        +      maxSurge: 1
        +      maxUnavailable: 1
           # the pods
           template:
             metadata:
        """
    )
    assert [change.line for change in upgraded.changes] == [2, 10, 10]
    assert all(change.source.startswith("https://") for change in upgraded.changes)


@pytest.mark.parametrize("old", OLD, ids=_NAMES)
@pytest.mark.parametrize("style", ["block", "flow", "json", "list"])
def test_the_api_server_takes_what_the_upgrade_makes(
    old: dict[str, Any], style: str, sandbox: Status
) -> None:
    """Every convertible kind, in every style of writing, passes a strict server-side dry run."""
    whole = {"apiVersion": "v1", "kind": "List", "items": [old]} if style == "list" else old
    if style == "json":
        text = json.dumps(whole, indent=2)
    else:
        text = yaml.safe_dump(whole, sort_keys=False, default_flow_style=style == "flow", width=40)
    upgraded = _upgrade(text)
    assert upgraded.unresolved == ()
    manifest = _load(upgraded.text)
    (item,) = manifest["items"] if style == "list" else [manifest]
    assert item == _expected(old)
    _dry_run(sandbox, item)


def _dry_run(sandbox: Status, manifest: dict[str, Any]) -> None:
    """Create an object as a dry run, unknown fields refused."""
    plural = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}
    kind = manifest["kind"]
    name = plural.get(kind, kind.lower() + ("es" if kind.lower().endswith("s") else "s"))
    cluster_wide = kind in {
        "IngressClass",
        "ClusterRoleBinding",
        "MutatingWebhookConfiguration",
        "PriorityClass",
        "StorageClass",
        "RuntimeClass",
        "PriorityLevelConfiguration",
    }
    place = "" if cluster_wide else "/namespaces/default"
    path = f"/apis/{manifest['apiVersion']}{place}/{name}?dryRun=All&fieldValidation=Strict"
    with cluster.api(sandbox.name) as api:
        api.json("POST", path, manifest)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({"type": "Recreate"}, {"type": "Recreate"}),
        (
            {"type": "RollingUpdate"},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
        ),
        (
            {"rollingUpdate": {"maxSurge": 2}},
            {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}},
        ),
        (
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}},
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}},
        ),
        ({}, {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}),
    ],
)
def test_only_defaults_that_were_in_force_are_written_out(
    strategy: dict[str, Any], expected: dict[str, Any]
) -> None:
    """What a Deployment says of its rollout itself is never changed, and only gaps are filled."""
    old = _old(
        "extensions/v1beta1", "Deployment", spec={"strategy": strategy, "template": _template()}
    )
    assert _load(_upgrade(yaml.safe_dump(old)).text)["spec"]["strategy"] == expected


def test_a_selector_that_is_there_stays() -> None:
    """A selector is never replaced by the template's labels."""
    selector = {"matchLabels": {"app": "a"}}
    old = _old("apps/v1beta2", "Deployment", spec={"selector": selector, "template": _template()})
    upgraded = _upgrade(yaml.safe_dump(old))
    assert _load(upgraded.text)["spec"] == old["spec"]
    assert len(upgraded.changes) == 1


def test_on_delete_stays_on_delete() -> None:
    """Workloads that waited for a person to delete pods do not begin to restart them."""
    for version, kind in (("extensions/v1beta1", "DaemonSet"), ("apps/v1beta1", "StatefulSet")):
        old = _old(version, kind, spec={"template": _template()})
        spec = _load(_upgrade(yaml.safe_dump(old)).text)["spec"]
        assert spec["updateStrategy"] == {"type": "OnDelete"}


LEFT = {
    "psp": ("apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata:\n  name: a\n", 1),
    "crd": ("apiVersion: apiextensions.k8s.io/v1beta1\nkind: CustomResourceDefinition\n", 1),
    "empty selector": (
        "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nspec:\n  selector: {}\n",
        4,
    ),
    "no labels": (
        "apiVersion: extensions/v1beta1\nkind: Deployment\nspec:\n  template:\n    spec: {}\n",
        4,
    ),
    "merge key": (
        "apiVersion: apps/v1beta1\nkind: Deployment\nspec:\n  <<: {replicas: 1}\n  template: {}\n",
        4,
    ),
    "twice": ("apiVersion: apps/v1beta1\nkind: Deployment\nspec: {}\nspec: {}\n", 4),
    "alias": (
        (
            "apiVersion: extensions/v1beta1\nkind: Ingress\n"
            "x: &b {serviceName: a, servicePort: 1}\nspec:\n  backend: *b\n"
        ),
        5,
    ),
    "object metric": (
        (
            "apiVersion: autoscaling/v2beta1\nkind: HorizontalPodAutoscaler\n"
            "spec:\n  metrics:\n  - type: Object\n    object: {}\n"
        ),
        5,
    ),
    "side effects": (
        (
            "apiVersion: admissionregistration.k8s.io/v1beta1\nkind: MutatingWebhookConfiguration\n"
            "webhooks:\n- name: a\n"
        ),
        4,
    ),
    "typed list": ("apiVersion: extensions/v1beta1\nkind: IngressList\nitems: []\n", 1),
    "no shares": (
        (
            "apiVersion: flowcontrol.apiserver.k8s.io/v1beta3\nkind: PriorityLevelConfiguration\n"
            "spec:\n  limited:\n    nominalConcurrencyShares: 0\n"
        ),
        5,
    ),
    "legacy signer": (
        "apiVersion: certificates.k8s.io/v1beta1\nkind: CertificateSigningRequest\nspec: {}\n",
        1,
    ),
    "topology": (
        "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nendpoints:\n- topology: {}\n",
        4,
    ),
    "half a backend": (
        "apiVersion: extensions/v1beta1\nkind: Ingress\nspec:\n  backend:\n    serviceName: a\n",
        4,
    ),
    "target": (
        (
            "kind: Kustomization\npatches:\n- path: a.yaml\n"
            "  target:\n    {group: extensions, version: v1beta1, kind: Deployment}\n"
        ),
        5,
    ),
    "inline patch": (
        (
            "kind: Kustomization\npatches:\n- patch: |-\n"
            "    apiVersion: extensions/v1beta1\n    kind: Deployment\n"
        ),
        3,
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_cannot_be_converted_is_left_whole_and_reported(case: str) -> None:
    """An object that needs a person keeps every byte and is named with its line and what to do."""
    text, line = LEFT[case]
    upgraded = _upgrade(text)
    assert upgraded.text == text
    assert upgraded.changes == ()
    (left,) = upgraded.unresolved
    assert left.line == line
    assert left.fix
    assert left.source.startswith("https://")


def test_one_object_that_is_stuck_does_not_hold_up_the_others() -> None:
    """In a file of several objects those that can be converted are."""
    text = LEFT["psp"][0] + "---\n" + DEPLOYMENT
    upgraded = _upgrade(text)
    assert len(upgraded.unresolved) == 1
    assert upgraded.text.startswith(LEFT["psp"][0] + "---\n# who to ask")
    assert "apps/v1" in upgraded.text


def test_a_patch_is_not_completed() -> None:
    """A partial object gets the new apiVersion and nothing that only a whole object needs."""
    text = "apiVersion: extensions/v1beta1\nkind: Deployment\nspec:\n  replicas: 1\n"
    upgraded = _upgrade(text, patch=True)
    assert upgraded.text == text.replace("extensions/v1beta1", "apps/v1")
    assert _upgrade("$patch: delete\n" + text).text == "$patch: delete\n" + upgraded.text


def test_line_endings_marks_and_the_missing_last_line_end_stay() -> None:
    """CRLF, a byte order mark, document marks, tags and an unended last line stay as they are."""
    text = (
        "\ufeff%YAML 1.1\n---\n" + DEPLOYMENT.rstrip("\n") + "\n...\n---\n# empty\n---\na: !x [b]"
    )
    upgraded = _upgrade(text.replace("\n", "\r\n"))
    assert "\n" not in upgraded.text.replace("\r\n", "")
    assert upgraded.text.startswith("\ufeff%YAML 1.1\r\n---\r\n# who")
    assert upgraded.text.endswith("\r\n...\r\n---\r\n# empty\r\n---\r\na: !x [b]")


ALIASES = {
    "an item twice": (
        (
            "apiVersion: v1\nkind: List\nitems:\n- &a\n  apiVersion: batch/v1beta1\n"
            "  kind: CronJob\n- *a\n"
        ),
        True,
    ),
    "a path twice": (
        (
            "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\nspec:\n  rules:\n"
            "  - http: &h\n      paths:\n      - path: /\n  - http: *h\n"
        ),
        False,
    ),
    "a spec of another": (
        (
            "apiVersion: v1\nkind: List\nitems:\n"
            "- {apiVersion: apps/v1, kind: Deployment, spec: &s "
            "{template: {metadata: {labels: {a: b}}}}}\n"
            "- {apiVersion: apps/v1beta2, kind: Deployment, spec: *s}\n"
        ),
        False,
    ),
    "an item in itself": (
        (
            "&a\napiVersion: v1\nkind: List\nitems:\n- *a\n- {apiVersion: batch/v1beta1, "
            "kind: CronJob, x: *a}\n"
        ),
        True,
    ),
}


@pytest.mark.parametrize("case", ALIASES)
def test_aliases_never_lead_to_a_wrong_edit(case: str) -> None:
    """What is repeated by an alias is edited once, or the object is left to a person."""
    text, converted = ALIASES[case]
    upgraded = _upgrade(text)
    assert upgraded.text == (text.replace("v1beta1", "v1") if converted else text)
    assert len(upgraded.unresolved) == (0 if converted else 1)


def test_an_edit_that_would_reach_another_object_is_refused() -> None:
    """Where an object of today shares a part that has to change, the file is left as it is."""
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1beta2\n  kind: Deployment\n"
        "  spec: &s\n    template: {metadata: {labels: {a: b}}}\n"
        "- {apiVersion: apps/v1, kind: Deployment, spec: *s}\n"
    )
    with pytest.raises(OpslibError, match="more than it should"):
        upgrade_text(text, "f.yaml")


def test_json_may_be_indented_by_tabs() -> None:
    """A JSON file with tabs, which kubectl takes, is upgraded and keeps its tabs."""
    text = json.dumps(OLD[0], indent="\t")
    upgraded = _upgrade(text)
    assert json.loads(upgraded.text) == _expected(OLD[0])
    assert upgraded.text.startswith('{\n\t"apiVersion": "apps/v1",\n')


def test_a_field_without_a_value_is_left_to_a_person() -> None:
    """A null where a field would be added is not doubled."""
    for name in ("selector", "strategy"):
        text = DEPLOYMENT.replace("  replicas: 3\n", f"  {name}:\n")
        assert len(_upgrade(text).unresolved) == 1
    text = DEPLOYMENT.replace("  replicas: 3\n", "  strategy:\n    rollingUpdate:\n")
    assert len(_upgrade(text).unresolved) == 1


def test_broken_yaml_is_named_by_file_and_line() -> None:
    """A file that is not YAML is bad input with its line, whatever is wrong with it."""
    for text, where in (
        ("a: [\nb: }", "f.yaml:2"),
        ("a: 1\nb: \x01", "f.yaml:2"),
        ("a: *nowhere", "f.yaml:1"),
        ("[" * 5000, "f.yaml"),
    ):
        with pytest.raises(InputError, match="not valid YAML") as caught:
            upgrade_text(text, "f.yaml")
        assert caught.value.where == where


def test_a_folder_is_upgraded_as_a_whole(tmp_path: Path) -> None:
    """Kustomize patches are known as such; links, Git's own files and Helm templates are left."""
    for name, text in {
        "base/a.yaml": DEPLOYMENT,
        "base/new.yaml": "apiVersion: v1\nkind: Namespace\n",
        "over/kustomization.yaml": "patches:\n- path: ../patches/p.yml\n",
        "patches/p.yml": "apiVersion: extensions/v1beta1\nkind: Deployment\nspec: {}\n",
        "chart/Chart.yaml": "name: x\n",
        "chart/templates/t.yaml": "{{ not yaml",
        ".git/x.yaml": DEPLOYMENT,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link.yaml").symlink_to(tmp_path / "base/a.yaml")
    done = upgrade_folder(tmp_path)
    assert [upgraded.path for upgraded in done] == ["base/a.yaml", "patches/p.yml"]
    assert "selector" not in done[1].text
    (tmp_path / "base/a.yaml").chmod(0o640)
    write(done[0], tmp_path)
    assert (tmp_path / "base/a.yaml").read_text() == done[0].text
    assert (tmp_path / "base/a.yaml").stat().st_mode & 0o777 == 0o640
    assert [upgraded.path for upgraded in upgrade_folder(tmp_path)] == ["patches/p.yml"]


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Writing is refused when the file is not the one that the upgrade read."""
    (tmp_path / "a.yaml").write_text(DEPLOYMENT)
    (upgraded,) = upgrade_folder(tmp_path)
    (tmp_path / "a.yaml").write_text(DEPLOYMENT + "# later\n")
    with pytest.raises(ConflictError):
        write(upgraded, tmp_path)
    assert (tmp_path / "a.yaml").read_text() == DEPLOYMENT + "# later\n"


def test_all_unreadable_files_of_a_folder_are_named(tmp_path: Path) -> None:
    """Every file that cannot be read is in one error, and a folder that is not there is another."""
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_bytes(b"a: \xff")
    with pytest.raises(Problems) as caught:
        upgrade_folder(tmp_path)
    assert [problem.where for problem in caught.value.problems] == ["a.yaml:1", "b.yaml, byte 3"]
    with pytest.raises(InputError, match="no such folder"):
        upgrade_folder(tmp_path / "nowhere")


def test_git_takes_the_diff(tmp_path: Path) -> None:
    """The unified diff applies by git and gives the upgraded file, also without a last line end."""
    text = DEPLOYMENT + "---\n" + yaml.safe_dump(OLD[6]).rstrip("\n")
    (tmp_path / "f.yaml").write_text(text)
    upgraded = _upgrade(text)
    subprocess.run(
        ["git", "apply", "-"], input=upgraded.diff().encode(), cwd=tmp_path, check=True, timeout=30
    )
    assert (tmp_path / "f.yaml").read_text() == upgraded.text


@pytest.mark.parametrize("gap", ["", "# between\n", "# one\n# two\n# three\n"])
def test_the_diff_shows_no_secret_of_a_neighbour(gap: str, tmp_path: Path) -> None:
    """Values of a Secret in the same file do not get into the lines around a change."""
    secret = "kind: Secret\napiVersion: v1\nstringData:\n  password: hunter2\n  x: |\n    hunter2\n"
    text = f"{secret}{gap}---\napiVersion: batch/v1beta1\nkind: CronJob\n---\n{secret}"
    (tmp_path / "f.yaml").write_text(text)
    diff = _upgrade(text).diff()
    assert "+apiVersion: batch/v1\n" in diff
    assert "hunter2" not in diff
    subprocess.run(
        ["git", "apply", "--unidiff-zero", "-"],
        input=diff.encode(),
        cwd=tmp_path,
        check=True,
        timeout=30,
    )
    assert (tmp_path / "f.yaml").read_text() == text.replace("v1beta1", "v1")


@pytest.mark.parametrize(
    "removal", [r for r in removals().values() if r.gone_in("1.99") and not r.gone_in("1.25")]
)
def test_the_table_agrees_with_the_published_schemas(removal: Any) -> None:
    """For releases whose schemas we have, a kind is in the last release before its removal only."""
    spec = find_spec("kubernetes_validate")
    assert spec
    assert spec.origin
    schemas = Path(spec.origin).parent / "kubernetes-json-schema"
    group, version = removal.api_version.split("/")
    name = f"{removal.kind.lower()}-{group.partition('.')[0]}-{version}.json"
    minor = int(removal.version.partition(".")[2])
    assert not (schemas / f"v1.{minor}.0-local" / name).exists()
    assert (schemas / f"v1.{minor - 1}.0-local" / name).exists()
    new_group, new_version = removal.replacement.split("/")
    new = f"{removal.kind.lower()}-{new_group.partition('.')[0]}-{new_version}.json"
    assert (schemas / "v1.37.0-local" / new).exists()


def test_every_removed_version_is_looked_for() -> None:
    """The quick look that lets other files pass sees every version of the table."""
    for api_version, kind in removals():
        assert upgrade_text(f"apiVersion: {api_version}\nkind: {kind}List\n", "f").unresolved


def test_no_replacement_is_itself_removed() -> None:
    """What the table sends people to is not in the table."""
    for removal in removals().values():
        assert removed_in(removal.replacement, removal.kind) is None


_GONE = ("rollbackTo", "revision: 1", "templateGeneration")
_word = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
_comment = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12)


@st.composite
def _texts(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Write an old object with comments, blank lines and quotes at random places."""
    old = draw(st.sampled_from(OLD))
    labels = draw(st.dictionaries(_word, _word, min_size=1, max_size=3))
    spec = old.get("spec")
    if isinstance(spec, dict) and "template" in spec:
        template = {**spec["template"], "metadata": {"labels": labels}}
        old = {**old, "spec": {**spec, "template": template}}
    style = draw(st.sampled_from([None, '"', "'"]))
    indent = draw(st.integers(2, 5))
    text = yaml.dump(old, Dumper=yaml.SafeDumper, sort_keys=False, indent=indent)
    if style:
        text = text.replace(f" {old['metadata']['name']}\n", f" {style}a{style}\n")
    lines = []
    for line in text.splitlines():
        if any(word in line for word in _GONE):  # comments inside go with what is removed
            lines.append(line)
            continue
        if draw(st.booleans()):
            pad = " " * (len(line) - len(line.lstrip()))
            lines.append(pad + "# " + draw(_comment))
        lines.append(line + (" # " + draw(_comment) if draw(st.booleans()) else ""))
        lines += [""] * draw(st.integers(0, 1))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join(lines) + (end if draw(st.booleans()) else ""), old


@settings(deadline=None, max_examples=150)
@given(_texts())
def test_comments_and_untouched_lines_survive(case: tuple[str, dict[str, Any]]) -> None:
    """However a manifest is written, its upgrade means the same, and keeps comments and lines."""
    text, old = case
    upgraded = _upgrade(text)
    assert _load(upgraded.text) == _expected(old)
    moved = ("apiVersion", "backend", "serviceName", "servicePort", "target", "assured", *_GONE)
    kept = [line for line in text.splitlines() if not any(word in line for word in moved)]
    rest = iter(upgraded.text.splitlines())
    assert all(any(line == found for found in rest) for line in kept)
    for line in text.splitlines():
        _, mark, comment = line.partition("# ")
        assert not mark or mark + comment in upgraded.text


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to every value of a JSON document."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = [*value.items()]
    elif isinstance(value, list):
        inner = [*enumerate(value)]
    return [path, *(found for step, child in inner for found in _paths(child, (*path, step)))]


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from([None, "", "x", 0, [], {}, [None], {"x": None}]))
def test_manifests_of_any_shape_are_taken_or_left(data: st.DataObject, odd: Any) -> None:
    """An object with nonsense anywhere is upgraded, or left with a finding; it never breaks."""
    old = deepcopy(data.draw(st.sampled_from(OLD)))
    ways = [way for way in _paths(old) if way and way[0] not in ("apiVersion", "kind")]
    *way, last = data.draw(st.sampled_from(ways))
    inner: Any = old
    for step in way:
        inner = inner[step]
    inner[last] = odd
    flow = data.draw(st.sampled_from([None, True, False]))
    upgraded = _upgrade(yaml.safe_dump(old, sort_keys=False, default_flow_style=flow))
    assert upgraded.changed != bool(upgraded.unresolved)


def test_a_deep_nest_is_an_error_and_no_crash() -> None:
    """The composer in C overflows its stack on this; the nesting is looked at before."""
    with pytest.raises(InputError, match="nested too deeply"):
        upgrade_text("[" * 100_000, "a.yaml")
