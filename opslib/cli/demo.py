"""opslib demo: the whole way once, from Git to the cluster and back, with records as proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslib.cli.common import Json, bar, emit, say
from opslib.core.clock import human_seconds, now
from opslib.core.errors import OpslibError

if TYPE_CHECKING:
    from opslib.runbook.outcome import RunResult

GOOD, BAD = "payment:v1.4.2", "payment:v1.4.3-does-not-exist"
_LOOK = (
    'eval "$(.venv/bin/opslib sandbox env)" && kubectl get deploy payment-processor -n production'
)
_AUTHOR = {
    "GIT_AUTHOR_NAME": "Payment Team",
    "GIT_AUTHOR_EMAIL": "payments@example.com",
    "GIT_COMMITTER_NAME": "Payment Team",
    "GIT_COMMITTER_EMAIL": "payments@example.com",
}


def demo(
    name: Annotated[str, typer.Option("--name", help="Sandbox to use.")] = "default",
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the records and the repository.")
    ] = Path("outputs"),
    json: Json = False,
) -> None:
    """Start a control plane, apply the payment platform from Git, break it, explain, undo.

    Then look at what this machine is set to, change the platform by hand, and let a drift
    review say who did that and take it back.

    Each step is a runbook; each leaves a record. Ends with exit 0 when every step ended as
    the story says.
    """
    story = Story(name, folder.absolute())
    story.prepare()
    story.tell()
    emit(story.document(), story.text(), as_json=json)
    story.require()


class Story:
    """The steps of the demonstration and what came of them."""

    def __init__(self, sandbox: str, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.begun = now()
        self.steps: list[tuple[str, str, RunResult]] = []
        self.env: dict[str, str] = {}
        self.repo = folder

    def prepare(self) -> None:
        """Bring the control plane up and have a repository to work with."""
        from opslib.sandbox import cluster
        from opslib.source.example import create_example

        with bar() as progress:
            cluster.up(self.sandbox, progress=progress)
        self.env = cluster.environment(self.sandbox)
        say(f"control plane {self.sandbox} is up")
        old = sorted(self.folder.glob("demo/*/payment-platform/.git"))
        if old:
            # History goes on: a repository made anew would look like a rewritten one.
            self.repo = old[-1].parent
            self._image(GOOD, "Back to the last good release")
        else:
            self.repo = self.folder / "demo" / f"{self.begun:%Y%m%dT%H%M%S}" / "payment-platform"
            create_example(self.repo)
        say(f"repository {self.repo}")

    def tell(self) -> None:
        """Apply, break, explain, undo through Git, look again; change by hand, review, revert."""
        self._reconcile("the platform goes from Git to the cluster", "ok")
        bad = self._image(BAD, "Release v1.4.3")
        self._reconcile("a release whose image cannot be pulled", "failed", timeout="12s")
        self._rollout("why it hangs, without a shell on any node")
        self._git("revert", "--no-edit", bad)
        self._reconcile("the release is undone through Git", "ok", approve=self._reviewed())
        self._rollout("the platform is whole again", require_healthy="true")
        self._node("what this machine is set to, beside what a node should be")
        self._by_hand()
        self._review("what somebody changed by hand, by whom, and back", "all=revert")

    def _reconcile(self, title: str, expected: str, **parameters: str) -> None:
        given = {"repo": str(self.repo), "path": "production", "mode": "apply", **parameters}
        given.setdefault("in_advance", str("approve" not in given).lower())
        self._run("reconcile", title, expected, given)

    def _node(self, title: str) -> None:
        self._run("node-drift", title, "ok", {"repo": str(self.repo)}, cluster=False)

    def _by_hand(self) -> None:
        """Change the live Deployment as somebody at a terminal does: replicas and a note."""
        from opslib.sandbox import cluster

        path = "/apis/apps/v1/namespaces/production/deployments/payment-processor"
        body = {"metadata": {"annotations": {"example.com/note": "more at night"}},
                "spec": {"replicas": 5}}  # fmt: skip
        merge = "application/merge-patch+json"
        with cluster.api(self.sandbox) as api:
            api.json("PATCH", path, body, content_type=merge)

    def _review(self, title: str, decide: str) -> None:
        given = {"repo": str(self.repo), "path": "production", "decide": decide, "mode": "apply"}
        given |= {"in_advance": "true", "audit": self.env["OPSLIB_AUDIT_LOG"]}
        self._run("drift-review", title, "ok", given)

    def _reviewed(self) -> str:
        """Plan first, as a reviewer reads it; return the hash that approves this plan alone."""
        given = {"repo": str(self.repo), "path": "production", "mode": "plan"}
        self._run("reconcile", "the way back is planned, to be approved", "ok", given)
        return str(self.steps[-1][2].result["approval"]["hash"])

    def _rollout(self, title: str, **parameters: str) -> None:
        given = {"target": "deploy/payment-processor", "namespace": "production", **parameters}
        self._run("rollout", title, "ok", given)

    def _run(
        self,
        runbook: str,
        title: str,
        expected: str,
        parameters: dict[str, str],
        *,
        cluster: bool = True,
    ) -> None:
        from opslib.runbook import run
        from opslib.view.assets import plotly_js

        say(f"{len(self.steps) + 1}. {title}")
        given = {**parameters, "kubeconfig": self.env["KUBECONFIG"]} if cluster else parameters
        with bar() as progress:
            result = run(runbook, given, out=self.folder, progress=progress, html_assets=plotly_js)
        if result.outcome != expected:
            say(f"   {result.result.get('error')}")
        self.steps.append((title, expected, result))

    def _image(self, image: str, message: str) -> str:
        """Commit an image into the Deployment, if it is another; return the commit."""
        path = self.repo / "production" / "deployment.yaml"
        text = path.read_text(encoding="utf-8")
        edited = text.replace(BAD, GOOD) if image == GOOD else text.replace(GOOD, image)
        if edited != text:
            path.write_text(edited, encoding="utf-8")
            self._git("commit", "--quiet", "--all", "--message", message)
        return self._git("rev-parse", "HEAD")

    def _git(self, *words: str) -> str:
        import os

        from opslib.core.proc import run

        options = ["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"]
        done = run(
            ["git", "-C", self.repo, *options, *words],
            timeout=30,
            env={**os.environ, **_AUTHOR, "GIT_EDITOR": "true"},
        )
        return done.text.strip()

    def document(self) -> dict[str, Any]:
        """Return what ran, how it ended and where the records are."""
        return {
            "ok": self.ok,
            "sandbox": self.sandbox,
            "repository": str(self.repo),
            "kubeconfig": self.env["KUBECONFIG"],
            "seconds": round((now() - self.begun).total_seconds(), 1),
            "steps": [
                {
                    "title": title,
                    "runbook": result.runbook,
                    "outcome": result.outcome,
                    "expected": expected,
                    "record": str(result.html),
                    "verified": self.verified(result),
                }
                for title, expected, result in self.steps
            ],
        }

    @property
    def ok(self) -> bool:
        return all(
            result.outcome == expected and self.verified(result)
            for _, expected, result in self.steps
        )

    @staticmethod
    def verified(result: RunResult) -> bool:
        """Tell whether a record is as it was written, as `opslib records verify` does."""
        from opslib.runbook.verify import verify

        return verify(result.folder).ok

    def text(self) -> str:
        """Return the end of the demonstration for people."""
        from opslib.view.text import columns

        rows = [["STEP", "RUNBOOK", "OUTCOME", "RECORD"]]
        rows += [[title, r.runbook, r.outcome, str(_near(r.html))] for title, _, r in self.steps]
        took = human_seconds((now() - self.begun).total_seconds())
        return "\n".join(
            [
                "",
                *columns(rows),
                "",
                f"All steps ended as they should, in {took}." if self.ok else "A step went wrong.",
                "Each record verifies: opslib records verify." if self.ok else "",
                f"The repository: {_near(self.repo)}",
                f"The cluster:    {_LOOK}",
            ]
        )

    def require(self) -> None:
        """Fail where a step did not end as the story says."""
        wrong = [
            f"{title}: {r.outcome}" if self.verified(r) else f"{title}: its record was changed"
            for title, expected, r in self.steps
            if r.outcome != expected or not self.verified(r)
        ]
        if wrong:
            raise OpslibError("a step did not end as it should", where="; ".join(wrong))


def _near(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
