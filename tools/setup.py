"""Make .venv from requirements.lock: current, or made so; never half of one taken for whole.

Standard library only: this runs before anything is installed. `tools/setup.sh` finds the Python
for it. A stamp holds the hash of all that the environment follows from, so that a second run
takes milliseconds and no network. pip is used with the user's own configuration (index, mirrors,
proxies, certificates).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

PROJECT = Path(__file__).resolve().parents[1]
VENV = PROJECT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = PROJECT / "requirements.lock"
STAMP = VENV / "opslib-setup"  # whole, for these inputs
MADE = VENV / "opslib-made"  # made by this Python, in this folder
UNDER_WAY = VENV / "opslib-installing"  # left behind: an install was cut off
LOG = VENV / "setup.log"
PIP: tuple[str | Path, ...] = (PYTHON, "-P", "-m", "pip", "--no-input", "install")
Words = Sequence[str | Path]

HINTS = (
    (r"DO NOT MATCH THE HASHES", "the index gave another file than the locked one: do not use it"),
    (r"No space left", "make room on the disk of this folder and of the temporary folder"),
    (
        r"No matching distribution|connection|resolution|Max retries|timed out|HTTP error",
        "make the package index reachable: a mirror by PIP_INDEX_URL, a proxy by HTTPS_PROXY",
    ),
)


def main(arguments: Sequence[str]) -> int:
    """Make the environment current; with ``--check`` only say whether it is (0) or not (1)."""
    if "--check" in arguments:
        return 0 if _current() else 1
    if sys.prefix != sys.base_prefix and Path(sys.prefix).resolve() == VENV:
        # The environment may have to be made anew: its own Python cannot do that.
        base = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
        os.execv(base, [str(base), "-I", __file__, *arguments])  # noqa: S606  # no shell is wanted
    if not shutil.which("git"):
        fail("git is missing", "install it (Debian, Ubuntu: apt-get install git; macOS: brew)")
    signal.signal(signal.SIGTERM, _ended)
    try:
        with _alone():
            if not _current():
                _make()
    except KeyboardInterrupt:
        say("set-up: interrupted; the next run begins anew")
        return 130
    except OSError as error:
        fail(
            f"{error.filename or PROJECT}: {error.strerror or error}",
            "see that this folder can be written",
        )
    return 0


def _make() -> None:
    started = time.monotonic()
    reason = _reason_to_begin_anew()
    if reason:
        if VENV.exists():
            say(f"making .venv anew: {reason}")
            shutil.rmtree(VENV)
        VENV.mkdir()
        step("making .venv", [sys.executable, "-m", "venv", VENV])
        MADE.write_text(_identity())
    else:
        LOG.unlink(missing_ok=True)
    STAMP.unlink(missing_ok=True)
    UNDER_WAY.touch()
    packages = len(re.findall(r"^[A-Za-z0-9_.-]+==", LOCK.read_text(), re.MULTILINE))
    step(f"installing {packages} locked packages", [*PIP, "--require-hashes", "-r", LOCK])
    # No network: what builds the package is among the locked packages.
    alone = ("--no-index", "--no-deps", "--no-build-isolation")
    package = (*alone, "--config-settings", "editable_mode=compat", "-e", ".")
    step("installing opslib", [*PIP, *package])
    # pip compiles what it unpacks, but not what it only links; PYTHONDONTWRITEBYTECODE may be set.
    step("compiling opslib", [PYTHON, "-P", "-m", "compileall", "-q", "opslib"])
    UNDER_WAY.unlink()
    STAMP.write_text(_wanted() + "\n")
    version = ".".join(map(str, sys.version_info[:3]))
    say(f"set up: .venv with Python {version}, in {time.monotonic() - started:.0f} s")


def _current() -> bool:
    with contextlib.suppress(OSError):
        return STAMP.read_text().strip() == _wanted()
    return False


def _wanted() -> str:
    """Return the hash of all that the environment follows from."""
    parts = [_identity().encode(), LOCK.read_bytes(), (PROJECT / "pyproject.toml").read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _identity() -> str:
    """Return what an environment cannot change in place: its Python, its folder."""
    return f"{sys.version} {PROJECT}".replace("\n", " ") + "\n"


def _reason_to_begin_anew() -> str:
    if not VENV.exists():
        return "there is none"
    if not MADE.exists():
        return "it is not one that this set-up finished"
    if MADE.read_text() != _identity():
        return f"Python is now {sys.version.split()[0]}, or the folder has moved"
    if UNDER_WAY.exists() or not PYTHON.exists():
        return "an installation was cut off"
    return ""


def step(label: str, words: Words) -> None:
    """Run one command with its output in the log, and a line that shows it is alive.

    On failure the end of the log is shown, with what to do, and the set-up ends.
    """
    # Of the user's settings only those are left out that would put packages elsewhere.
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
    env |= {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    with LOG.open("ab") as sink:
        begin = sink.tell()
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, cwd=PROJECT
        )
        try:
            code = _wait(process, label, begin)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if code:
        UNDER_WAY.unlink(missing_ok=True)  # pip said no, and took back what it had begun
        text = _output(begin)
        say("\n".join(text.splitlines()[-12:]))
        hints = [hint for pattern, hint in HINTS if re.search(pattern, text, re.IGNORECASE)]
        fail(f"{label} failed", "; ".join([*hints[:1], f"the whole output is in {LOG}"]))


def _wait(process: subprocess.Popen[bytes], label: str, begin: int) -> int:
    """Wait for the end; tell the seconds, and how many packages pip has reached, meanwhile."""
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    told = -13.0  # the first line after 2 s, then one every 15 s where no terminal is
    while True:
        try:
            code = process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - started
        else:
            sys.stderr.write("\r\033[K" if terminal else "")
            return code
        if terminal:
            sys.stderr.write(f"\r\033[K{_line(label, seconds, _output(begin))}")
            sys.stderr.flush()
        elif seconds - told >= 15:
            told = seconds
            say(_line(label, seconds, _output(begin)))


def _output(begin: int) -> str:
    return LOG.read_bytes()[begin:].decode(errors="replace")


def _line(label: str, seconds: float, text: str) -> str:
    reached = len(re.findall(r"^(?:Collecting|Requirement already satisfied)", text, re.MULTILINE))
    doing = f"{reached} found, " if reached else ""
    if "\nInstalling collected" in text:
        doing = "unpacking, "
    return f"{label} … {doing}{seconds:.0f} s"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold this folder's lock: a second set-up beside this one waits, and then finds it done."""
    folder = os.open(PROJECT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this folder runs: waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _ended(signum: int, frame: FrameType | None) -> NoReturn:
    del frame
    sys.exit(128 + signum)


def say(text: str) -> None:
    """Tell the person, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fail(what: str, to_do: str) -> NoReturn:
    """Say what is wrong and what to do, and end with the exit code of bad input."""
    say(f"set-up: {what}\n  to do: {to_do}")
    sys.exit(2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
