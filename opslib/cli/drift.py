"""opslib drift list, explain: what differs from Git, who did it, since when."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslib.cli.common import (
    AppName,
    Audit,
    Context,
    FolderPath,
    Json,
    Kubeconfig,
    Namespace,
    Repo,
    Trust,
    Verify,
    bar,
    cluster,
    emit,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opslib.drift.model import Drift, Review
    from opslib.drift.review import Taken
    from opslib.reconcile.session import Session

app = typer.Typer(
    help="Drift: what differs from Git, who did it, and what is done about it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Applied = Annotated[
    str,
    typer.Option("--revision", help="Commit to compare with; default: the last applied one."),
]
Saved = Annotated[
    Path | None,
    typer.Option(
        "--review", help="Look at a saved review (or a record with one), not at the cluster."
    ),
]
Ids = Annotated[
    list[str], typer.Argument(help="Ids (four digits or more), objects, people, new or all.")
]


@dataclass(frozen=True)
class Where:
    """What the common options of the group name."""

    repo: str
    path: str
    revision: str
    app: str
    namespace: str
    kubeconfig: Path | None
    context: str | None
    verify: str
    trust: list[Path] | None
    audit: str

    def taken(self) -> tuple[Session, Taken]:
        """Take the review; without a revision the last applied commit is compared with."""
        from opslib.drift.remember import remember
        from opslib.drift.review import taken
        from opslib.reconcile.session import open_session
        from opslib.source.mirror import Source
        from opslib.source.verify import verification

        with bar() as progress:
            one = open_session(
                cluster(self.kubeconfig, self.context),
                Source(self.repo, self.revision, self.path),
                app=self.app,
                namespace=self.namespace,
                progress=progress,
                verify=verification(self.verify, self.trust or ()),
            )
            found = taken(one, one.fetch() if self.revision else None, audit=self.audit)
        known = remember(found, note=not self.revision)
        for line in known.warnings:
            say(f"warning: {line}")
        return one, known.taken


def review_of(saved: Path | None, where: Where) -> Review:
    """Return the saved review, or the one that is taken now."""
    if saved is None:
        return where.taken()[1].review
    from opslib.drift.saved import read_review

    return read_review(saved)


def chosen(ids: Sequence[str], review: Review) -> list[Drift]:
    """Return the differences that the arguments name, each once, in the review's order."""
    from opslib.drift.choices import about
    from opslib.drift.order import ordered

    found = {one.id for what in ids for one in about(what, review.drifts)}
    return [one for one in ordered(review.drifts) if one.id in found]


def review_text(review: Review) -> str:
    """Return a review for people: its first line, the table, and what it could not see."""
    from opslib.drift.encode import headline
    from opslib.view.drift import groups_of, table_text
    from opslib.view.text import clean

    lines = [clean(headline(review))]
    if review.drifts:
        lines += ["", table_text(groups_of(review.drifts)), ""]
    lines += [f"warning: {clean(text)}" for text in review.warnings]
    lines += [clean(f"not reviewed: {gap.what}: {gap.why}") for gap in review.unread]
    if review.explained:
        lines.append(f"{len(review.explained)} more differ by right; --json names them.")
    if review.audit:
        lines.append(clean(review.audit))
    return "\n".join(lines)


@app.command("list")
def list_drifts(
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Applied = "",
    app: AppName = "",
    namespace: Namespace = "",
    audit: Audit = "",
    review: Saved = None,
    verify: Verify = "",
    trust: Trust = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """List what differs from Git, what matters first, with who did it and since when.

    Exit 0 whether or not something differs; `opslib check` exits 4.
    """
    from opslib.drift.encode import review_document

    where = Where(
        repo, path, revision, app, namespace, kubeconfig, context, verify, trust, audit
    )  # fmt: skip
    found = review_of(review, where)
    emit(review_document(found) if json else None, review_text(found), as_json=json)


@app.command()
def explain(
    ids: Ids,
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Applied = "",
    app: AppName = "",
    namespace: Namespace = "",
    audit: Audit = "",
    review: Saved = None,
    verify: Verify = "",
    trust: Trust = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Tell all that is known of some differences, and what each answer would do."""
    from opslib.drift.encode import drift_row
    from opslib.view.driftexplain import explain as told

    where = Where(
        repo, path, revision, app, namespace, kubeconfig, context, verify, trust, audit
    )  # fmt: skip
    drifts = chosen(ids, review_of(review, where))
    document = [{**drift_row(one), "answers": answers(one)} for one in drifts] if json else None
    emit(document, "\n\n".join(told(one) for one in drifts), as_json=json)


def answers(one: Drift) -> dict[str, Any]:
    """Return what each answer would do, by its name."""
    from opslib.drift.choices import ANSWERS, would

    return {str(answer): would(one, answer) for answer in ANSWERS}
