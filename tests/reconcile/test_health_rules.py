"""Health rules of a repository: their file, their language, and that hostile ones are bounded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Manifest
from opslib.reconcile import health_cel
from opslib.reconcile.health import NO_RULES, SHIPPED, Health, HealthRules, assess
from opslib.reconcile.health_file import load_health_rules

HEAD = "apiVersion: opslib.dev/v1alpha1\nkind: HealthRules\nrules:\n"
SHIPPED_TEXT = files("opslib.reconcile").joinpath("health_shipped.yaml").read_text("utf-8")
P, C, F, U = Health.IN_PROGRESS, Health.CURRENT, Health.FAILED, Health.UNKNOWN

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "health.md"
EXAMPLE = DOCUMENTATION.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
"""The example of the documentation."""


def one(**expressions: str) -> HealthRules:
    """Return the rules of a file with one rule, for example.dev/Widget."""
    rows = "".join(f"    {name}: {json.dumps(text)}\n" for name, text in expressions.items())
    return load_health_rules(f"{HEAD}  - group: example.dev\n    kind: Widget\n{rows}", "h.yaml")


def widget(status: Any = None, **more: Any) -> Manifest:
    """Build a custom resource that has existed for years."""
    metadata = {"name": "w", "creationTimestamp": "2020-01-01T00:00:00Z", "generation": 1}
    live: Manifest = {"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": metadata}
    return {**live, "status": status, **more} if status is not None else {**live, **more}


def problems(text: str) -> list[str]:
    """Return what is wrong with a file, one line each."""
    with pytest.raises(OpslibError) as caught:
        load_health_rules(text, "health.yaml")
    assert caught.value.exit_code == 2
    found = caught.value.problems if isinstance(caught.value, Problems) else (caught.value,)
    return [f"{problem.where}: {problem.what}" for problem in found]


def queue(**status: Any) -> Manifest:
    """Build the custom resource of the documentation's example."""
    return {**widget(status, spec={"replicas": 3}), "kind": "Queue"}


