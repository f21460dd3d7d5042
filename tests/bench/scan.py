"""Measure the leak scan beside gitleaks and detect-secrets on one corpus with a truth table.

``python -m tests.bench.scan GITLEAKS DETECT_SECRETS`` writes outputs/bench/scan.json. GITLEAKS is
the program, built in tests/bench/peers/gitleaks by ``go build github.com/zricethezav/gitleaks/v8``;
DETECT_SECRETS is a folder of ``pip install --target FOLDER detect-secrets==1.5.0``.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from opslib.seal.scan import collect

from .measure import machine, write

sys.path.insert(0, str(Path(__file__).parents[1]))
_SEEDS = 2


def main() -> None:
    """Make the corpus, run all three over it, and count files."""
    gitleaks, secrets = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = _corpus(folder)
        rows = {
            "opslib scan": _opslib(folder),
            "gitleaks 8.30.1": _gitleaks(gitleaks, folder),
            "detect-secrets 1.5.0": _detect(secrets, folder),
        }
    result: dict[str, Any] = {"machine": machine(), "files": len(truth)}
    for tool, (found, took) in rows.items():
        leaks = {path for path, leaks in truth.items() if leaks}
        result[tool] = {
            "leaks": len(leaks),
            "found": len(found & leaks),
            "look_alikes": len(truth) - len(leaks),
            "flagged": len(found - leaks),
            "seconds": round(took, 2),
        }
        print(tool, result[tool])
    write("scan", result)


def _corpus(folder: Path) -> dict[str, bool]:
    leaking = importlib.import_module("seal.scan.leaking").LEAKING
    alike = importlib.import_module("seal.scan.alike").ALIKE
    values = importlib.import_module("seal.scan.values").Values
    truth = {}
    for leaks, makers in ((True, leaking), (False, alike)):
        for make in makers:
            for seed in range(_SEEDS):
                name, text = make(values(seed * 7919 + len(make.__name__)))
                path = folder / f"{make.__name__}-{int(leaks)}-{seed}" / name
                path.parent.mkdir(parents=True)
                path.write_text(text.replace("§", ""))
                truth[path.relative_to(folder).as_posix()] = leaks
    return truth


def _opslib(folder: Path) -> tuple[set[str], float]:
    start = time.perf_counter()
    report = collect.tree([folder])
    found = {Path(one.path).relative_to(folder).as_posix() for one in report.findings}
    return found, time.perf_counter() - start


def _gitleaks(program: Path, folder: Path) -> tuple[set[str], float]:
    start = time.perf_counter()
    words = [str(program), "dir", ".", "--no-banner", "--exit-code", "0", "-f", "json", "-r", "-"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=True)
    return {one["File"] for one in json.loads(done.stdout)}, time.perf_counter() - start


def _detect(packages: Path, folder: Path) -> tuple[set[str], float]:
    start = time.perf_counter()
    words = [sys.executable, "-m", "detect_secrets", "scan", "--all-files", "."]
    env = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(words, cwd=folder, capture_output=True, check=True, env=env)
    return set(json.loads(done.stdout)["results"]), time.perf_counter() - start


if __name__ == "__main__":
    main()
