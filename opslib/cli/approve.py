"""opslib approve: approve the plan that a record shows, by a file for a later run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opslib.cli.common import Json, emit


def approve(
    record: Annotated[str, typer.Argument(help="Run id, folder of a record, or latest.")],
    file: Annotated[Path, typer.Option("--file", help="Where the approval is written.")] = Path(
        "approval.json"
    ),
    expires: Annotated[str, typer.Option("--expires", help="How long it holds.")] = "24h",
    sign: Annotated[
        str, typer.Option("--sign", help="File of an ssh key, or the id of an OpenPGP key.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the records; default: outputs/.")
    ] = None,
    json: Json = False,
) -> None:
    """Approve the plan of a record: `opslib run RUNBOOK … --approve-from FILE` applies it."""
    from opslib.core.clock import parse_duration
    from opslib.core.files import write_atomic
    from opslib.runbook import show
    from opslib.runbook.approvals import from_record, to_file
    from opslib.runbook.gates import person

    one = show(record, out)
    grant = from_record(one.result, person(), parse_duration(expires, name="--expires"))
    write_atomic(file, to_file(grant, sign))
    text = f"approved {grant.plan} of {grant.runbook} on {grant.target} until {grant.expires}"
    emit({**grant.body(), "file": str(file)}, f"{text}\n{file}", as_json=json)
