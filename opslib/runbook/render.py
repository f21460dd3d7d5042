"""A schedule in the form of each scheduler: cron, systemd, Kubernetes, jupyter-scheduler.

Nothing is installed: the files are for review and for Git.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.runbook.notify import DEFAULT_ON
from opslib.runbook.oncalendar import on_calendar
from opslib.runbook.schedule import Schedule

GRACE = 60
"""Seconds beyond the run's own deadline: opslib ends the run and its record first."""
_SHORT_WAIT = 120
"""Seconds that a start may be late and is not yet a missed one (Kubernetes needs above 10)."""
_LONGEST_WAIT = 7 * 86400
_NON_RETRYABLE = [2, 3, 4]
_LOCK_BUSY = 75


@dataclass(frozen=True)
class Place:
    """Where the scheduled runs happen.

    ``program`` is opslib there, ``workdir`` the project's folder there; None: those of this
    machine. The rest is of the CronJob: ``claim`` is a volume claim for the records,
    ``notify_secret`` a Secret whose keys are the names of notification settings.
    """

    program: str = "opslib"
    workdir: Path | None = None
    image: str = "opslib:latest"
    namespace: str = "opslib"
    service_account: str = "opslib"
    claim: str = "opslib-records"
    notify_secret: str = "opslib-notify"  # noqa: S105  # the name of an object
    extra: dict[str, str] = field(default_factory=dict)


def command(one: Schedule, place: Place, *, notebook: str) -> list[str]:
    """Return the words that run a schedule's runbook once."""
    words = [place.program, "run", notebook]
    for name, value in one.parameters:
        words += ["-p", f"{name}={value}"]
    if one.deadline is not None:
        words += ["--deadline", f"{one.deadline:g}s"]
    for name in one.notify:
        words += ["--notify", name]
    if one.notify:
        words += ["--notify-on", ",".join(one.notify_on or DEFAULT_ON)]
    return words


def cron(schedules: Sequence[Schedule], place: Place) -> dict[str, str]:
    """Return a crontab: {"opslib.crontab": text}. Raises InputError for what it cannot hold."""
    lines = [
        "# Made by `opslib schedule render cron` from metadata.opslib.schedule, for crontab(1).",
        "# CRON_TZ is read by cronie; a cron without it (Debian's) uses the zone of the machine.",
        "# A second start while a run goes on exits 75 by itself: no flock is needed here.",
    ]
    for one in schedules:
        lines += ["", f"# {one.name}: {_comment(one.title)}"]
        if one.missed == "run-once":
            lines.append(
                "# cron cannot make up for a run missed while the machine was off: systemd can."
            )
        folder = place.workdir or one.project
        words = shlex.join(command(one, place, notebook=str(_below(one, folder))))
        work = f"cd {shlex.quote(str(folder))} && exec {words}"
        if any(c in work for c in "\n\r\0"):
            raise InputError(
                "a line of cron cannot hold a line break",
                where=f"{one.notebook}, metadata.opslib.schedule.parameters",
                hint="use systemd, or put the value into a file",
            )
        # crontab(5): an unescaped % would be a line break.
        lines += [f"CRON_TZ={one.timezone}", f"{one.cron} {work}".replace("%", "\\%")]
    return {"opslib.crontab": "\n".join(lines) + "\n"}


def systemd(schedules: Sequence[Schedule], place: Place) -> dict[str, str]:
    """Return a service and a timer for each schedule, by file name."""
    files = {}
    for one in schedules:
        unit = f"opslib-{_dns_name(one.name)}"
        files[f"{unit}.service"] = _service(one, place)
        files[f"{unit}.timer"] = _timer(one, unit)
    return files


def _service(one: Schedule, place: Place) -> str:
    folder = place.workdir or one.project
    words = command(one, place, notebook=str(_below(one, folder)))
    limit = "infinity" if one.deadline is None else f"{one.deadline + GRACE:g}s"
    return "\n".join(
        [
            "# Made by `opslib schedule render systemd` from metadata.opslib.schedule.",
            "[Unit]",
            f"Description=opslib runbook {_specifiers(_comment(f'{one.name}: {one.title}'))}",
            "Wants=network-online.target",
            "After=network-online.target",
            "",
            "[Service]",
            "Type=oneshot",
            f"WorkingDirectory={_specifiers(str(folder))}",
            f"ExecStart={' '.join(map(_quoted, words))}",
            "# Settings and secrets, such as OPSLIB_NOTIFY_OPS, belong there, with mode 600.",
            "EnvironmentFile=-/etc/opslib/environment",
            f"TimeoutStartSec={limit}",
            "# SIGTERM goes to opslib, which ends its kernel and finishes the record.",
            "KillMode=mixed",
            f"TimeoutStopSec={GRACE}s",
            "NoNewPrivileges=yes",
            "PrivateTmp=yes",
            "",
        ]
    )


