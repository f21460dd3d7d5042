"""opslib watch: the pull loop, and what it says of itself."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import (
    AcceptRewrite,
    AppName,
    Context,
    FolderPath,
    Json,
    Kubeconfig,
    Namespace,
    PruneCount,
    PrunePercent,
    Ref,
    Repo,
    Trust,
    Verify,
    cluster,
    emit,
    limits_of,
    say,
)
from opslib.core.errors import InputError

if TYPE_CHECKING:
    from opslib.reconcile.status import LoopStatus


def watch(
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Ref = "",
    app: AppName = "",
    namespace: Namespace = "",
    interval: Annotated[str, typer.Option("--interval", help="Time between polls of Git.")] = "5m",
    drift: Annotated[
        str, typer.Option("--drift", help="What to do about drift: correct or report.")
    ] = "correct",
    prune_count: PruneCount = 10,
    prune_percent: PrunePercent = 20,
    verify: Verify = "",
    trust: Trust = None,
    accept_rewrite: AcceptRewrite = False,
    once: Annotated[bool, typer.Option("--once", help="Poll once and end.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Print what the loop last said, and end.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Poll Git, apply each new revision, correct or report drift; one loop per app, by a lease.

    Ends cleanly on SIGTERM and Ctrl-C, between two writes.
    """
    from opslib.core.clock import parse_duration
    from opslib.reconcile.loop import Loop, LoopOptions
    from opslib.reconcile.session import open_session
    from opslib.source.mirror import Source
    from opslib.source.verify import verification

    period = parse_duration(interval, name="--interval")
    if period < 1:
        raise InputError(f"--interval {interval} is too short", expected="1s or more")
    if drift not in {"correct", "report"}:
        raise InputError(f"--drift {drift!r} is not known", expected="correct or report")
    signed = verification(verify, trust or ())
    server = cluster(kubeconfig, context)
    if status:
        _print_status(_read(server, app, repo, path), as_json=json)
        return
    limits = limits_of(None, prune_count, prune_percent)
    one = open_session(
        server,
        Source(repo, revision, path),
        app=app,
        namespace=namespace,
        limits=limits,
        verify=signed,
    )
    if accept_rewrite:
        # The history as it is now is accepted; another rewrite, later on, is not.
        one.fetch(accept_rewrite=True)
    stop = threading.Event()
    _on_signals(stop)
    options = LoopOptions(period, "report" if drift == "report" else "correct", once)
    last = Loop(one, options, stop, _say_stamped).run()
    if json:
        emit(last.as_dict(), "", as_json=True)
    if once and last.phase in {"error", "failed", "progressing"}:
        raise typer.Exit(1)
    if once and last.phase == "drifted":
        raise typer.Exit(4)


def _on_signals(stop: threading.Event) -> None:
    def handle(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _say_stamped(line: str) -> None:
    from opslib.core.clock import stamp
    from opslib.view.text import clean

    say(f"{stamp()[:19]}Z {clean(line)}")


def _read(server: object, app: str, repo: str, path: str) -> LoopStatus:
    from opslib.kube.client import Cluster
    from opslib.reconcile.app import App, app_of
    from opslib.reconcile.status import read_status
    from opslib.source.mirror import Mirror, Source

    assert isinstance(server, Cluster)  # noqa: S101  # told to the type checker only
    known = App(app) if app else app_of(Mirror.open(Source(repo, "", path)).url, path)
    return read_status(server, known)


def _print_status(status: LoopStatus, *, as_json: bool) -> None:
    from opslib.view.text import clean, columns

    rows = [
        ["app", status.app],
        ["source", f"{status.url} {status.ref} {status.path}".rstrip()],
        ["phase", status.phase + (f": {status.message}" if status.message else "")],
        ["last revision tried", f"{status.tried_commit[:12] or '-'} at {status.tried_at or '-'}"],
        ["last applied", f"{status.applied_commit[:12] or '-'} at {status.applied_at or '-'}"],
        *([["signed by", status.signed_by]] if status.signed_by else []),
        *([["source", status.source_error]] if status.source_error else []),
        ["health", "; ".join([status.health, *status.unhealthy])],
        ["drift", "; ".join(status.drift) or "none"],
        ["next poll", status.next_poll or "none"],
        ["holder", status.holder],
        ["written at", status.updated_at],
    ]
    emit(status.as_dict(), clean("\n".join(columns(rows))), as_json=as_json)
