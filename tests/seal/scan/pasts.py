"""Repositories with a long past: real Git, filled by ``git fast-import``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .values import Values

_FILES = 150
_BRANCH = "refs/heads/main"


@dataclass
class Past:
    """A repository, and what was planted: value by (path, number of the commit, still at HEAD)."""

    folder: Path
    planted: dict[str, tuple[str, int, bool]] = field(default_factory=dict)


def _manifest(v: Values, number: int, change: int) -> str:
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{number}
  namespace: team-{number % 9}
  labels: {{app: app-{number}, change: "{change}"}}
  annotations:
    checksum/config: {v.hexed(64)}
spec:
  replicas: {v.rng.randint(1, 9)}
  selector: {{matchLabels: {{app: app-{number}}}}}
  template:
    metadata: {{labels: {{app: app-{number}}}}}
    spec:
      serviceAccountName: app-{number}-token-reader
      containers:
      - name: app
        image: registry.example.com/app-{number}@sha256:{v.hexed(64)}
        env:
        - name: DB_PASSWORD
          valueFrom: {{secretKeyRef: {{name: db-{number}, key: password}}}}
        - name: LOG_LEVEL
          value: info
        args: ["--listen=:8080", "--token-file=/run/secrets/token"]
        resources:
          requests: {{cpu: {v.rng.randint(1, 900)}m, memory: {v.rng.randint(1, 900)}Mi}}
"""


def _leak(v: Values, number: int) -> tuple[str, str]:
    value = v.letters()
    return value, (
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s-{number}}}\n"
        f"stringData:\n  password: {value}\n"
    )


def make(folder: Path, commits: int, leaks: int, seed: int = 1) -> Past:
    """Make a repository of so many commits, each with one to three changed manifests.

    ``leaks`` Secrets are committed in it; every second one is removed by the next commit.
    """
    past = Past(folder)
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    with subprocess.Popen(
        ["git", "-C", str(folder), "fast-import", "--quiet"], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin
        for part in _stream(past, commits, leaks, Values(seed)):
            process.stdin.write(part.encode())
        process.stdin.close()
    assert process.returncode == 0
    subprocess.run(["git", "-C", str(folder), "reset", "-q", "--hard"], check=True)
    return past


def _stream(past: Past, commits: int, leaks: int, v: Values) -> Iterator[str]:
    at = {commits * (n + 1) // (leaks + 1): n for n in range(leaks)}
    gone = ""
    for number in range(1, commits + 1):
        yield f"commit {_BRANCH}\ncommitter Ada <ada@example.com> {1_700_000_000 + number} +0000\n"
        yield _data(f"change {number}\n")
        if gone:
            yield f"D {gone}\n"
            gone = ""
        for _ in range(v.rng.randint(1, 3)):
            which = v.rng.randrange(_FILES)
            yield f"M 100644 inline apps/app-{which}.yaml\n" + _data(_manifest(v, which, number))
        if number in at:
            value, text = _leak(v, number)
            path = f"secrets/s-{at[number]}.yaml"
            kept = at[number] % 2 == 0
            past.planted[value] = (path, number, kept)
            yield f"M 100644 inline {path}\n" + _data(text)
            gone = "" if kept else path
        yield "\n"


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"
