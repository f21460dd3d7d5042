"""Runs the cells, and knows why it stopped.

nbclient's own loop has no deadline for a run and ends the kernel at the first signal;
this one interrupts the cell, gives it time for its clean-up, and then ends the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import Any

from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient

from opslib.core.errors import OpslibError
from opslib.core.secrecy import SOCKET
from opslib.runbook import channel, kernel, steps
from opslib.runbook.facts import ERROR_MIME
from opslib.runbook.manager import Manager
from opslib.runbook.notebook import runs_code, tags_of
from opslib.runbook.outcome import OK, Ending, Outcome, RunError, ending
from opslib.runbook.secretline import Channel
from opslib.runbook.session import Session
from opslib.runbook.steps import Step
from opslib.runbook.widgets import keep_state

_TICK = 0.25
"""Seconds between two looks whether a save is due."""
_IOPUB_SECONDS = 120
"""A chatty cell may answer long before its output has arrived; nbclient's 4 s lose output."""


class Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill is untyped
    """One kernel, one pass over the cells; ``session.ending`` says how it went."""

    def __init__(self, manager: Manager, session: Session, **options: Any) -> None:
        super().__init__(manager, **options)
        self.session = session
        self.kernel_scratch = kernel.socket_folder()
        self.kernel_folder = self.kernel_scratch.path
        self.km = self.own_km = kernel.new_manager(self.kernel_folder)
        self.secrets = Channel(self.kernel_folder)
        self.voice = kernel.Voice()
        self.line: channel.Line | None = None
        self.left_early = False
        self.on_cell_executed = self._look_at_reply
        self.iopub_timeout = _IOPUB_SECONDS
        self.store_widget_state = True
        self.coalesce_streams = False  # see streams.py, which the manager calls

    def execute(self, **_: Any) -> Any:
        """Run the cells in a thread of their own: the caller may have an event loop running."""
        failure: list[BaseException] = []

        def work() -> None:
            try:
                asyncio.run(self._main())
            except BaseException as error:  # noqa: BLE001  # handed to the caller's thread
                failure.append(error)

        worker = threading.Thread(target=work, name="opslib-run")
        with self.session.stopper.on_signals():
            worker.start()
            while worker.is_alive():
                worker.join(0.2)
        if failure:
            raise failure[0]
        return self.nb

    async def _main(self) -> None:
        self.session.stopper.attach()
        saver = asyncio.create_task(self._save_now_and_then())
        try:
            if (problem := await self._start()) is None:
                problem = await self._cells()
            self.session.ending = problem or OK
        finally:
            saver.cancel()
            await asyncio.gather(saver, return_exceptions=True)
            await self._end_kernel()
            keep_state(self)

    async def _save_now_and_then(self) -> None:
        fence = self.session.fence
        while True:
            await asyncio.sleep(_TICK)
            if fence is not None and not fence():
                fence = None
                text = "the lock was lost: its holder could not renew it in time"
                self.session.stopper.request(ending(Outcome.FAILED, RunError("LockLost", text)))
            try:
                self.nb_man.save_if_due()
            except OpslibError as error:
                why = RunError("RecordNotWritten", str(error))
                self.session.stopper.request(ending(Outcome.FAILED, why))

    async def _start(self) -> Ending | None:
        """Start the kernel; return an ending when that fails, is stopped or takes too long."""
        env = None if self.session.env is None else dict(self.session.env)
        if env is not None and self.session.calls is not None:
            self.line = channel.Line(self.kernel_folder / channel.NAME, self.session.calls)
            env[channel.CHANNEL] = str(self.line.path)
        self.session.progress.update("starting the kernel", 0, self.nb_man.steps)
        starting = asyncio.ensure_future(self._kernel(env))
        reason = await self._watch(starting, self.session.left())
        if reason is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return reason
        try:
            starting.result()
        except (RuntimeError, OSError) as error:
            text = f"the kernel did not start: {error}"
            return ending(Outcome.KERNEL_DEAD, RunError("KernelNotStarted", text))
        self.session.event("kernel-start", pid=self.own_km.provisioner.pid)
        return None

    async def _kernel(self, env: dict[str, str] | None) -> None:
        env = {**(os.environ if env is None else env), SOCKET: self.secrets.address}
        end = self.voice.end
        await self.async_start_new_kernel(
            cwd=str(self.session.cwd), stdout=end, stderr=end, env=env
        )
        self.voice.started()
        await self.async_start_new_kernel_client()
        info = await self.async_wait_for_reply(self.kc.kernel_info())
        self.nb.metadata["language_info"] = info["content"]["language_info"]

    async def _cells(self) -> Ending | None:
        for index, cell in enumerate(self.nb.cells):
            if not runs_code(cell):
                self.nb_man.passed(cell)
                continue
            if self.skip_cells_with_tag in tags_of(cell):
                self.nb_man.cell_end(cell, index, Outcome.SKIPPED)
                continue
            if (why := self.session.stopper.why) is not None:
                return why
            if self.session.left() == 0.0:
                return self.session.too_late()
            problem = await self._cell(cell, index)
            if problem is not None or self.left_early:
                return problem
        return None

    async def _cell(self, cell: Any, index: int) -> Ending | None:
        """Run one cell, again where it says that it may be; return what ends the run with it."""
        step = steps.step_of(cell)
        attempt = 1
        while True:
            self.nb_man.cell_start(cell, index)
            problem, stuck = await self._attempt(cell, index, step)
            if problem is None:
                self.nb_man.cell_end(cell, index, Outcome.OK)
                return None
            if stuck or attempt > step.retries or not _may_pass(problem) or self.left_early:
                break
            wait = step.pause(attempt)
            left = self.session.left()
            if left is not None and left <= wait:
                break
            self.nb_man.cell_again(index, problem, wait)
            if (stopped := await self._pause(wait)) is not None:
                problem = stopped
                break
            attempt += 1
        problem = _at(problem, index)
        _leave_a_note(cell, problem)
        self.nb_man.cell_end(cell, index, problem.outcome)
        return problem

    async def _attempt(self, cell: Any, index: int, step: Step) -> tuple[Ending | None, bool]:
        """Run a cell once; return how it failed, and whether the kernel is still busy with it."""
        task = asyncio.ensure_future(self.async_execute_cell(cell, index))
        problem = await self._watch(task, self.session.limit(step.timeout), step.timeout)
        stuck = False
        if problem is not None:
            stuck = not await self._interrupt(task)
            problem = self.session.cleaned_up(problem)
        else:
            problem = await self._judge(task, cell)
        self.nb_man.join_streams(cell, index)
        return problem, stuck

    async def _pause(self, seconds: float) -> Ending | None:
        """Wait before the next attempt; return why it must not be made."""
        asked = asyncio.ensure_future(self.session.stopper.asked())
        await asyncio.wait({asked}, timeout=seconds)
        asked.cancel()
        return self.session.stopper.why

    async def _watch(
        self, task: asyncio.Future[Any], limit: float | None, step: float | None = None
    ) -> Ending | None:
        """Wait for a task, a wish to stop, or the limit in seconds; return why it must stop."""
        asked = asyncio.ensure_future(self.session.stopper.asked())
        try:
            await asyncio.wait({task, asked}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if task.done():
            return None
        return self.session.stopper.why or self.session.too_late(step)

    async def _interrupt(self, task: asyncio.Future[Any]) -> bool:
        """Interrupt the cell and wait for its clean-up; False when it goes on regardless."""
        with contextlib.suppress(RuntimeError, OSError):
            await self.own_km.interrupt_kernel()
        twice = asyncio.ensure_future(self.session.stopper.asked_twice())
        await asyncio.wait(
            {task, twice}, timeout=self.session.grace, return_when=asyncio.FIRST_COMPLETED
        )
        twice.cancel()
        ended = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return ended

    async def _judge(self, task: asyncio.Future[Any], cell: Any) -> Ending | None:
        """Say what the end of a cell means for the run."""
        try:
            task.result()
        except DeadKernelError:
            died = await kernel.how_it_died(self.own_km)
            return ending(Outcome.KERNEL_DEAD, RunError("KernelDied", died))
        except CellTimeoutError as error:
            return ending(Outcome.FAILED, RunError("OutputLost", str(error).splitlines()[0]))
        except CellExecutionError as error:
            if error.ename == "SystemExit" and error.evalue in {"", "0", "None"}:
                self.left_early = True
                _replace_exit(cell)
                return None
            return _failed(error.ename, error.evalue, cell)
        return None

    def _look_at_reply(self, execute_reply: dict[str, Any], **_: Any) -> None:
        """Notice exit() and quit(): the kernel says that it is going to leave."""
        payload = execute_reply["content"].get("payload") or []
        self.left_early = any(one.get("source") == "ask_exit" for one in payload)

    async def _end_kernel(self) -> None:
        ended = self.session.ending or OK
        gentle = (Outcome.OK, Outcome.FAILED, Outcome.DENIED)
        polite = ended.outcome in gentle and not self.left_early
        if self.kc is not None:
            self.kc.stop_channels()
        await kernel.remove(self.own_km, self.kernel_scratch, now=not polite)
        self.secrets.close()
        if self.line is not None:
            await asyncio.to_thread(self.line.close)
        if words := await asyncio.to_thread(self.voice.words):
            with contextlib.suppress(OpslibError):  # a full disk has been reported already
                self.session.event("kernel-output", text=words)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for one in others:
            one.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _failed(name: str, message: str, cell: Any) -> Ending:
    """Return the ending for a cell that raised; an opslib error brings its own exit code."""
    found = [
        output.data[ERROR_MIME]
        for output in cell.outputs
        if output.output_type == "display_data" and ERROR_MIME in output.data
    ]
    if not found:
        return ending(Outcome.FAILED, RunError(name, message))
    detail = dict(found[-1])
    kind = detail.get("kind")
    special = {"denied", "timeout", "interrupted"}
    outcome = Outcome(kind) if kind in special else Outcome.FAILED
    return Ending(outcome, int(detail.get("exit_code", 1)), RunError(name, message, detail=detail))


def _may_pass(problem: Ending) -> bool:
    """Tell whether another attempt can end otherwise: not a refusal, a wish or wrong input."""
    if problem.outcome not in (Outcome.FAILED, Outcome.TIMEOUT):
        return False
    decided = problem.error is not None and problem.error.name in ("SystemExit", "OutputLost")
    return problem.exit_code not in (2, 3, 4) and not decided


def _at(problem: Ending, index: int) -> Ending:
    error = problem.error or RunError(problem.outcome.value, "")
    placed = RunError(error.name, error.message, index, error.detail)
    return Ending(problem.outcome, problem.exit_code, placed)


def _leave_a_note(cell: Any, problem: Ending) -> None:
    """Say in the cell itself why it ended, where the kernel could not."""
    error = problem.error
    if error is None or problem.outcome in (Outcome.FAILED, Outcome.DENIED):
        return
    text = f"{error.name}: {error.message}"
    cell.outputs.append(
        new_output("error", ename=error.name, evalue=error.message, traceback=[text])
    )


def _replace_exit(cell: Any) -> None:
    """Show sys.exit(0) as the end it is, not as an error with a traceback."""
    note = "The runbook ended itself here with sys.exit(0); the cells below did not run."
    cell.outputs = [
        output
        for output in cell.outputs
        if not (output.output_type == "error" and output.ename == "SystemExit")
        and not (output.output_type == "stream" and "To exit: use 'exit'" in output.text)
    ]
    cell.outputs.append(new_output("display_data", data={"text/plain": note}))
