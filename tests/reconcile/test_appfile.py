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
    whole, part = read.ignore
    assert (whole.fields, str(whole.target)) == ((), "ConfigMap production/scratch-*")
    assert str(part.fields[0]) == 'metadata.annotations["example.com/note"]'
    assert part.expires == date(2027, 1, 31)
    assert part.reason == "written by the ticket system"


def test_all_fields_may_be_written_as_a_star() -> None:
    """``["*"]`` and no fields at all are the same; beside others a star is no path."""
    text = HEAD + "ignore:\n- target: {kind: A}\n  reason: r\n  expires: 2027-01-01\n"
    for fields in ("", "  fields: ['*']\n"):
        (one,) = load_appfile(text + fields, "opslib.yaml").ignore
        assert one.fields == ()
    with pytest.raises(OpslibError, match="not the path"):
        load_appfile(text + "  fields: ['*', spec]\n", "opslib.yaml")


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
        (HEAD + "ignore:\n- target: {kind: A}\n  reason: r\n", 4, "no expires"),
        (HEAD + "ignore:\n- target: {kind: A}\n  to: me\n", 5, "to"),
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