def _timer(one: Schedule, unit: str) -> str:
    events = on_calendar(one.cron, one.timezone)
    return "\n".join(
        [
            f"# {one.cron} ({one.timezone}), made by `opslib schedule render systemd`.",
            "[Unit]",
            f"Description=When the opslib runbook {_specifiers(_comment(one.name))} runs",
            "",
            "[Timer]",
            *(f"OnCalendar={event}" for event in events),
            f"Persistent={'true' if one.missed == 'run-once' else 'false'}",
            "AccuracySec=1s",
            f"Unit={unit}.service",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


def _quoted(word: str) -> str:
    """Quote one word of ExecStart: systemd.service(5), "COMMAND LINES"."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    text = _specifiers(text)
    plain = re.fullmatch(r"[\w@+=:,./-]+", text)
    return text if plain else f'"{text}"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _comment(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def cronjob(schedules: Sequence[Schedule], place: Place) -> dict[str, str]:
    """Return a CronJob manifest for each schedule, by file name."""
    import yaml  # noqa: PLC0415  # only here

    return {
        f"{_dns_name(one.name)}.cronjob.yaml": yaml.safe_dump(
            manifest(one, place), sort_keys=False, allow_unicode=True, width=100
        )
        for one in schedules
    }


def manifest(one: Schedule, place: Place) -> dict[str, Any]:
    """Return the CronJob as an object.

    Only a busy lock (exit 75: nothing was done) is tried again; whatever else failed may
    have done part of its work. https://kubernetes.io/docs/concepts/workloads/controllers/job/
    """
    name = f"opslib-{_dns_name(one.name)}"[:52].rstrip("-")
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "opslib"}
    job: dict[str, Any] = {
        "backoffLimit": 2,
        "ttlSecondsAfterFinished": 86400,
        "podFailurePolicy": {
            "rules": [
                _fails("In", _NON_RETRYABLE),
                _fails("NotIn", [_LOCK_BUSY]),
            ]
        },
        "template": {"metadata": {"labels": labels}, "spec": _pod(one, place)},
    }
    if one.deadline is not None:
        job = {"activeDeadlineSeconds": int(one.deadline) + GRACE, **job}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": place.namespace, "labels": labels},
        "spec": {
            "schedule": one.cron,
            "timeZone": one.timezone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _late(one),
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 5,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": job},
        },
    }


def _fails(operator: str, codes: list[int]) -> dict[str, Any]:
    return {"action": "FailJob", "onExitCodes": {"operator": operator, "values": codes}}


def _late(one: Schedule) -> int:
    """Return how late a start may be, in seconds: until the next one for run-once."""
    if one.missed == "skip":
        return _SHORT_WAIT
    runs = one.next_runs(50, datetime(2026, 1, 1, tzinfo=UTC))
    gaps = [b.astimezone(UTC) - a.astimezone(UTC) for a, b in pairwise(runs)]
    shortest = min(gaps, default=timedelta(seconds=_LONGEST_WAIT))
    return max(_SHORT_WAIT, min(int(shortest.total_seconds()), _LONGEST_WAIT))


def _pod(one: Schedule, place: Place) -> dict[str, Any]:
    folder = place.workdir or Path("/work")
    words = command(one, place, notebook=f"notebooks/{one.notebook.name}")
    secrets = [
        {
            "name": f"OPSLIB_NOTIFY_{name.upper().replace('-', '_')}",
            "valueFrom": {"secretKeyRef": {"name": place.notify_secret, "key": name}},
        }
        for name in one.notify
    ]
    return {
        "restartPolicy": "Never",
        "serviceAccountName": place.service_account,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "runbook",
                "image": place.image,
                # $(NAME) would be a variable to Kubernetes; $$ is a plain $.
                "command": [word.replace("$(", "$$(") for word in words],
                "workingDir": str(folder),
                "env": [{"name": "HOME", "value": "/tmp"}, *secrets],  # noqa: S108  # a volume of the pod's own
                "resources": {
                    "requests": {"cpu": "100m", "memory": "512Mi"},
                    "limits": {"memory": "2Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "records", "mountPath": str(folder / "outputs")},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # as above
                ],
            }
        ],
        "volumes": [
            {"name": "records", "persistentVolumeClaim": {"claimName": place.claim}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def jupyter(schedules: Sequence[Schedule], place: Place) -> dict[str, str]:
    """Return what POST /scheduler/job_definitions takes, for each schedule, by file name.

    jupyter-scheduler runs only while JupyterLab does and never makes up for missed runs.
    """
    return {f"{_dns_name(s.name)}.job.json": _job(s, place) for s in schedules}


def _job(one: Schedule, place: Place) -> str:
    document = {
        "name": one.name,
        "input_uri": str(_below(one, place.workdir or one.project)),
        "runtime_environment_name": "jupyterlab-env",
        "runtime_environment_parameters": {},
        "output_formats": ["ipynb", "html"],
        "parameters": dict(one.parameters),
        "tags": ["opslib"],
        "schedule": one.cron,
        "timezone": one.timezone,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _below(one: Schedule, folder: Path) -> Path:
    """Return the notebook's path below the folder that the run works in."""
    if one.notebook.is_relative_to(one.project) and folder != one.project:
        return one.notebook.relative_to(one.project)
    return one.notebook.relative_to(folder) if one.notebook.is_relative_to(folder) else one.notebook


def _dns_name(name: str) -> str:
    """Return a name as Kubernetes and systemd take it (RFC 1123)."""
    clean = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return clean or "runbook"


FORMS: dict[str, Callable[[Sequence[Schedule], Place], dict[str, str]]] = {
    "cron": cron,
    "systemd": systemd,
    "cronjob": cronjob,
    "jupyter": jupyter,
}


def render(form: str, schedules: Sequence[Schedule], place: Place) -> dict[str, str]:
    """Return the files of a form by name. Raises InputError for two that would share one."""
    files = FORMS[form](schedules, place)
    names = [_dns_name(one.name) for one in schedules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"two schedules would share the name {twice[0]}",
            where=", ".join(str(s.notebook) for s in schedules if _dns_name(s.name) == twice[0]),
            hint="rename one of the notebooks",
        )
    return files
