"""Baselines in Git: what extends what, who wins, and each mistake by file and line."""

from __future__ import annotations

import re
import time

import pytest

from opslib.core.errors import InputError
from opslib.node.baseline import Baseline
from opslib.node.documents import read_baselines
from opslib.node.inherit import fitting, resolve
from opslib.node.repo import from_texts, shipped


def _doc(name: str, rules: str = "", extends: str = "", more: str = "") -> str:
    head = f"apiVersion: opslib.dev/v1\nkind: NodeBaseline\nmetadata: {{name: {name}}}\nspec:\n"
    return head + f"  extends: [{extends}]\n{more}  rules:\n{rules or '    []'}\n"


def _rule(key: str, op: str, value: str = "", more: str = "") -> str:
    shown = f", value: {value}" if value else ""
    return f"    - {{key: {key}, op: {op}{shown}, why: because, source: here{more}}}\n"


def _told(*files: tuple[str, str]) -> str:
    with pytest.raises(InputError) as caught:
        from_texts(dict(files))
    return str(caught.value)


def _known(**files: str) -> dict[str, Baseline]:
    return {**shipped(), **read_baselines({f"{k}.yaml": v for k, v in files.items()})}


def test_the_kits_own_cover_the_35_settings_with_their_sources() -> None:
    """Each rule has a source that is an address, a reason, an owner; all resolve together."""
    known = shipped()
    rules = [rule for one in known.values() for rule in one.rules]
    assert set(known) == {"opslib/kubelet", "opslib/kubeadm", "opslib/host"}
    assert all(re.fullmatch(r"https://\S+", rule.source) for rule in rules)
    assert all(rule.why and rule.owner for rule in rules)
    keys = " ".join(rule.key for rule in rules)
    wanted = [
        "vm.overcommit_memory",
        "vm.panic_on_oom",
        "kernel.panic",
        "kernel.panic_on_oops",
        "root_maxkeys",
        "root_maxbytes",
        "net.ipv4.ip_forward",
        "bridge-nf-call-iptables",
        "module/overlay",
        "rp_filter",
        "nf_conntrack_max",
        "timeout_established",
        "max_user_instances",
        "max_user_watches",
        "max_map_count",
        "fs.file-max",
        "fs.aio-max-nr",
        "kernel.pid_max",
        "somaxconn",
        "netdev_max_backlog",
        "gc_thresh3",
        "tcp_retries2",
        "ip_local_port_range",
        "swap/count",
        "vm.dirty_ratio",
        "thp/enabled",
        "nr_hugepages",
        "cpu/governor",
        "clock/source",
        "nvme_core/io_timeout",
        "scheduler",
        "softlockup_panic",
        "numa_balancing",
        "cmdline/mitigations",
        "maxParallelImagePulls",
    ]
    assert len(wanted) == 35
    assert [one for one in wanted if one not in keys] == []
    print(
        f"{len(rules)} rules, {len(resolve(['opslib/kubeadm', 'opslib/host'], known).rules)} hold"
    )


def test_the_nearest_wins_in_any_order() -> None:
    """A child's key replaces the parent's, also where the parent is reached by another way."""
    known = _known(
        a=_doc("a", _rule("sysctl/vm.swappiness", "eq", "1")),
        b=_doc("b", _rule("sysctl/vm.swappiness", "eq", "2"), "a"),
        c=_doc("c", _rule("sysctl/kernel.panic", "eq", "1"), "a"),
        d=_doc("d", "", "c, b"),
        e=_doc("e", "", "b, c", "  without: [{key: sysctl/kernel.panic, why: not here}]\n"),
    )
    for name in ("d", "e"):
        found = {rule.key: rule.wanted for rule in resolve([name], known).rules}
        assert found["sysctl/vm.swappiness"] == ("2",)
        assert ("sysctl/kernel.panic" in found) == (name == "d")


def test_demands_that_agree_hold_together() -> None:
    """Two parents: the same demand counts once, two bounds both; a conflict names both lines."""
    known = _known(
        a=_doc("a", _rule("sysctl/fs.file-max", "ge", "100") + _rule("sysctl/vm.x", "eq", "1")),
        b=_doc("b", _rule("sysctl/fs.file-max", "le", "200") + _rule("sysctl/vm.x", "eq", "01")),
        c=_doc("c", _rule("sysctl/fs.file-max", "ge", "300")),
    )
    assert len(resolve(["a", "b"], known).rules) == 4
    with pytest.raises(
        InputError,
        match=r"fs.file-max cannot be both: b says ≤ 200 \(b.yaml:7\), c says ≥ 300",
    ):
        resolve(["a", "b", "c"], known)


def test_circles_and_strangers_are_named_with_their_line() -> None:
    """A circle is shown whole; an unknown parent with what was meant; a key that nothing has."""
    known = _known(a=_doc("a", "", "b"), b=_doc("b", "", "c"), c=_doc("c", "", "a"))
    with pytest.raises(InputError, match="a extends b extends c extends a") as caught:
        resolve(["a"], known)
    assert caught.value.where == "c.yaml:5"
    with pytest.raises(InputError, match="no baseline 'opslib/kublet'") as caught:
        resolve(["a"], _known(a=_doc("a", "", "opslib/kublet")))
    assert (caught.value.where, caught.value.hint) == ("a.yaml:5", "did you mean 'opslib/kubelet'?")
    more = "  without: [{key: sysctl/kernel.panics, why: x}]\n"
    slip = _known(a=_doc("a", "", "opslib/kubelet", more))
    with pytest.raises(InputError, match="nothing above has it") as caught:
        resolve(["a"], slip)
    assert "sysctl/kernel.panic" in str(caught.value.hint)