@pytest.mark.parametrize(
    ("live", "health"),
    [
        (queue(), P),
        (queue(leader="a", inSync=2), P),
        (queue(leader="a", inSync=3), C),
        (queue(leader="a", inSync=3, shards=[{"state": "ok"}, {"state": "lost"}]), F),
        (queue(leader="a"), U),
        ({**widget({}), "apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}, C),
    ],
)
def test_the_documented_example(live: Manifest, health: Health) -> None:
    """The example file means what the documentation says, also for a built-in kind."""
    answer = assess(live, rules=load_health_rules(EXAMPLE, "health.yaml"))
    assert answer.health is health, answer


def test_answers_name_the_rule() -> None:
    """An answer by a rule says by which line of which file, and what the object says."""
    status = {"conditions": [{"type": "Ready", "status": "False", "message": "no disk"}], "x": 1}
    answer = assess(widget(status), rules=one(failed="status.x == 1"))
    assert answer.health is F
    assert answer.message == "Ready is False: no disk (failed by h.yaml:4)"


@pytest.mark.parametrize(
    ("rules", "health"),
    [
        (one(failed="status.x == 1"), F),
        (one(failed="status.x == 2"), C),
        (one(inProgress="status.x == 2"), C),
        (one(current="status.x == 2"), P),
        (one(current="status.x == 1", failed="status.x == 1"), F),
        (one(current="status.x == 1", failed="status.x == 1", inProgress="true"), P),
        (one(failed="status.y == 1", current="true"), U),
        (one(current="status.phase"), U),
        (one(current="size(status.x) == 1"), U),
        (one(current="self.kind == 'Widget' && metadata.name == 'w' && has(self.status)"), C),
    ],
)
def test_order_and_silence(rules: HealthRules, health: Health) -> None:
    """In progress, failed, current is the order; without ``current`` the general rules go on.

    What has no answer is Unknown, also when another expression would hold.
    """
    assert assess(widget({"x": 1, "phase": "Ready"}), rules=rules).health is health


FRAME: dict[str, tuple[Manifest, Health]] = {
    "degraded": (widget({"conditions": [{"type": "Degraded", "status": "True"}]}), F),
    "stalled": (widget({"conditions": [{"type": "Stalled", "status": "True"}]}), F),
    "reconciling": (widget({"conditions": [{"type": "Reconciling", "status": "True"}]}), P),
    "older generation": (widget({"observedGeneration": 0}), P),
    "older Ready": (
        widget({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 0}]}),
        P,
    ),
    "being deleted": (
        widget({}, metadata={"name": "w", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
        Health.TERMINATING,
    ),
}


@pytest.mark.parametrize("name", FRAME)
def test_no_rule_breaks_the_frame(name: str) -> None:
    """A rule that says current to everything cannot make these current."""
    live, health = FRAME[name]
    assert assess(live, rules=one(current="true")).health is health


def test_what_is_wrong_is_named_in_one_go() -> None:
    """Each mistake is told with its line, its kind and its field."""
    text = f"""{HEAD}  - group: example.dev
    kind: Widget
    current: status.phase ==
    failed: status.matches('(a+)+')
  - group: example.dev
    kind: Widget
    curent: "true"
  - kind: Widget
    current: "true"
  - group: ""
    kind: Secret
    current: has(data.password)
  - group: example.dev
    kind: Other
    source: see there
    inProgress: []
    current: "1"
"""
    found = problems(text)
    wanted = [
        "health.yaml:6: current of example.dev/Widget",
        "health.yaml:7: failed of example.dev/Widget: there is no function 'matches'",
        "health.yaml:10: a health rule has no key 'curent'",
        "health.yaml:8: the rule for example.dev/Widget has no expression",
        "health.yaml:11: a health rule does not say for which kind it is",
        "health.yaml:13: a Secret has no health",
        "health.yaml:18: source is not an address",
        "health.yaml:19: inProgress of example.dev/Other is not an expression",
        "health.yaml:20: current of example.dev/Other: it gives int, not true or false",
    ]
    missing = [w for w in wanted if not any(w in line for line in found)]
    assert not missing, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid YAML"),
        ("", "exactly one document"),
        ("[]", "is not a mapping"),
        ("apiVersion: v1\nkind: ConfigMap\n", "kind is not HealthRules"),
        (HEAD + "  - {group: a.b, kind: C, current: 'true'}\n" * 2, "a second rule for a.b/C"),
        (HEAD + "  - {group: a.b, kind: C, current: 'true'}\n" * 501, "there are 501 rules"),
        (HEAD + "#" * 300_000, "characters"),
        ("[" * 20_000, "health"),
        (HEAD.replace("rules:", "rules: 3"), "rules is not a list"),
    ],
)
def test_bad_files(text: str, words: str) -> None:
    """A file that is no file of rules is one clear error, and exit code 2."""
    assert any(words in line for line in problems(text))


