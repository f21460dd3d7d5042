"""Measure the leak scan beside gitleaks and detect-secrets on one corpus with a truth table.

Whole processes; and the scan of a history of 10,000 commits. Writes outputs/bench/scan.json.
gitleaks is built from its pinned modules, detect-secrets comes by pip; both into the cache.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from opslib.core.progress import SILENT
from opslib.core.settings import cache_dir
from opslib.sandbox import golang

from .measure import machine, run, write

sys.path.insert(0, str(Path(__file__).parents[1]))
_SEEDS = 2
_COMMITS, _LEAKS = 10_000, 20
_GITLEAKS, _DETECT = "8.30.1", "1.5.0"


def main() -> None:
    """Make the corpus, run all three over it, and count files; then scan a history."""
    result: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = _corpus(folder)
        rows = {
            "opslib scan": _opslib(folder),
            f"gitleaks {_GITLEAKS}": _gitleaks(gitleaks(), folder),
            f"detect-secrets {_DETECT}": _detect(detect_secrets(), folder),
        }
    result["files"] = len(truth)
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
    result["history"] = _history()
    print("history", result["history"])
    print(f"written: {write('scan', result)}")


def gitleaks() -> Path:
    """Return gitleaks, built where it is not in the cache yet."""
    made = cache_dir() / "tests" / f"gitleaks-{_GITLEAKS}"
    if not made.exists():
        go = golang.find_go(SILENT)
        with tempfile.TemporaryDirectory() as work:
            for name in ("go.mod", "go.sum"):
                shutil.copyfile(
                    Path(__file__).parent / "peers" / "gitleaks" / name, f"{work}/{name}"
                )
            words = [str(go), "build", "-trimpath", "-o", "made", _MODULE]
            subprocess.run(words, cwd=work, env=golang.build_environment(go), check=True)
            made.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(f"{work}/made", made)
    return made


_PINNED = Path(__file__).parent / "peers" / "gitleaks"
_MODULE = "github.com/zricethezav/gitleaks/v8"


def detect_secrets() -> Path:
    """Return the folder with detect-secrets, installed where it is not in the cache yet."""
    made = cache_dir() / "tests" / f"detect-secrets-{_DETECT}"
    if not made.exists():
        words = [sys.executable, "-m", "pip", "--quiet", "install", "--target", str(made)]
        subprocess.run([*words, f"detect-secrets=={_DETECT}"], check=True)
    return made


def _history() -> dict[str, Any]:
    """Scan all that a repository of many commits ever had, in one process of its own."""
    make = importlib.import_module("seal.scan.pasts").make
    with tempfile.TemporaryDirectory() as name:
        past = make(Path(name) / "repo", _COMMITS, _LEAKS)
        words = [sys.executable, "-m", "opslib", "scan", "--history", "--json"]
        report = Path(name) / "report.json"
        took = run([*words, "-o", str(report), str(past.folder)], codes=(0, 1))
        found = json.loads(report.read_text())["findings"]
    paths = {path for path, _, _ in past.planted.values()}
    return {
        "commits": _COMMITS,
        "planted": len(paths),
        "found": len(paths & {one["path"] for one in found}),
        "beside_them": len({one["path"] for one in found} - paths),
        "seconds": round(took.seconds, 2),
        "peak_mb": round(took.peak, 1),
    }


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
    words = [sys.executable, "-m", "opslib", "scan", "--json", str(folder)]
    start = time.perf_counter()
    done = subprocess.run(words, capture_output=True, check=False)
    took = time.perf_counter() - start
    found = json.loads(done.stdout)["findings"]
    return {Path(one["path"]).relative_to(folder).as_posix() for one in found}, took


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
