"""opslib.yaml: what a folder says of its app, and what is wrong in it by line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from opslib.core.errors import OpslibError
from opslib.core.model import ResourceKey
from opslib.reconcile.appfile import load_appfile

HEAD = "apiVersion: opslib.dev/v1alpha1\nkind: App\n"
GOOD = (
    HEAD
    + """dependsOn: [platform, data-base]
leave:
- target: {kind: Deployment, namespace: production, name: web*}
  fields: [spec.replicas, 'spec.template.spec.containers[name=app].image']
  to: KEDA
  reason: it is scaled by the length of its queue
  expires: 2027-03-31
"""
)


def test_a_good_file_is_read() -> None:
    """Names, targets, paths and days come as they were written."""
    read = load_appfile(GOOD, "prod/opslib.yaml")
    assert read.depends_on == ("platform", "data-base")
    (leave,) = read.leave
    assert leave.target.matches(ResourceKey("apps", "Deployment", "production", "web-1"))
    assert str(leave.fields[0]) == "spec.replicas"
    assert leave.expires == date(2027, 3, 31)
    assert str(leave.origin) == "prod/opslib.yaml:5"
    assert "KEDA until 2027-03-31: it is scaled" in leave.why


def test_the_documented_example_is_one() -> None:
    """What docs/app-file.md shows can be copied."""
    page = (Path(__file__).parents[2] / "docs" / "app-file.md").read_text(encoding="utf-8")
    read = load_appfile(page.split("```yaml\n")[1].split("```")[0], "opslib.yaml")
    assert read.depends_on == ("platform",)
    assert read.leave[0].to == "KEDA"
    assert read.ignore[0].covers(ResourceKey("", "ConfigMap", "production", "flags"), "data.beta")


IGNORED = (
    HEAD
    + """ignore:
- target: {kind: Deployment, namespace: production, name: web}
  fields: [metadata.annotations, 'spec.template.spec.containers[name=app].env[*]', 'spec.x[1]']
  reason: a trial
  expires: 2027-03-31
- {target: {kind: ConfigMap, name: flags}, fields: ["*"], reason: by hand, expires: 2027-03-31}
- {target: {kind: Secret}, reason: by hand, expires: 2027-03-31}
"""
)
WEB = ResourceKey("apps", "Deployment", "production", "web")
FLAGS = ResourceKey("", "ConfigMap", "production", "flags")
_ENV = "spec.template.spec.containers[name=app].env"


@pytest.mark.parametrize(
    ("key", "path", "covered"),
    [
        (WEB, 'metadata.annotations["a.b/c"]', True),
        (WEB, "metadata.annotations", True),
        (WEB, "metadata.annotationsX", False),
        (WEB, "metadata", False),
        (WEB, "", False),
        (WEB, f"{_ENV}[name=A]", True),
        (WEB, f"{_ENV}[name=A].value", True),
        (WEB, _ENV, False),
        (WEB, _ENV.replace("app", "other") + "[name=A]", False),
        (WEB, "spec.x[1].y", True),
        (WEB, "spec.x[2]", False),
        (WEB, 'metadata.annotations["a.b/c"] (order)', True),
        (WEB, "metadata.annotations[name=a,]b]", True),
        (FLAGS, "data.anything", True),
        (FLAGS, "", True),
        (ResourceKey("", "Secret", "any", "one"), "", True),
    ],
)
def test_what_an_ignore_rule_covers(key: ResourceKey, path: str, covered: bool) -> None:
    """Its fields and what is in them; without fields the whole object and every field of it."""
    rules = load_appfile(IGNORED, "prod/opslib.yaml").ignore
    assert any(rule.covers(key, path) for rule in rules) is covered


def test_an_ignore_rule_has_a_reason_and_a_last_day() -> None:
    """It holds on that day and no longer, and says so."""
    rule = load_appfile(IGNORED, "prod/opslib.yaml").ignore[0]
    assert rule.holds(date(2027, 3, 31))
    assert not rule.holds(date(2027, 4, 1))
    assert rule.why == "is ignored until 2027-03-31: a trial (prod/opslib.yaml:4)"
    assert rule.over == "it was ignored until 2027-03-31: a trial (prod/opslib.yaml:4)"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("kind: App\n", 1, "apiVersion"),
        (HEAD + "dependson: [a]\n", 3, "dependson"),
        (HEAD + "dependsOn: platform\n", 3, "not a list"),
        (HEAD + "dependsOn: [No_Such]\n", 3, "No_Such"),
        (GOOD.replace("  to: KEDA\n", ""), 5, "no to"),
        (GOOD.replace("2027-03-31", "soon"), 9, "soon"),
        (GOOD.replace("2027-03-31", "2027-02-30"), 9, "2027-02-30"),
        (GOOD.replace("it is scaled by the length of its queue", "''"), 8, "reason"),
        (GOOD.replace("spec.replicas", "'..x'"), 6, "..x"),
        (
            GOOD.replace("[spec.replicas, 'spec.template.spec.containers[name=app].image']", "[]"),
            6,
            "no field",
        ),
        (GOOD.replace("namespace: production", "namspace: production"), 5, "namspace"),
        (HEAD + "leave: [\n", 4, "YAML"),
        (IGNORED.replace("  reason: a trial\n", ""), 4, "no reason"),
        (IGNORED.replace("  expires: 2027-03-31\n", ""), 4, "no expires"),
        (IGNORED.replace("2027-03-31", "never"), 7, "never"),
        (IGNORED.replace("'spec.x[1]'", "'..x'"), 5, "..x"),
        (IGNORED.replace('fields: ["*"]', "fields: []"), 8, "no field"),
        (IGNORED.replace("a trial", "'  '"), 6, "reason"),
        (IGNORED.replace("  reason: a", "  to: KEDA\n  reason: a"), 6, "'to'"),
        (GOOD + "---\n" + HEAD, 0, "exactly one"),
    ],
)
def test_mistakes_are_named_by_line(text: str, line: int, words: str) -> None:
    """Whatever is wrong is one error with file, line and what was expected; exit code 2."""
    with pytest.raises(OpslibError) as error:
        load_appfile(text, "opslib.yaml")
    assert error.value.exit_code == 2
    assert words in str(error.value)
    assert (f"opslib.yaml:{line}" if line else "opslib.yaml") in str(error.value)
