"""The engine: severities, dated exceptions, order, and the JSON form."""

from __future__ import annotations

import json
from datetime import date, timedelta

from opslib.core.model import Origin, Resource
from opslib.policy import DEFAULT, RULES, Exemption, Policy, Report, Target, check

from .conftest import resource

LAST = date(2027, 3, 31)
NOT_PINNED = "pinned-image"


def _pods() -> list[Resource]:
    return [
        resource(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "kube-x"},
                "spec": {"containers": [{"name": "c", "image": "c"}]},
            }
        )
        for name in ("a", "b")
    ]


def _policy(*exceptions: Exemption) -> Policy:
    return Policy({**dict.fromkeys(RULES, "off"), NOT_PINNED: "error"}, exceptions, "p.yaml")


def _exemption(name: str, rule: str = NOT_PINNED) -> Exemption:
    return Exemption(rule, Target(name=name), "later", LAST, Origin("p.yaml", 7))


def _check(*exceptions: Exemption, days: int = 0) -> Report:
    return check(_pods(), _policy(*exceptions), today=LAST + timedelta(days=days))


def test_an_exception_excuses_until_its_last_day() -> None:
    """On its last day an exception holds; what it excuses is still listed, and no error."""
    report = _check(_exemption("a"))
    assert [f.key.name for f in report.errors if f.key] == ["b"]
    assert [f.key.name for f in report.excused if f.key] == ["a"]
    assert report.excused[0].exception == _exemption("a")
    assert not report.ok
    assert _check(_exemption("*")).ok


def test_an_expired_exception_excuses_nothing_and_is_itself_reported() -> None:
    """From the day after, findings count again and a warning points at the exception."""
    report = _check(_exemption("a"), days=1)
    assert len(report.errors) == 2
    (warning,) = report.warnings
    assert warning.origin == Origin("p.yaml", 7)
    assert "expired on 2027-03-31" in warning.message
    assert report.excused == ()


def test_an_exception_that_matches_nothing_is_an_info() -> None:
    """An exception that is not needed is shown, expired or not, and weighs nothing."""
    for days in (0, 1):
        report = _check(_exemption("nobody"), days=days)
        (info,) = report.infos
        assert "not needed" in info.message
        assert report.warnings == ()


def test_an_exception_of_a_rule_that_is_off_says_nothing() -> None:
    """Where a rule is not looked at, nobody can say that its exception is idle."""
    assert _check(_exemption("a", "limits")).infos == ()


def test_a_valid_exception_stands_in_for_an_expired_one() -> None:
    """Of two exceptions for one finding the one that still holds counts."""
    longer = Exemption(
        NOT_PINNED, Target(name="a"), "longer", LAST + timedelta(days=9), Origin("p.yaml", 12)
    )
    report = _check(_exemption("a"), longer, days=1)
    assert [f.exception for f in report.excused] == [longer]


def test_rules_that_are_off_do_not_run() -> None:
    """A policy that switches everything off finds nothing."""
    assert check(_pods(), Policy(dict.fromkeys(RULES, "off"))).findings == ()


def test_the_gravest_findings_come_first_and_the_order_is_stable() -> None:
    """Findings are ordered by severity, place and rule, whatever the order of the objects."""
    pods = _pods()
    report = check(pods, DEFAULT, today=LAST)
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities)  # error < info < warning: no info is expected here
    assert set(severities) == {"error", "warning"}
    again = check(pods, DEFAULT, today=LAST)
    assert report == again


def test_the_report_is_json() -> None:
    """A report is one JSON document with counts, and each finding says what, why and what to do."""
    report = json.loads(json.dumps(_check(_exemption("a")).as_dict()))
    assert {k: report[k] for k in ("ok", "errors", "warnings", "infos", "excused")} == {
        "ok": False,
        "errors": 1,
        "warnings": 0,
        "infos": 0,
        "excused": 1,
    }
    for finding in report["findings"]:
        assert all(finding[name] for name in ("rule", "message", "why", "fix", "path", "line"))
    assert "Pod kube-x/b" in str(_check().findings[1])
