"""A schedule is said once in the notebook; each scheduler's own programs take the form we give."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from cronsim import CronSim

from opslib.cli.main import run as cli
from opslib.core.errors import InputError, Problems
from opslib.runbook import render
from opslib.runbook.oncalendar import on_calendar
from opslib.runbook.render import Place
from opslib.runbook.schedule import Schedule, cron_every, cron_of, read_schedule, schedules
from opslib.sandbox.cluster import Status, api

from .conftest import code, parameters, write

GOOD: dict[str, Any] = {
    "when": "30 6 * * 1-5",
    "timezone": "Europe/Berlin",
    "deadline": "30m",
    "missed": "run-once",
    "parameters": {"namespace": "pay", "replicas": 3, "message": '50% of "$HOME" \\ done'},
    "notify": {"to": ["ops"], "on": ["failed", "timeout"]},
}
PARAMETERS = 'namespace: str\nreplicas: int = 1\nmessage: str = ""'


def _notebook(place: Path, schedule: Any, name: str = "nightly check") -> Path:
    path = place / "notebooks" / f"{name}.ipynb"
    write(path, parameters(PARAMETERS), code("1"))
    content = json.loads(path.read_text())
    content["metadata"]["opslib"] = {"schedule": schedule}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def one(tmp_path: Path) -> Schedule:
    """Return the good schedule, read from its notebook."""
    found = read_schedule(_notebook(tmp_path, GOOD))
    assert found
    return found


def test_a_schedule_is_read(one: Schedule) -> None:
    """Everything that the notebook says is there; values are as the command line has them."""
    assert (one.cron, one.timezone, one.deadline) == ("30 6 * * 1-5", "Europe/Berlin", 1800)
    assert dict(one.parameters)["replicas"] == "3"
    assert (one.missed, one.notify, one.notify_on) == ("run-once", ("ops",), ("failed", "timeout"))


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"when": "61 * * * *"}, "when", "not a cron expression: bad minute"),
    ({"when": "* * * *"}, "when", "not a cron expression"),
    ({"when": "0 0 31 2 *"}, "when", "not a cron expression"),
    ({"when": "0 0 L * *"}, "when", "not a cron expression"),
    ({"when": "0 0 1-3 * 5#2"}, "when", "not a cron expression"),
    ({"when": "0 0 */2 * 1"}, "when", "different days"),
    ({"when": "0 0 * * *\n* * * * * rm"}, "when", "not a cron expression"),
    ({"every": "15m"}, "when", "both"),
    ({"when": "", "every": ""}, "when", "no time"),
    ({"when": "", "every": "7m"}, "when", "does not divide"),
    ({"timezone": "Europe/Berln"}, "timezone", "no time zone"),
    ({"timezone": "../../etc/passwd"}, "timezone", "no time zone"),
    ({"deadline": "soon"}, "deadline", "not a duration"),
    ({"deadline": "30d"}, "deadline", "the deadline is"),
    ({"missed": "all"}, "missed", "missed is"),
    ({"missed": 1}, "missed", "missed is"),
    ({"parameters": {"replicas": 3}}, "parameters", "namespace has no value"),
    ({"parameters": {"namespace": "x", "replicas": "three"}}, "parameters", "replicas cannot be"),
    ({"parameters": {"namespace": "x", "replica": 1}}, "parameters", "no parameter replica"),
    ({"parameters": []}, "parameters", "no JSON object"),
    ({"notify": {"to": ["json://user:secret@host"]}}, "notify", "something else than names"),
    ({"notify": {"to": ["ops"], "on": ["broken"]}}, "notify", "no outcome"),
    ({"wen": "0 0 * * *"}, "wen", "no field wen"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_wrong_is_named_with_its_notebook_and_field(tmp_path: Path, number: int) -> None:
    """Each mistake is one error of bad input that names the notebook and the field."""
    change, name, what = WRONG[number]
    path = _notebook(tmp_path, {**GOOD, **change})
    with pytest.raises(Problems) as caught:
        read_schedule(path)
    (problem,) = caught.value.problems
    assert what in problem.what
    assert problem.where == f"{path}, metadata.opslib.schedule.{name}"
    assert caught.value.exit_code == 2
    assert "secret" not in str(caught.value).replace("a secret", "")


def test_all_mistakes_at_once_and_the_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several mistakes are told in one go; a broken schedule does not hide a good one."""
    path = _notebook(tmp_path, {"when": "x", "timezone": "y", "missed": "z"}, name="bad")
    with pytest.raises(Problems) as caught:
        read_schedule(path)
    assert len(caught.value.problems) == 4
    _notebook(tmp_path, GOOD, name="good")
    write(tmp_path / "notebooks" / "none.ipynb", code("1"))
    found, problems = schedules(tmp_path / "notebooks")
    assert ([s.name for s in found], len(problems)) == (["good"], 1)
    assert cli(["schedule", "list", str(tmp_path / "notebooks")]) == 2
    said = capsys.readouterr()
    assert re.search(r"good +30 6 \* \* 1-5 +Europe/Berlin +run-once +\d{4}-", said.out)
    assert "there is no time zone y" in said.err


