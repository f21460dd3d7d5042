"""A kernel whose runner was killed: it does nothing more, so what is resumed happens once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from opslib import runbook

from .conftest import LOAD, Make, Runner, Zygote, code, parameters, wait_for
from .test_faults import _gone

STEPS = 20

WORK = f"""
import os, time
from pathlib import Path

def write(name):
    with open("log", "a") as log:
        log.write(f"{{name}}\\n")

for n in range({STEPS}):
    runbook.once(f"e{{n}}", lambda: write(f"e{{n}}"))
    if n == 5 and not os.path.exists("between"):
        runner = os.getppid()
        Path("between").write_text("")
        while os.getppid() == runner:
            time.sleep(0.001)
"""
"""Between two effects it waits for the end of its runner, once, and would go on after it."""

LATE = """
import ctypes, os, signal, time
from pathlib import Path
from opslib.core.errors import OpslibError
from opslib.runbook import launcher

ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
end, os._exit = os._exit, lambda code: None  # what ipykernel calls once it has noticed

if p.begun:
    runbook.once("first", lambda: None)
os.kill(int(os.environ[launcher.RUNNER]), signal.SIGKILL)
while os.getppid() == int(os.environ[launcher.RUNNER]):
    time.sleep(0.001)
said = []
for ask in (
    lambda: runbook.once("late", lambda: said.append("it was done")),
    lambda: runbook.gate(runbook.Plan("a" * 64, "a plan", "demo"), apply=True, in_advance=True),
    lambda: runbook.attach("late.txt", "text"),
):
    try:
        ask()
        said.append("not refused")
    except OpslibError as error:
        said.append(str(error))
Path("said.tmp").write_text("\\n\\n".join(said))
os.rename("said.tmp", "said")
end(1)
"""
"""A kernel that notices late, as where the system cannot end it with its runner."""


def test_what_an_orphan_would_do_is_done_by_the_resumed_run_alone(
    make: Make, zygote: Zygote, tmp_path: Path
) -> None:
    """The runner alone is killed between two effects of a cell; each effect happened once."""
    log = tmp_path / "log"
    fork = zygote.start(make(LOAD, code(WORK)), tmp_path / "out", {})
    kernel = fork.kernel()
    wait_for((tmp_path / "between").exists, "the sixth effect")
    fork.kill()
    assert fork.wait() == -signal.SIGKILL
    resumed = runbook.resumed(fork.folder())
    assert _gone(kernel), "resumed beside the kernel of the run before"
    assert resumed.outcome == "ok", resumed.result["error"]
    assert log.read_text().split() == [f"e{n}" for n in range(STEPS)]


def test_the_system_ends_a_kernel_with_its_runner(
    make: Make, zygote: Zygote, tmp_path: Path
) -> None:
    """In the midst of a cell that goes on, and although ipykernel's own look does nothing here."""
    source = (
        "import os\nfrom pathlib import Path\nos._exit = lambda code: None\n"
        "while True:\n    Path('beat').write_text('x')"
    )
    fork = zygote.start(make(code(source)), tmp_path / "out", {})
    kernel = fork.kernel()
    wait_for((tmp_path / "beat").exists, "the first beat")
    fork.kill()
    wait_for(partial(_gone, kernel), "the end of its kernel")


def test_the_sockets_of_a_killed_run_go_with_the_next(
    make: Make, start: Callable[..., Runner], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its private folder lies in the temporary one until somebody starts again; no longer."""
    place = tmp_path_factory.getbasetemp() / f"opslib-{os.geteuid()}"
    killed = start(make(code("print('here', flush=True)\nimport time\ntime.sleep(60)")))
    killed.said("here")
    (folder,) = place.iterdir()
    assert (folder / "runner.sock").exists()
    killed.process.kill()
    killed.end()
    assert folder.exists()
    assert start(make(code("1"), name="next")).end()[0] == 0
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("begun", [True, False])
def test_an_orphan_that_goes_on_is_refused(
    make: Make, zygote: Zygote, tmp_path: Path, begun: bool
) -> None:
    """No effect, no gate and no file without the runner: an orphan is no session of its own."""
    path = make(parameters(f"begun: bool = {begun}"), LOAD, code(LATE))
    fork = zygote.start(path, tmp_path / "out", {})
    assert fork.wait() == -signal.SIGKILL
    wait_for((tmp_path / "said").exists, "what the orphan was told")
    said = (tmp_path / "said").read_text().split("\n\n")
    assert len(said) == 3
    assert all("the runner of this run does not answer" in one for one in said), said
    assert "late" not in (fork.folder() / "events.jsonl").read_text()
