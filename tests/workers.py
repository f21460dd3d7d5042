"""The suite in two processes, each with a control plane of its own; a file's tests stay together.

Half of what the suite takes is waiting, on one of two cores. A test that holds the machine to a
time says so by the mark ``alone``: while it runs, the other process rests between two tests.
One file, a word to look for (-k) or a debugger needs no second process and gets none; ``-n 0``
and ``-n 2`` say it by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

_LOCKS = pytest.StashKey[Path]()

PROCESSES = 2
"""No more, on any machine: nobody has measured what deadlines hold beside three others."""

TOGETHER = ("tests/browser/", "tests/faults/test_disasters", "tests/bench/")
"""What stays in one process beside the tests of one file, by how the paths begin: they share a
JupyterLab that takes seconds to start, count what the others did, or measure one disk."""


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes ``-n auto`` means; 0 is this one."""
    option = config.option
    few = option.keyword or option.capture == "no" or option.collectonly
    folders = all((config.invocation_params.dir / argument).is_dir() for argument in config.args)
    return 0 if few or not folders or (os.cpu_count() or 1) < PROCESSES else PROCESSES


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Hand out the tests a file at a time, in the order in which one process would run them."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return next((start for start in TOGETHER if file.startswith(start)), file)

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Make the folder of the two locks; let SIGTERM end all as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.stash[_LOCKS] = Path(tempfile.mkdtemp(prefix="opslib-tests-locks-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a process where the locks are."""
    node.workerinput["locks"] = str(node.config.stash[_LOCKS])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the locks, where they were made."""
    if _LOCKS in config.stash:
        shutil.rmtree(config.stash[_LOCKS], ignore_errors=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold the machine for a test that needs it alone; the test's own time begins after that."""
    worker = getattr(item.config, "workerinput", None)
    if worker is None:
        return (yield)
    how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    with _locked(worker, "door", fcntl.LOCK_EX) as door, _locked(worker, "room", how):
        # Who waits for the room holds the door: the other process cannot slip in again.
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)


@contextlib.contextmanager
def _locked(worker: dict[str, str], name: str, how: int) -> Iterator[IO[bytes]]:
    with Path(worker["locks"], name).open("wb") as stream:
        fcntl.flock(stream, how)
        yield stream
        # Closing is not enough: a child that a test forked has the file open, too.
        fcntl.flock(stream, fcntl.LOCK_UN)