def _schedule(cron: str, zone: str) -> Schedule:
    return Schedule(Path("/srv/notebooks/x.ipynb"), "X", cron, zone)


def test_next_runs_follow_the_zone_through_clock_changes() -> None:
    """6:30 in Berlin stays 6:30; 2:30 on the night it is left out comes at 3:00, twice is once."""
    zone = ZoneInfo("Europe/Berlin")
    spring = datetime(2026, 3, 28, 12, tzinfo=zone)
    runs = _schedule("30 6 * * *", "Europe/Berlin").next_runs(3, spring)
    assert [run.isoformat() for run in runs] == [
        "2026-03-29T06:30:00+02:00",
        "2026-03-30T06:30:00+02:00",
        "2026-03-31T06:30:00+02:00",
    ]
    runs = _schedule("30 2 * * *", "Europe/Berlin").next_runs(2, spring)
    assert [run.isoformat() for run in runs] == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    autumn = datetime(2026, 10, 24, 12, tzinfo=zone)
    runs = _schedule("30 2 * * *", "Europe/Berlin").next_runs(2, autumn)
    assert [run.isoformat() for run in runs] == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]
    night = datetime(2026, 10, 25, 1, 59, tzinfo=zone)
    quarter = _schedule("*/30 * * * *", "Europe/Berlin").next_runs(5, night)
    assert [f"{run:%H:%M%z}" for run in quarter] == [
        "02:00+0200",
        "02:30+0200",
        "02:00+0100",
        "02:30+0100",
        "03:00+0100",
    ]


def test_intervals_are_those_that_every_scheduler_can_say() -> None:
    """An interval comes out as a cron expression that is met at just that distance."""
    texts = {"1m": 60, "15m": 900, "60": 60, "1h": 3600, "6h": 21600, "1d": 86400, "24h": 86400}
    for text, seconds in texts.items():
        runs = _schedule(cron_every(text), "UTC").next_runs(9)
        gaps = {(b - a).total_seconds() for a, b in pairwise(runs)}
        assert gaps == {seconds}
    for text in ("45m", "7m", "90m", "5h", "2d", "10s", "0", "90s"):
        with pytest.raises(InputError, match="does not divide"):
            cron_every(text)


SPECIAL = [
    *("* * * * *", "*/15 * * * *", "0 */6 * * *", "5,35 8-18 * * mon-fri", "0 0 1 1 *"),
    *("0 0 13 * 5", "0 12 * * 0", "0 12 * * 7", "0 0 * jan-mar,12 sat,sun", "3-59/7 * * * *"),
    *("0 9 1-7 * 1", "0 9 * * 5-7", "10/20 1 * * *", "0 0 29 2 *"),
]


def _random_cron(chance: random.Random) -> str:
    def field(low: int, high: int) -> str:
        kind = chance.randrange(5)
        a, b = sorted((chance.randint(low, high), chance.randint(low, high)))
        forms = ("*", str(a), f"{a}-{b}", f"{a}-{b}/{chance.randint(1, 9)}", f"{a},{b}")
        return forms[kind]

    return " ".join(field(*s) for s in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7)))


def _systemd_times(events: list[str], count: int, base: datetime) -> list[datetime]:
    """Ask systemd itself when the events elapse next."""
    command = ["systemd-analyze", "calendar", f"--iterations={count}"]
    command += [f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC", *events]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"TZ": "UTC", "PATH": PATH},
        check=True,
        timeout=60,
    )
    found = re.findall(
        r"(?:elapse|Iteration #\d+|Iter\. #\d+): \w+ ([\d-]+ [\d:]+) UTC", done.stdout
    )
    times = {datetime.strptime(t, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) for t in found}
    return sorted(times)[:count]


PATH = "/usr/local/bin:/usr/bin:/bin"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze", path=PATH) is None,
    reason="systemd-analyze is not here: apt-get install systemd",
)


@needs_systemd
def test_systemd_reads_our_calendar_events_as_cron_reads_the_expression() -> None:
    """For 60 expressions systemd's own next five times are those of cron."""
    chance = random.Random(11)  # noqa: S311  # values of test data
    base = datetime(2026, 1, 7, 3, 17, tzinfo=UTC)
    crons = [*SPECIAL]
    while len(crons) < 60:
        candidate = _random_cron(chance)
        try:
            crons.append(cron_of(candidate))
        except InputError:
            continue
    for cron in crons:
        simulation = CronSim(cron.upper(), base)
        expected = [next(simulation) for _ in range(5)]
        events = on_calendar(cron, "UTC")
        assert _systemd_times(events, 5, base) == expected, (cron, events)
    print(f"{len(crons)} expressions, {5 * len(crons)} times agree with systemd")


