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
    assert str(read.ignore[0].fields[0]) == "data.beta"


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


def test_what_a_review_ignores_has_a_reason_and_a_last_day() -> None:
    """Fields are paths; none at all, or a star, means the whole object."""
    web, flags, secrets = load_appfile(IGNORED, "prod/opslib.yaml").ignore
    assert [str(path) for path in web.fields][2] == "spec.x[1]"
    assert (web.reason, web.expires) == ("a trial", date(2027, 3, 31))
    assert str(web.origin) == "prod/opslib.yaml:4"
    assert flags.fields == secrets.fields == ()


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
