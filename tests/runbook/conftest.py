"""Notebooks made on the spot, real kernels, and a runner process that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
Cell = dict[str, Any]


def code(source: str, *tags: str) -> Cell:
    """Return a code cell."""
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)} if tags else {},
        "source": source.splitlines(keepends=True),
        "outputs": [],
        "execution_count": None,
    }


def text(source: str) -> Cell:
    """Return a Markdown cell."""
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def parameters(source: str) -> Cell:
    """Return a parameters cell."""
    return code(source, "parameters")


LOAD = code("from opslib import runbook\n\np = runbook.load(globals())")


def write(path: Path, *cells: Cell) -> Path:
    """Write a notebook as JupyterLab would, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernel},
        "cells": named,
    }
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")
    return path


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes notebooks/<name>.ipynb into a fresh project."""

    def make_one(*cells: Cell, name: str = "work") -> Path:
        return write(tmp_path / "notebooks" / f"{name}.ipynb", *cells)

    return make_one


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_bytes())


def outcomes(record: Path) -> list[str | None]:
    """Return the outcome of each code cell of a record."""
    cells = read_json(record)["cells"]
    return [
        cell["metadata"].get("opslib", {}).get("outcome")
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 240.0) -> Any:
    """Wait until the condition gives something, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class Watched:
    """A run that goes on in another process, by what its record shows."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def folder(self) -> Path:
        """Return the record's folder, once it is there."""
        found: Path = wait_for(
            lambda: next((one.parent for one in self.out.glob("*/*/events.jsonl")), None),
            "the start of the record",
        )
        return found

    def events(self) -> list[dict[str, Any]]:
        """Return the events so far."""
        lines = (self.folder() / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def kernel(self) -> int:
        """Return the kernel's process id, once it is there."""

        def started() -> int | None:
            found = [one["pid"] for one in self.events() if one["event"] == "kernel-start"]
            return found[0] if found else None

        pid: int = wait_for(started, "the start of the kernel")
        return pid

    def said(self, word: str) -> None:
        """Wait until a cell has printed the word, as the partial record shows."""
        wait_for(lambda: self.printed(word), f"the word {word}")

    def printed(self, word: str) -> bool:
        """Tell whether a cell has printed the word."""
        record = self.folder() / "record.ipynb"
        return record.exists() and word in str(_printed(record))


class Runner(Watched):
    """A process that runs one notebook, as the command line would."""

    def __init__(self, notebook: Path, out: Path, temporary: Path, **options: Any) -> None:
        super().__init__(out)
        self.process = subprocess.Popen(
            [sys.executable, HERE / "runner.py", notebook, out, json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONWARNINGS": "error::ResourceWarning",
                "TMPDIR": str(temporary),
            },
        )

    def end(self, seconds: float = 240.0) -> tuple[int, str, str]:
        """Wait for the end; return the exit code and what was printed."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out.decode(), err.decode()


def _printed(record: Path) -> list[Any]:
    return [cell.get("outputs") for cell in read_json(record)["cells"]]


@pytest.fixture
def start(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Runner]]:
    """Return a function that starts a runner; what still runs at the end is killed by its id."""
    runners: list[Runner] = []
    # A killed runner leaves its sockets; their path has to be short (see kernel.py).
    sockets = tmp_path_factory.getbasetemp()

    def start_one(notebook: Path, **options: Any) -> Runner:
        runners.append(Runner(notebook, tmp_path / f"out-{len(runners)}", sockets, **options))
        return runners[-1]

    yield start_one
    for runner in runners:
        if runner.process.poll() is None:
            runner.process.kill()
            runner.process.communicate()


class Fork(Watched):
    """A runner that was forked, see zygote.py."""

    def __init__(self, state: Path, out: Path) -> None:
        super().__init__(out)
        self._state = state
        self.pid = int(wait_for(lambda: self._read("pid"), "the start of a fork"))

    def poll(self) -> int | None:
        """Return the exit code, -9 for a killed one; None while it runs."""
        found = self._read("code")
        return int(found) if found else None

    def wait(self, seconds: float = 240.0) -> int:
        """Wait for the end; return the exit code."""
        wait_for(lambda: self._read("code"), "the end of a fork", seconds)
        return int(self._read("code"))

    def kill(self) -> None:
        """Kill it, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def output(self) -> str:
        """Return what it printed."""
        return self._read("said")

    def _read(self, name: str) -> str:
        path = self._state / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


class Zygote:
    """A process of which runners are forked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runbook.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def start(self, notebook: Path, out: Path, options: dict[str, Any]) -> Fork:
        """Start a run, in the environment that this process has now."""
        assert self._process.stdin
        told = {"notebook": str(notebook), "out": str(out), "options": options}
        with self._lock:
            self._count += 1
            state = self._folder / str(self._count)
            state.mkdir()
            told |= {"environ": dict(os.environ), "state": str(state)}
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
        return Fork(state, out)

    def close(self) -> None:
        """End it; a run that still goes on ends by itself."""
        self._process.communicate(timeout=90)


@pytest.fixture
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Return a process of which runners are forked."""
    one = Zygote(tmp_path_factory.mktemp("forks"))
    yield one
    one.close()
