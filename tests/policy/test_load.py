"""Policy files: what is read from them, and how mistakes in them are told."""

from __future__ import annotations

from datetime import date

import pytest

from opslib.core.errors import InputError, Problems
from opslib.core.model import Origin, ResourceKey
from opslib.policy import DEFAULT, RULES, Exemption, Target, load_policy

HEAD = "apiVersion: opslib.dev/v1alpha1\nkind: Policy\n"
EXCEPTION = """\
exceptions:
- rule: limits
  target: {kind: Deployment, namespace: prod*, name: "pay-?"}
  reason: until the next release
  expires: 2027-03-31
"""


def test_an_empty_policy_is_the_default() -> None:
    """What a policy file leaves out keeps its default."""
    policy = load_policy(HEAD, "p.yaml")
    assert policy.severities == DEFAULT.severities
    assert policy.exceptions == ()


def test_severities_are_set_rule_by_rule() -> None:
    """A file changes the severity of the rules that it names and of no other."""
    policy = load_policy(HEAD + "rules:\n  limits: off\n  schema: 'info'\n", "p.yaml")
    assert policy.severities == {**DEFAULT.severities, "limits": "off", "schema": "info"}


def test_an_exception_is_read_with_its_place() -> None:
    """An exception carries rule, target, reason, last day, and where it is written."""
    (exemption,) = load_policy(HEAD + EXCEPTION, "p.yaml").exceptions
    assert exemption == Exemption(
        "limits",
        Target("Deployment", "prod*", "pay-?"),
        "until the next release",
        date(2027, 3, 31),
        Origin("p.yaml", 4),
    )


@pytest.mark.parametrize(
    ("target", "kind", "namespace", "name", "expected"),
    [
        (Target(), "Job", "", "a", True),
        (Target(kind="Deployment"), "Deployment", "x", "a", True),
        (Target(kind="Deployment"), "deployment", "x", "a", False),
        (Target(namespace="prod*"), "Job", "production", "a", True),
        (Target(namespace="?*"), "Job", "", "a", False),
        (Target(name="pay-[ab]"), "Job", "x", "pay-c", False),
        (Target(namespace="prod*"), "Namespace", "", "production", True),
    ],
)
def test_targets_are_shell_patterns(
    target: Target, kind: str, namespace: str, name: str, expected: bool
) -> None:
    """All patterns of a target have to fit, and case counts."""
    assert target.matches(ResourceKey("", kind, namespace, name)) is expected


WRONG = {
    "unknown key": (HEAD + "rule: {}\n", 3, "'rules'"),
    "unknown rule": (HEAD + "rules:\n  limit: off\n", 4, "'limits'"),
    "unknown severity": (HEAD + "rules:\n  limits: warn\n", 4, "'warning'"),
    "severity as a list": (HEAD + "rules:\n  limits: [off]\n", 4, "error, warning"),
    "rules as a list": (HEAD + "rules:\n- limits\n", 4, "mapping"),
    "twice": (HEAD + "rules:\n  limits: off\n  limits: off\n", 5, "twice"),
    "other kind": ("apiVersion: opslib.dev/v1alpha1\nkind: Police\n", 2, "Policy"),
    "other version": ("kind: Policy\napiVersion: opslib.dev/v2\n", 2, "opslib.dev/v1alpha1"),
    "no version": ("kind: Policy\n", 1, "apiVersion"),
    "not a mapping": ("- a\n", 1, "mapping"),
    "exceptions as a mapping": (HEAD + "exceptions: {}\n", 3, "list"),
    "an exception as a text": (HEAD + "exceptions:\n- limits\n", 4, "mapping"),
    "exception of no rule": (HEAD + EXCEPTION.replace("limits", "limites"), 4, "'limits'"),
    "no reason": (HEAD + EXCEPTION.replace("  reason: until the next release\n", ""), 4, "reason"),
    "empty reason": (HEAD + EXCEPTION.replace("until the next release", "' '"), 6, "reason"),
    "no date": (HEAD + EXCEPTION.replace("  expires: 2027-03-31\n", ""), 4, "expires"),
    "no such day": (HEAD + EXCEPTION.replace("2027-03-31", "2027-02-30"), 7, "YYYY-MM-DD"),
    "a time": (HEAD + EXCEPTION.replace("2027-03-31", "2027-03-31T00:00:00Z"), 7, "YYYY-MM-DD"),
    "never": (HEAD + EXCEPTION.replace("2027-03-31", "never"), 7, "YYYY-MM-DD"),
    "a target of nothing": (
        HEAD + EXCEPTION.replace('{kind: Deployment, namespace: prod*, name: "pay-?"}', "{}"),
        5,
        "at least one",
    ),
    "target key": (HEAD + EXCEPTION.replace("namespace:", "namespaces:"), 5, "'namespace'"),
    "target value": (HEAD + EXCEPTION.replace("prod*", "[a]"), 5, "pattern"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_with_its_line_and_what_was_meant(case: str) -> None:
    """Each mistake in a policy file gives file:line and the nearest right word or form."""
    text, line, says = WRONG[case]
    with pytest.raises(Problems) as caught:
        load_policy(text, "p.yaml")
    (problem,) = caught.value.problems
    assert problem.where == f"p.yaml:{line}"
    assert says in str(problem)
    assert caught.value.exit_code == 2


def test_all_mistakes_are_told_at_once() -> None:
    """Several mistakes come in one error, so that a person mends them in one go."""
    text = HEAD + "rules: {limit: off, schema: on}\n" + EXCEPTION.replace("2027-03-31", "soon")
    with pytest.raises(Problems) as caught:
        load_policy(text, "p.yaml")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("text", ["", "# nothing\n", "a: [", "a: \x01", f"{HEAD}---\n{HEAD}"])
def test_what_is_not_one_document_is_bad_input(text: str) -> None:
    """An empty, broken or double document is refused with the file's name."""
    with pytest.raises(InputError) as caught:
        load_policy(text, "p.yaml")
    assert caught.value.where
    assert caught.value.where.startswith("p.yaml")


def test_every_rule_says_what_it_asks_and_why() -> None:
    """The table of rules is complete enough to print as help."""
    for name, rule in RULES.items():
        assert rule.name == name
        assert rule.asks
        assert rule.why
        assert rule.severity != "off"


def test_a_deep_nest_is_an_error_and_no_crash() -> None:
    """The composer in C overflows its stack on this; the nesting is looked at before."""
    for text in ("[" * 100_000, "a: " + "{b: " * 50_000):
        with pytest.raises(InputError, match="nested too deeply"):
            load_policy(text, "policy.yaml")