MISTAKES = [
    (_rule("vm.swappiness", "eq", "1"), "a.yaml:7", "did you mean sysctl/vm.swappiness?"),
    (_rule("sysctl/vm.swappiness", "equals", "1"), "a.yaml:7", "there is no operator 'equals'"),
    (_rule("sysctl/vm.swappiness", "ge", "many"), "a.yaml:7", "no number"),
    (_rule("sysctl/vm.swappiness", "ge"), "a.yaml:7", "ge needs a value"),
    (_rule("module/overlay", "exists", "1"), "a.yaml:7", "exists takes no value"),
    (_rule("sysctl/vm.swappiness", "eq", "[1, 2]"), "a.yaml:7", "in takes a list"),
    (_rule("sysctl/vm.swappiness", "eq", "{a: 1}"), "a.yaml:7", "a text or a number"),
    (_rule("sysctl/vm.swappiness", "eq", "~"), "a.yaml:7", "the value is empty"),
    (_rule("sysctl/vm.swappiness", "regex", '"(a"'), "a.yaml:7", "no pattern"),
    (_rule("sysctl/vm.swappiness", "eq", "1", ", severity: bad"), "a.yaml:7", "no severity 'bad'"),
    (_rule("sysctl/vm.swappiness", "eq", "1", ", since: soon"), "a.yaml:7", "since is no version"),
    (_rule("sysctl/vm.swappiness", "eq", "1", ", onwer: me"), "a.yaml:7", "did you mean 'owner'?"),
    ("    - {key: sysctl/vm.swappiness, op: eq, value: 1}\n", "a.yaml:7", "no why and no source"),
    (_rule("sysctl/vm.x", "eq", "1") * 2, "a.yaml:8", "is there twice"),
    (
        _rule("sysctl/vm.x", "eq", "1") + _rule("sysctl/vm.x", "ge", "2"),
        "a.yaml:8",
        "cannot be both",
    ),
    (_rule("sysctl/" + "*a" * 20, "eq", "1"), "a.yaml:7", "stars"),
    ("    - [\n", "a.yaml:9", "not YAML"),
    ("    - &a [*a]\n", "a.yaml:7", "not a mapping"),
]


@pytest.mark.parametrize(("rules", "where", "what"), MISTAKES)
def test_each_mistake_is_told_by_file_and_line(rules: str, where: str, what: str) -> None:
    """What is wrong, where, and what was expected or meant."""
    told = _told(("a.yaml", _doc("a", rules)))
    assert where in told
    assert what in told


def test_all_mistakes_are_told_at_once() -> None:
    """Of several files, in one go: a person mends them together."""
    told = _told(
        ("a.yaml", _doc("a", _rule("x", "eq", "1"))),
        ("b.yaml", _doc("b", _rule("sysctl/a", "eqq", "1"))),
        ("c.yaml", _doc("opslib/c", _rule("sysctl/a", "eq", "1"))),
        ("d.yaml", _doc("d", _rule("sysctl/a", "eq", "1")).replace("dev/v1", "dev/v2")),
        ("e.yaml", _doc("f", _rule("sysctl/a", "eq", "1"))),
        ("f.yaml", _doc("f", _rule("sysctl/a", "eq", "1"))),
        ("n.json", '{"kind": "NodeSnapshot"}'),
    )
    for part in ("a.yaml:7", "b.yaml:7", "c.yaml:3", "d.yaml:1", "f.yaml:1", "n.json"):
        assert part in told


def test_hostile_documents_are_bounded() -> None:
    """Deep nests, bombs of aliases, huge files and long lists end soon, each with an error."""
    begun = time.process_time()
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 30))
    head = "apiVersion: opslib.dev/v1\nkind: NodeBaseline\nmetadata: {name: a}\n"
    for text in (
        head + "spec: " + "[" * 50_000,
        head + "spec: " + "{a: " * 5_000,
        head + bomb + "spec: {rules: *a29}\n",
        head + "spec:\n  rules:\n" + _rule("sysctl/a", "eq", "1") * 20_000,
        _doc("a", "".join(_rule(f"sysctl/a{n}", "eq", "1") for n in range(6_000))),
    ):
        assert _told(("a.yaml", text))
    assert time.process_time() - begun < 20


def test_a_baseline_selects_its_nodes() -> None:
    """By node and pool; without any selection the one that no other extends holds."""
    rule = _rule("sysctl/vm.x", "eq", "1")
    known = _known(
        a=_doc("a", rule, more="  select: {pool: cp*}\n"),
        b=_doc("b", rule, more="  select: {node: '*-gpu', pool: w}\n"),
        c=_doc("c", rule),
    )
    assert fitting(known, "n1", "cp-1") == ["a"]
    assert fitting(known, "x-gpu", "w") == ["b"]
    assert fitting(known, "x", "w") == ["c"]
    assert fitting(_known(c=_doc("c", rule), d=_doc("d", rule, "c")), "x", "") == ["d"]
