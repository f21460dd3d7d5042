"""What is proven unchanged from the list is unchanged: the server's dry run is the judge."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslib.kube.apply import server_side_apply
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.kube.errors import ApiError
from opslib.reconcile.diff import comparable, differences
from opslib.reconcile.proof import unchanged
from opslib.reconcile.quantity import canonical

ME, OTHER = "opslib-proof", "somebody"

NAMES = st.sampled_from(["a", "b", "c.d/e", "f-g"])
TEXT = st.sampled_from(["", "x", "1", "true", "1000m", "ä\n"])
PAIRS = st.dictionaries(NAMES, TEXT, max_size=3)
CPU = st.sampled_from(["1000m", "1", "0.5", "500m", "1500m", "2", "0.1", "100m"])
MEMORY = st.sampled_from(["1024Mi", "1Gi", "1.5Gi", "128M", "128Mi", "134217728", "0.5Gi"])
AMOUNTS = st.fixed_dictionaries({}, optional={"cpu": CPU, "memory": MEMORY})


def _unique(item: st.SearchStrategy[dict[str, Any]], *keys: str) -> st.SearchStrategy[Any]:
    by = lambda one: tuple(one.get(key, "TCP") for key in keys)  # noqa: E731  # a key function
    return st.lists(item, max_size=3, unique_by=by)


ENV = _unique(
    st.fixed_dictionaries({"name": st.sampled_from("ABC")}, optional={"value": TEXT}), "name"
)
PORTS = _unique(
    st.fixed_dictionaries(
        {"containerPort": st.sampled_from([80, 8080, 53])},
        optional={"protocol": st.sampled_from(["TCP", "UDP"])},
    ),
    "containerPort",
    "protocol",
)
TOLERATIONS = st.lists(
    st.fixed_dictionaries({"key": NAMES, "operator": st.just("Exists")}), max_size=2
)
CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from(["main", "side"]), "image": st.sampled_from(["r.example/a:1", "b:2"])},
    optional={
        "env": ENV,
        "ports": PORTS,
        "args": st.lists(TEXT, max_size=3),
        "resources": st.fixed_dictionaries({}, optional={"requests": AMOUNTS}),
        "securityContext": st.fixed_dictionaries({}, optional={"runAsNonRoot": st.booleans()}),
    },
)
POD = st.fixed_dictionaries(
    {"containers": st.lists(CONTAINER, min_size=1, max_size=2, unique_by=lambda one: one["name"])},
    optional={
        "nodeSelector": PAIRS,
        "tolerations": TOLERATIONS,
        "terminationGracePeriodSeconds": st.integers(0, 60),
        "volumes": _unique(
            st.fixed_dictionaries({"name": st.sampled_from(["v", "w"]), "emptyDir": st.just({})}),
            "name",
        ),
    },
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "labels": PAIRS.filter(lambda one: all("\n" not in v and v != "ä\n" for v in one.values())),
        "annotations": PAIRS,
        "finalizers": st.lists(
            st.sampled_from(["example.com/a", "example.com/b"]), unique=True, min_size=1, max_size=2
        ),
    },
)


def _deployment(metadata: dict[str, Any], pod: dict[str, Any], replicas: int | None) -> Any:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": pod},
        "paused": True,
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


DEPLOYMENTS = st.builds(_deployment, METADATA, POD, st.none() | st.integers(0, 2))
CONFIG = st.builds(
    lambda metadata, data: {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": data,
    },
    METADATA,
    st.dictionaries(st.sampled_from(["a", "b.c", "requests"]), TEXT, max_size=3),
)
SERVICES = st.builds(
    lambda metadata, ports, selector: {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": "None", "ports": ports, "selector": selector},
    },
    METADATA,
    _unique(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["p", "q", "r"]), "port": st.sampled_from([80, 81, 82])},
            optional={"protocol": st.sampled_from(["TCP", "UDP"]), "targetPort": st.just(8080)},
        ),
        "name",
    ).filter(
        lambda ports: (
            len({(p["port"], p.get("protocol", "TCP")) for p in ports}) == len(ports) and ports
        )
    ),
    PAIRS.filter(lambda one: all("\n" not in v for v in one.values())),
)
POLICIES = st.builds(
    lambda metadata, selector, ports: {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": selector},
            "ingress": [{"ports": [{"port": p, "protocol": "TCP"} for p in ports]}],
            "policyTypes": ["Ingress"],
        },
    },
    METADATA,
    st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2),
    st.lists(st.sampled_from([80, "http"]), min_size=1, max_size=2),
)
QUOTAS = st.builds(
    lambda metadata, hard: {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata,
        "spec": {"hard": {f"requests.{k}": v for k, v in hard.items()}},
    },
    METADATA,
    AMOUNTS,
)
OBJECTS = st.one_of(DEPLOYMENTS, DEPLOYMENTS, CONFIG, SERVICES, POLICIES, QUOTAS)


class Judged:
    """Counts over all examples of a property."""

    proven = unproven = refused = same = 0


@pytest.fixture
def kinds(server: Cluster) -> Discovery:
    """Return what the server serves."""
    return Discovery(server)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=OBJECTS, data=st.data())
def test_never_unchanged_where_a_dry_run_says_changed(
    server: Cluster, kinds: Discovery, namespace: str, first: dict[str, Any], data: st.DataObject
) -> None:
    """Whatever was applied, edited by others and declared anew: proven means really the same."""
    strategy = {
        "Deployment": DEPLOYMENTS,
        "ConfigMap": CONFIG,
        "Service": SERVICES,
        "NetworkPolicy": POLICIES,
        "ResourceQuota": QUOTAS,
    }[first["kind"]]
    name = f"p{uuid.uuid4().hex[:10]}"
    kind = kinds.of(first, "test")

    def named(body: dict[str, Any]) -> dict[str, Any]:
        metadata = {**body["metadata"], "name": name, "namespace": namespace}
        return {**copy.deepcopy(body), "metadata": metadata}

    try:
        live = server_side_apply(server, kind, named(first), manager=ME)
    except ApiError:
        Judged.refused += 1
        return
    edited = data.draw(st.none() | strategy, label="somebody's edit")
    if edited:
        try:
            live = server_side_apply(server, kind, named(edited), manager=OTHER, force=True)
        except ApiError:
            Judged.refused += 1
    wanted = named(data.draw(st.just(first) | strategy, label="declared now"))
    proven = unchanged(live, wanted, ME)
    try:
        after = server_side_apply(server, kind, wanted, manager=ME, force=True, dry_run=True)
    except ApiError:
        assert not proven, "a dry run refuses what was called unchanged"
        return
    changes = list(differences(comparable(live), comparable(after)))
    owners = [_entry(one) for one in (live, after)]
    really = not changes and owners[0] == owners[1]
    assert not proven or really, (changes, owners)
    Judged.proven += proven
    Judged.same += really
    Judged.unproven += really and not proven


def _entry(manifest: dict[str, Any]) -> list[Any]:
    entries = manifest["metadata"]["managedFields"]
    return [one["fieldsV1"] for one in entries if one["manager"] == ME]


def test_most_of_what_is_unchanged_is_proven() -> None:
    """The proof is of use: of the examples above that were the same, most needed no dry run."""
    assert Judged.same > 30
    print(
        f"{Judged.proven} of {Judged.same} unchanged objects proven from the list, "
        f"{Judged.refused} examples refused by the server"
    )
    assert Judged.proven > 0.6 * Judged.same


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    number=st.decimals(min_value=0, max_value=10**9, places=3).map(
        lambda d: format(d.normalize(), "f")
    ),
    suffix=st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "u"]),
)
def test_quantities_have_the_servers_form(
    server: Cluster, kinds: Discovery, namespace: str, number: str, suffix: str
) -> None:
    """The normal form is the server's own, or not decided."""
    text = number + suffix
    expected = canonical(text)
    if expected is None:
        return
    body = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quantity", "namespace": namespace},
        "spec": {"hard": {"requests.memory": text}},
    }
    try:
        after = server_side_apply(server, kinds.of(body, "test"), body, manager=ME, dry_run=True)
    except ApiError:
        return
    assert after["spec"]["hard"]["requests.memory"] == expected
