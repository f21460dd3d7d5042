"""Planted drifts are found, each once, and nothing else; who changed it and what to do is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import opslib.node
from opslib.cli.main import run
from opslib.node.check import check_node
from opslib.node.inherit import resolve
from opslib.node.repo import declared_in
from opslib.node.review import Asked, NodeReview, review
from opslib.node.snapshots import read_snapshot, this_machine
from opslib.source.mirror import Mirror, Source

from .conftest import BASELINE, Git, Machine
from .planted import PLANTED

SCHEMAS = Path(opslib.node.__file__).parent / "schemas"


def _review(machine: Machine, git: Git, **more: Any) -> NodeReview:
    asked = {"repo": str(git.folder), "root": str(machine.root), **more}
    return review(Asked(**asked))


@pytest.fixture
def kept(machine: Machine, git: Git) -> Git:
    """Return a repository with the baseline and the machine's snapshot."""
    text = BASELINE.replace("absent, why", "eq, value: none, why")
    git.commit("Baseline", nodes__base_DOT_yaml=text)
    git.commit("Snapshot", nodes__worker_1_DOT_json=machine.snapshot())
    return git


def test_nothing_differs_on_an_identical_second_snapshot(machine: Machine, kept: Git) -> None:
    """A machine as declared and as it was: no difference, and what is a folder's is said."""
    found = _review(machine, kept)
    assert [d.key for d in found.checks[0].differences] == []
    assert found.checks[0].checked > 60
    assert found.headline == "1 node as declared"


def test_each_planted_drift_is_found_alone(tmp_path: Path, kept: Git) -> None:
    """One drift at a time: its key is named in its plane, with what to do, and few beside it."""
    mirror = Mirror.open(Source(str(kept.folder)))
    declared = declared_in(mirror, mirror.fetch())
    rules = resolve(["workers"], declared.baselines)
    beside = 0
    for number, (key, plane, plant) in enumerate(PLANTED):
        machine = Machine(tmp_path / f"m{number}")
        plant(machine)
        own = read_snapshot(machine.snapshot(), "")
        checked = check_node(own, rules, before=declared.snapshots["worker-1"])
        found = {d.key: d for d in checked.differences}
        assert key in found, (key, list(found))
        assert plane in found[key].planes, (key, found[key])
        assert found[key].todo
        beside += len(found) - 1
    print(f"{len(PLANTED)} planted, all found; {beside} told beside them")
    assert beside <= 8  # a swap device beside its count, other fields of one file


def test_all_planted_at_once(machine: Machine, kept: Git) -> None:
    """All of them on one machine: every key, once."""
    for _, _, plant in PLANTED:
        plant(machine)
    keys = [d.key for d in _review(machine, kept).checks[0].differences]
    assert len(keys) == len(set(keys))
    assert {key for key, _, _ in PLANTED} <= set(keys)


def test_the_commits_of_both_sides_are_named(machine: Machine, git: Git) -> None:
    """The rule's last change, and the snapshot that brought the value, with the one before."""
    git.commit("Baseline", nodes__base_DOT_yaml=BASELINE.replace("262144", "65530"))
    git.commit("Snapshot", nodes__worker_1_DOT_json=machine.snapshot())
    higher = git.commit("Search needs more", nodes__base_DOT_yaml=BASELINE)
    machine.write("proc/sys/vm/max_map_count", "65530\n")
    lowered = git.commit("Snapshot of August", nodes__worker_1_DOT_json=machine.snapshot())
    machine.write("etc/os-release", "ID=debian\n")
    git.commit("Snapshot of September", nodes__worker_1_DOT_json=machine.snapshot())
    found = _review(machine, git, nodes=("worker-1",)).checks[0]
    one = {d.key: d for d in found.differences}["sysctl/vm.max_map_count"]
    assert one.declared is not None
    assert (one.declared.commit, one.declared.subject) == (higher, "Search needs more")
    assert one.rule == "nodes/base.yaml:9"
    assert one.changed is not None
    assert (one.changed.commit, one.changed.before) == (lowered, "262144")
    assert one.severity == "error"
    assert "/etc/sysctl.d/90-k8s.conf:2 is right" in one.todo
    said = git.run("log", "--format=%s", '-Ssysctl/vm.max_map_count": "65530"', "--", "nodes")
    assert said == "Snapshot of August"


def test_what_is_gone_and_what_nobody_committed(machine: Machine, kept: Git) -> None:
    """A key that left the snapshot names the commit; a value of today the last one before it."""
    machine.write("proc/modules", "overlay 1 0 - Live 0x0\nnf_conntrack 1 1 - Live 0x0\n")
    gone = kept.commit("No bridge", nodes__worker_1_DOT_json=machine.snapshot())
    machine.write("var/lib/x", "")
    machine.write("etc/modules-load.d/more.conf", "overlay\n# more\n")
    last = kept.commit("Another day", nodes__worker_1_DOT_json=machine.snapshot(pool="work"))
    machine.write("proc/sys/kernel/panic", "0\n")
    by_key = {d.key: d.changed for d in _review(machine, kept).checks[0].differences}
    module, panic = by_key["module/br_netfilter"], by_key["sysctl/kernel.panic"]
    assert module is not None
    assert (module.commit, module.before, module.after) == (gone, "loaded", False)
    assert panic is not None
    assert (panic.commit, panic.before, panic.after) == (last, "10", True)