@needs_systemd
def test_systemd_accepts_the_units(one: Schedule, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say about service and timer; words stay whole."""
    folder = tmp_path / "units"
    program = shutil.which("true")
    assert program
    for name, content in render.systemd([one], Place(program)).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(folder.iterdir()))],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "opslib-" in line]
    assert (complaints, done.returncode) == ([], 0)
    service = (folder / "opslib-nightly-check.service").read_text()
    assert "TimeoutStartSec=1860s" in service
    assert r'"message=50%% of \"$$HOME\" \\ done"' in service
    timer = (folder / "opslib-nightly-check.timer").read_text()
    assert "OnCalendar=Mon..Fri *-*-* 06:30:00 Europe/Berlin\nPersistent=true" in timer


def test_a_line_of_cron_runs_the_words_that_were_meant(one: Schedule, tmp_path: Path) -> None:
    """What sh makes of the command is, word by word, what the schedule says."""
    shown = tmp_path / "show words"
    shown.write_text('#!/bin/sh\nfor w in "$@"; do printf "%s\\n" "$w"; done\n')
    shown.chmod(0o755)
    (text,) = render.cron([one], Place(str(shown))).values()
    line = text.splitlines()[-1]
    assert "CRON_TZ=Europe/Berlin" in text
    assert "cron cannot make up" in text
    assert line.startswith("30 6 * * 1-5 cd ")
    work = line.removeprefix("30 6 * * 1-5 ").replace("\\%", "%")
    done = subprocess.run(["sh", "-c", work], capture_output=True, text=True, check=True)
    expected = render.command(one, Place(), notebook="notebooks/nightly check.ipynb")[1:]
    assert done.stdout.splitlines() == expected
    assert 'message=50% of "$HOME" \\ done' in expected
    assert shlex.split(work)[-1] == "failed,timeout"
    broken = Schedule(one.notebook, one.title, one.cron, parameters=(("a", "x\ny"),))
    with pytest.raises(InputError, match="line break"):
        render.cron([broken], Place())


def test_the_server_accepts_the_cronjob(one: Schedule, sandbox: Status, namespace: str) -> None:
    """A server-side dry run takes the CronJob, and its pod under the restricted standard."""
    document = render.manifest(one, Place(namespace=namespace, image="registry/opslib@sha256:0"))
    (text,) = render.cronjob([one], Place(namespace=namespace)).values()
    assert yaml.safe_load(text)["spec"]["schedule"] == "30 6 * * 1-5"
    with api(sandbox.name) as server:
        level = {"pod-security.kubernetes.io/enforce": "restricted"}
        body = {"metadata": {"labels": level}}
        server.json(
            "PATCH",
            f"/api/v1/namespaces/{namespace}",
            body,
            content_type="application/merge-patch+json",
        )
        where = f"/apis/batch/v1/namespaces/{namespace}/cronjobs?dryRun=All&fieldValidation=Strict"
        taken = server.json("POST", where, document)
        pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        pod = {**pod, "serviceAccountName": "default"}
        single = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
        for volume in pod["volumes"]:
            assert set(volume) <= {"name", "emptyDir", "persistentVolumeClaim"}
        server.json("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", single)
    spec = taken["spec"]
    assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Europe/Berlin", "Forbid")
    assert spec["startingDeadlineSeconds"] == 86400
    job = spec["jobTemplate"]["spec"]
    assert job["activeDeadlineSeconds"] == 1860
    rules = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"]]
    assert [(r["operator"], r["values"]) for r in rules] == [("In", [2, 3, 4]), ("NotIn", [75])]


def test_names_that_collide_and_what_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runbooks that would share a file's name, or one without a schedule, are bad input."""
    _notebook(tmp_path, GOOD, name="a b")
    _notebook(tmp_path, GOOD, name="a-b")
    write(tmp_path / "notebooks" / "none.ipynb", code("1"))
    monkeypatch.chdir(tmp_path)
    assert cli(["schedule", "render", "systemd"]) == 2
    assert "would share the name a-b" in capsys.readouterr().err
    assert cli(["schedule", "render", "cron", "none"]) == 2
    assert "none has no schedule" in capsys.readouterr().err
    assert cli(["schedule", "render", "crontab"]) == 2
    for form, count in {"cron": 1, "systemd": 2, "cronjob": 1, "jupyter": 1}.items():
        assert cli(["schedule", "render", form, "a-b", "--to", str(tmp_path / form), "--json"]) == 0
        written = json.loads(capsys.readouterr().out)
        assert sorted(written) == sorted(str(path) for path in (tmp_path / form).iterdir())
        assert len(written) == count


def test_late_starts(one: Schedule) -> None:
    """run-once allows a start until the next one is due, skip two minutes."""
    assert render._late(one) == int(timedelta(days=1).total_seconds())
    skip = Schedule(one.notebook, one.title, "*/5 * * * *")
    assert render._late(skip) == 120