LIST = "[" + "1, " * 90 + "1]"
HOSTILE = {
    "too long": "true || " * 200 + "true",
    "too deep": "self.all(a, self.all(b, self.all(c, self.all(d, true))))",
    "a list that grows": "['a'].map(a, a + a).map(a, a + a) == []",
    "a regular expression": "'a'.matches('(a{900}){900}')",
    "a raw text": "r'a' == 'a'",
    "a bytes text": "b'a' == b'a'",
    "a text of three quotes": "'''a''' == 'a'",
    "an escape": "'\\n' == 'a'",
    "a comment that hides": "true // '\n.all(x, true)",
    "a map": "{'a': 1}.all(k, true)",
    "parentheses": "(" * 400 + "true" + ")" * 400,
    "lists": "[" * 400 + "]" * 400 + " == []",
    "another name": "__import__ == 1",
    "a name out of its macro": "[1].all(x, true) && y == 1",
    "a function of ours": "open('/etc/passwd') == 1",
    "a method of strings": "'a'.format([1]) == 'a'",
    "nothing": "   ",
    "long lists of its own": f"{LIST}.all(a, {LIST}.all(b, {LIST}.all(c, true)))",
    "a number": "1 + 1",
    "a text and a number": "'a' + 1 == 2",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_expressions_are_refused_when_read(name: str) -> None:
    """What could run long, grow, or mean something else than it seems is refused, quickly."""
    before = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        health_cel.read(HOSTILE[name])
    assert time.process_time() - before < 5  # the first one imports the library


def test_large_objects_are_not_evaluated() -> None:
    """Nested macros on a long list have no answer at once, where they would take hours."""
    rules = one(current="status.l.all(a, status.l.all(b, status.l.all(c, c == c)))")
    before = time.process_time()
    answer = assess(widget({"l": [1] * 20_000}), rules=rules)
    assert time.process_time() - before < 1
    assert answer.health is U
    assert "too large" in answer.message


def test_the_most_that_is_evaluated_ends_in_time() -> None:
    """The largest object that three nested macros may see is judged within seconds."""
    rules = one(current="status.l.all(a, status.l.all(b, status.l.all(c, a + b + c < 9)))")
    length = 62  # 62 ** 3 turns on 70 values is just below the limit
    before = time.monotonic()
    answer = assess(widget({"l": [1] * length}), rules=rules)
    took = time.monotonic() - before
    print(f"\n{length**3} turns of three nested macros: {took:.2f} s")
    assert answer.health is C
    assert took < 20
    assert assess(widget({"l": [1] * 70}), rules=rules).health is U


TOKENS = st.sampled_from(
    [
        *("self", "status", "spec", "true", "null", "x", "in", "1", "0.5", "'a'", '"b"'),
        *("(", ")", "[", "]", ".", ",", "&&", "||", "!", "==", "<", "+", "-", "/", "%", "?", ":"),
        *("all", "exists", "filter", "has", "size", "string", "timestamp", "conditions", "r", "\n"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(tokens=st.lists(TOKENS, min_size=1, max_size=14), gap=st.sampled_from(["", " "]))
def test_any_text_is_read_or_refused(tokens: list[str], gap: str) -> None:
    """Any text is either refused by a ValueError, or gives an assessment, and never raises else."""
    text = gap.join(tokens)
    try:
        health_cel.read(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017  # both ways are right
        return
    live = widget({"conditions": [{"type": "Ready", "status": "True"}]})
    assert isinstance(assess(live, rules=one(failed=text)).health, Health)


def test_values_of_fields_are_not_needed_to_explain() -> None:
    """An expression that fails says which field is missing, not what the others hold."""
    answer = assess(widget({"token": "s3cr3t"}), rules=one(current="status.token.x == 1"))
    assert answer.health is U
    assert "s3cr3t" not in answer.message


def test_shipped_rules_are_sound() -> None:
    """Each rule of the package is right CEL, of a custom kind, and says where it is documented."""
    rules = load_health_rules(SHIPPED_TEXT, "health_shipped.yaml").by_kind
    print(f"\n{len(rules)} rules are shipped, for {len({g for g, _ in rules})} groups")
    assert len(rules) > 30
    for (group, kind), rule in rules.items():
        assert rule.source.startswith("https://"), (group, kind)
        assert "." in group


def test_own_rules_come_before_shipped_ones() -> None:
    """A repository's rule replaces the package's for its kind, and leaves the others."""
    analysis = {"apiVersion": "metrics.keptn.sh/v1", "kind": "Analysis", "metadata": {"name": "a"}}
    live = {**analysis, "status": {"state": "Completed", "pass": False}}
    assert assess(live, rules=NO_RULES).health is C
    assert assess(live).health is F
    assert assess(live, rules=one(current="true")).health is F
    text = f"{HEAD}  - {{group: metrics.keptn.sh, kind: Analysis, current: 'true'}}\n"
    assert assess(live, rules=load_health_rules(text, "h.yaml")).health is C


def test_the_library_is_loaded_by_kinds_with_rules_alone() -> None:
    """Built-in kinds, kinds without a rule and ``--help`` do not import CEL."""
    program = """
import sys
import opslib.reconcile.session
import opslib.cli.main
from opslib.reconcile.health import assess
def live(api, kind):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "x"}, "status": {}}
for api, kind in [("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("v1", "ServiceAccount"),
                  ("rbac.authorization.k8s.io/v1", "Role"), ("example.dev/v1", "Widget")]:
    assess(live(api, kind))
before = "cel" in sys.modules
assess(live("cert-manager.io/v1", "Certificate"))
print(before, "cel" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True"]


def test_default_is_shipped() -> None:
    """Without a file the package's rules stand behind the general ones."""
    assert SHIPPED.by_kind == {}
    live = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate"}
    old = {"metadata": {"name": "c", "creationTimestamp": "2020-01-01T00:00:00Z"}}
    assert assess({**live, **old}).health is P
    assert assess({**live, **old}, rules=NO_RULES).health is C
    assert isinstance(InputError("x"), OpslibError)
