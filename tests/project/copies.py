"""A project of its own for the set-up: the real scripts, pip and venv, but nothing to download.

The lock is empty and the package builds itself by a backend in its own folder, so that these
tests need no network and take seconds. What they prove is the set-up, not the lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
FRAME = ("Makefile", "tools/setup.sh", "tools/setup.py")
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "opslib"
version = "0.1.0"
"""
BACKEND = '''
"""Builds a wheel that points at this folder; waits for ever while HOLD names a file."""
import os, pathlib, time, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    hold = os.environ.get("HOLD")
    while hold and os.path.exists(hold):
        time.sleep(0.05)
    pathlib.Path("settings.txt").write_text(repr(config_settings))
    name = "opslib-0.1.0-py3-none-any.whl"
    info = "opslib-0.1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("opslib_here.pth", os.getcwd())
        wheel.writestr(
            info + "METADATA", "Metadata-Version: 2.1\\nName: opslib\\nVersion: 0.1.0\\n"
        )
        wheel.writestr(
            info + "WHEEL",
            "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        )
        wheel.writestr(info + "RECORD", "")
    return name
'''


@dataclass(frozen=True)
class Ended:
    """How a set-up ended."""

    code: int
    said: str
    seconds: float


class Copy:
    """A folder with the frame of the project in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stamp = folder / ".venv" / "opslib-setup"
        self.log = folder / ".venv" / "setup.log"
        self.python = folder / ".venv" / "bin" / "python"
        for name in FRAME:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, target)
        (folder / "backend.py").write_text(BACKEND)
        (folder / "opslib.py").write_text("")
        self.fresh()

    def fresh(self) -> None:
        """Put back the lock and pyproject.toml as they were made."""
        (self.folder / "requirements.lock").write_text("# nothing\n")
        (self.folder / "pyproject.toml").write_text(PYPROJECT)

    def start(self, **more: str) -> subprocess.Popen[str]:
        """Begin `make setup` in a session of its own, without an index to reach."""
        return subprocess.Popen(
            ["make", "setup"],
            cwd=self.folder,
            env=environment({"PIP_NO_INDEX": "1", "PYTHON": base_python(), **more}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def setup(self, **more: str) -> Ended:
        """Run `make setup` to its end."""
        started = time.monotonic()
        with ending(self.start(**more)) as process:
            _, said = process.communicate(timeout=120)
        return Ended(process.returncode, said, time.monotonic() - started)

    def imports(self) -> bool:
        """Say whether the environment's Python has the package."""
        words = [str(self.python), "-I", "-c", "import opslib"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


class ending:  # noqa: N801  # reads as the word it is: with ending(process)
    """Kill what is left of a process's session, by the id of its group, when the test is over."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __enter__(self) -> subprocess.Popen[str]:
        """Hand out the process."""
        return self.process

    def __exit__(self, *_: object) -> None:
        """Kill it and its children, and close its pipe."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()


def base_python() -> str:
    """Return the Python that this suite's environment was made with."""
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return str(Path(sys.base_prefix, "bin", minor))


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this environment without what an outer make or a user's pip would change."""
    out = ("MAKE", "MFLAGS", "PIP_", "PYTHON", "VIRTUAL_ENV")
    return {k: v for k, v in os.environ.items() if not k.startswith(out)} | dict(more)
