"""What the verbs share: options, connecting, output."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslib.core.errors import ApprovalError

if TYPE_CHECKING:
    from opslib.core.model import Revision
    from opslib.kube.client import Cluster
    from opslib.reconcile.prune import PruneLimits
    from opslib.reconcile.session import Session
    from opslib.view.progress import Bar

Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="Kubeconfig file; default: KUBECONFIG, ~/.kube/config."),
]
Context = Annotated[
    str | None,
    typer.Option("--context", help="Context of the kubeconfig; default: its current one."),
]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace; default: that of the context.")
]
Repo = Annotated[
    str,
    typer.Option("--repo", envvar="OPSLIB_REPO", help="Git repository: a path or a URL."),
]
FolderPath = Annotated[
    str,
    typer.Option(
        "--path", envvar="OPSLIB_PATH", help="Folder in the repository; default: all of it."
    ),
]
Ref = Annotated[
    str,
    typer.Option(
        "--revision", help="Branch, tag or commit; default: the repository's default branch."
    ),
]
AppName = Annotated[
    str,
    typer.Option(
        "--app", envvar="OPSLIB_APP", help="Name of the app; default: from repository and path."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Prune = Annotated[
    list[str] | None,
    typer.Option("--prune", help="Confirm one delete by name: 'KIND NAMESPACE/NAME'. Repeatable."),
]
PruneCount = Annotated[
    int, typer.Option("--prune-count", min=0, help="Most deletes without naming each.")
]
PrunePercent = Annotated[
    float,
    typer.Option(
        "--prune-percent",
        min=0,
        max=100,
        help="The same, in percent of the inventory; a single object is always within it.",
    ),
]
AcceptRewrite = Annotated[
    bool,
    typer.Option(
        "--accept-rewrite",
        help="Go on although the branch's history was rewritten, or the commit does not follow "
        "the last applied one.",
    ),
]
Verify = Annotated[
    str,
    typer.Option(
        "--verify",
        envvar="OPSLIB_VERIFY",
        help="What must be signed by a trusted key: none, head, or every commit since the last "
        "applied one; default: head where --trust is given.",
    ),
]
Trust = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust",
        envvar="OPSLIB_TRUST",
        help="File of trusted keys: OpenPGP public keys, or allowed_signers of ssh. Repeatable.",
    ),
]
Audit = Annotated[
    str,
    typer.Option(
        "--audit",
        envvar="OPSLIB_AUDIT_LOG",
        help="Audit log of the API server, a file or folder: who did it; default: nobody knows.",
    ),
]
Timeout = Annotated[str, typer.Option("--timeout", help="Longest wait, such as 90s or 5m.")]


def out(text: str) -> None:
    """Print a result for people on standard output."""
    from opslib.runbook.redact import redacted

    sys.stdout.write(redacted(text) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Print news on standard error."""
    from opslib.runbook.redact import redacted

    sys.stderr.write(redacted(text) + "\n")
    sys.stderr.flush()


def emit(document: Any, text: str, *, as_json: bool) -> None:
    """Print a result once: as one JSON document, or as text for people."""
    from opslib.runbook.redact import redacted_json

    if not as_json:
        out(text)
        return
    shown = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write(redacted_json(shown).rstrip("\n") + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def bar() -> Iterator[Bar]:
    """Show progress on standard error while the block runs."""
    from opslib.view.progress import Bar

    with Bar() as progress:
        yield progress


def cluster(kubeconfig: Path | None, context: str | None) -> Cluster:
    """Connect to the cluster that the common options name."""
    from opslib.kube.client import connect

    return connect(kubeconfig, context)


def seconds(text: str) -> float:
    """Parse the value of --timeout."""
    from opslib.core.clock import parse_duration

    return parse_duration(text, name="--timeout")


def approved(plan_hash: str, *, yes: bool, approve: str, as_json: bool) -> None:
    """Let only a plan go on that somebody said yes to: by its hash, an option, or when asked."""
    if approve:
        if len(approve) < 12 or not plan_hash.startswith(approve):
            raise ApprovalError(
                "the approval is of another plan",
                where=f"--approve {approve}",
                expected=f"the hash of this plan: {plan_hash}",
                hint="look at the plan again and approve its hash",
            )
        return
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise ApprovalError(
            "this plan was not approved",
            hint=f"apply with --yes, or with --approve {plan_hash}",
        )
    say("")
    if not typer.confirm("Apply this plan?", err=True):
        raise ApprovalError("this plan was denied: nothing was written")


def limits_of(prune: list[str] | None, count: int, percent: float) -> PruneLimits:
    """Return the limits of a prune that the options of a verb name."""
    from opslib.reconcile.prune import PruneLimits

    return PruneLimits(count, percent, frozenset(prune or ()))


def session(
    kubeconfig: Path | None,
    context: str | None,
    repo: str,
    path: str,
    revision: str,
    app: str,
    *,
    namespace: str = "",
    limits: PruneLimits | None = None,
    accept_rewrite: bool = False,
    verify: str = "",
    trust: list[Path] | None = None,
    progress: Bar,
) -> tuple[Session, Revision]:
    """Connect to cluster and source, fetch, and return both with the pinned commit."""
    from opslib.core.imports import imported
    from opslib.source.mirror import Mirror, Source
    from opslib.source.verify import verification

    signed = verification(verify, trust or ())
    source = Source(repo, revision, path)
    with imported("opslib.reconcile.session"):  # while git fetches: both take long to begin
        mirror = Mirror.open(source, progress=progress)
        # What must be signed is held against what the cluster had last.
        ahead = (
            None if signed.on else mirror.fetch(progress=progress, accept_rewrite=accept_rewrite)
        )
    from opslib.reconcile.session import open_session

    one = open_session(
        cluster(kubeconfig, context),
        source,
        app=app,
        namespace=namespace,
        limits=limits,
        progress=progress,
        verify=signed,
        mirror=mirror,
    )
    return one, one.fetch(accept_rewrite=accept_rewrite, ahead=ahead)
