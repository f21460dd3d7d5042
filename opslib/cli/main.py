"""The tree of verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from opslib import __version__
from opslib.cli import (
    approve,
    bench,
    demo,
    driftacts,
    node,
    notify,
    plan,
    records_more,
    rollout,
    sandbox,
    schedule,
    seal,
    seal_files,
    seal_judge,
    seal_renew,
    upgrade,
    vault,
    watch,
)
from opslib.cli import run as run_verb
from opslib.core.errors import Interrupted, OpslibError

# typer brings its own copy of click or uses the installed one; this is whichever it raises.
_USAGE_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="opslib",
    help="Operations on Kubernetes from Git, as notebooks. Every verb takes --json.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show the stack of an error."),
) -> None:
    """Read the options that stand before the verb."""
    if debug:
        os.environ["OPSLIB_DEBUG"] = "1"
    if version:
        typer.echo(f"opslib {__version__}")
        raise typer.Exit


app.add_typer(sandbox.app, name="sandbox")
app.command("upgrade")(upgrade.upgrade)
app.command("plan")(plan.plan)
app.command("apply")(plan.apply)
app.command("check")(plan.check)
app.command("watch")(watch.watch)
app.add_typer(driftacts.app, name="drift")
app.add_typer(rollout.app, name="rollout")
app.add_typer(node.app, name="node")
app.command("run")(run_verb.run)
app.add_typer(records_more.app, name="records")
seal_files.register(seal.app)
seal_judge.register(seal.app)
seal_renew.register(seal.app)
seal.app.add_typer(vault.app, name="vault")
app.add_typer(seal.app, name="seal")
app.add_typer(bench.app, name="bench")
app.add_typer(schedule.app, name="schedule")
app.add_typer(notify.app, name="notify")
app.command("approve")(approve.approve)
app.command("demo")(demo.demo)


def run(args: Sequence[str]) -> int:
    """Run one verb and return its exit code; errors are told in one message."""
    try:
        code = app(run_verb.joined(args), standalone_mode=False)
    except OpslibError as error:
        return _tell(error, as_json="--json" in args)
    except _USAGE_ERROR as error:
        error.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return _tell(Interrupted("interrupted"), as_json="--json" in args)
    except BrokenPipeError:
        # The reader has what it wanted (`opslib … | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _tell(_of_the_system(error), as_json="--json" in args)
    return code if isinstance(code, int) else 0


def _of_the_system(error: OSError) -> OpslibError:
    """Say what the system refused: a full disk, a folder that nobody may write to."""
    hint = "make room there" if error.errno in {errno.ENOSPC, errno.EDQUOT} else None
    where = str(error.filename) if error.filename else None
    return OpslibError(error.strerror or str(error), where=where, hint=hint)


def _tell(error: OpslibError, *, as_json: bool) -> int:
    from opslib.runbook.redact import redacted, redacted_json
    from opslib.view.text import clean

    if os.environ.get("OPSLIB_DEBUG"):
        sys.stderr.write(redacted(traceback.format_exc()))
    if as_json:
        sys.stdout.write(redacted_json(json.dumps({"error": error.as_dict()}, indent=2)) + "\n")
    sys.stderr.write(f"opslib: {redacted(clean(str(error)))}\n")
    return error.exit_code