def test_the_pool_outvotes_a_node(tmp_path: Path, git: Git) -> None:
    """Four of five have it: the fifth is told, also of what no rule names; an even split is not."""
    git.commit("Baseline", base_DOT_yaml=BASELINE.replace("absent, why", "eq, value: none, why"))
    for number in range(5):
        machine = Machine(tmp_path / str(number))
        machine.write("proc/sys/kernel/threads-max", f"{127123 + number}\n")
        machine.write("proc/sys/kernel/hostname", f"worker-{number}\n")
        machine.write("proc/sys/net/ipv4/tcp_fin_timeout", f"{60 if number < 4 else 15}\n")
        machine.write("proc/sys/net/ipv4/tcp_sack", f"{number % 2 if number < 4 else 2}\n")
        git.commit(f"{number}", **{f"n{number}_DOT_json": machine.snapshot()})
    found = _review(machine, git, nodes=("*",))
    told = {c.name: [d.key for d in c.differences] for c in found.checks}
    assert told["worker-4"] == ["sysctl/net.ipv4.tcp_fin_timeout"]
    assert [d for name, keys in told.items() if name != "worker-4" for d in keys] == []
    (one,) = next(c for c in found.checks if c.name == "worker-4").differences
    assert one.planes == ("peers",)
    assert one.peers == "60 on 4 of 5"


def test_unreadable_is_never_ok(machine: Machine, kept: Git) -> None:
    """What could not be read is named as unknown, in the headline too, and is no difference."""
    machine.remove("proc/modules")
    found = _review(machine, kept, against=None)
    check = found.checks[0]
    assert {u.key for u in check.unknown} >= {"module/", "module/overlay", "module/br_netfilter"}
    assert check.verdict == "clean but for what could not be read"
    assert "could not be read" in found.headline


def test_since_and_optional_and_the_key_itself(machine: Machine, git: Git) -> None:
    """A rule of a later kubelet does not hold; a named key is taken out of a pattern's reach."""
    git.commit(
        "Baseline",
        b_DOT_yaml="""\
apiVersion: opslib.dev/v1
kind: NodeBaseline
metadata: {name: all}
spec:
  rules:
    - {key: sysctl/kernel.panic, op: eq, value: 99, since: 1.34, why: a, source: b}
    - {key: sysctl/vm.swappiness, op: eq, value: 99, since: kernel 6.2, why: a, source: b}
    - {key: sysctl/vm.nothing, op: eq, value: 1, optional: true, why: a, source: b}
    - {key: "sysctl/net.ipv4.conf.*.rp_filter", op: eq, value: 1, why: a, source: b}
    - {key: sysctl/net/ipv4/conf/eth0/rp_filter, op: eq, value: 0, why: a, source: b}
    - {key: "block/nvme*/scheduler", op: eq, value: none, why: a, source: b}
""",
    )
    keys = {d.key for d in _review(machine, git).checks[0].differences}
    assert keys == {"sysctl/net.ipv4.conf.all.rp_filter", "sysctl/net.ipv4.conf.lxc*.rp_filter"}


def test_exit_codes_and_the_schema(
    machine: Machine, kept: Git, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 when nothing differs, 4 on drift, 2 on bad input; --json fits its published schema."""

    def opslib(*words: str) -> tuple[int, str, str]:
        code = run(["node", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    repo = ["--repo", str(kept.folder)]
    where = [*repo, "--root", str(machine.root), "--json"]
    code, out, _ = opslib("check", *where)
    assert (code, json.loads(out)["verdict"]) == (0, "clean")
    for _, _, plant in PLANTED:
        plant(machine)
    code, out, _ = opslib("check", *where)
    assert code == 4
    document = json.loads(out)
    jsonschema.validate(document, json.loads((SCHEMAS / "check.json").read_text()))
    assert len(document["nodes"][0]["differences"]) >= len(PLANTED)
    taken = tmp_path / "taken.json"
    assert opslib("facts", "--root", str(machine.root), "--out", str(taken))[0] == 0
    jsonschema.validate(
        json.loads(taken.read_text()), json.loads((SCHEMAS / "snapshot.json").read_text())
    )
    code, out, _ = opslib("check", str(taken), *repo, "--pool", "workers")
    assert code == 4
    assert "sysctl/vm.max_map_count" in out
    taken.write_text(taken.read_text()[:3000])
    code, _, err = opslib("check", str(taken), *repo)
    assert code == 2
    assert f"{taken}:" in err
    assert opslib("check", "--root", str(tmp_path / "none"))[0] == 2
    code, _, err = opslib("check", *repo, "--node", "worker-9")
    assert (code, "worker-9" in err) == (2, True)


def test_rules_on_the_real_machine(git: Git) -> None:
    """Demands that are this machine's own values hold; of the same demands turned round, none."""
    here = this_machine()
    names = [k for k, v in here.running.items() if k.startswith("sysctl/") and v.isdigit()][:300]
    rows = [(key, here.running[key]) for key in names]

    def document(op: str) -> str:
        rules = "".join(
            f"    - {{key: '{key}', op: {op}, value: '{value}', why: a, source: b}}\n"
            for key, value in rows
        )
        return BASELINE[: BASELINE.index("  extends")] + f"  rules:\n{rules}"

    git.commit("As it is", b_DOT_yaml=document("eq"))
    asked = Asked(repo=str(git.folder))
    bad = {d.key for d in review(asked).checks[0].differences if "running" in d.planes}
    git.commit("The opposite", b_DOT_yaml=document("ne"))
    found = {d.key for d in review(asked).checks[0].differences if "running" in d.planes}
    print(f"{len(names)} real keys: {len(bad)} differ as they are, {len(found)} when turned round")
    assert bad == set()
    assert found == set(names)


def test_without_a_repository(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of Git the kit's own baselines hold, and that is said."""
    monkeypatch.chdir(tmp_path)
    found = review(Asked(root=str(machine.root)))
    assert found.checks[0].baselines == ("opslib/host", "opslib/kubeadm", "opslib/kubelet")
    assert "no repository" in found.warnings[0]
