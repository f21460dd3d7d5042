"""opslib bench: is this disk good enough for etcd, and is it better than the other one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslib.cli.common import Json, bar, emit, say, seconds
from opslib.core.errors import InputError

if TYPE_CHECKING:
    from opslib.bench.probe.result import Result
    from opslib.bench.probe.run import Tell
    from opslib.view.progress import Bar

app = typer.Typer(help="Measure disks and networks as etcd needs them.", no_args_is_help=True)

Dir = Annotated[Path, typer.Option("--dir", help="Folder on the disk to measure.")]
Out = Annotated[Path | None, typer.Option("--out", help="Result file to write (Parquet).")]
AnyFilesystem = Annotated[
    bool, typer.Option("--any-filesystem", help="Measure memory and overlays too; never a pass.")
]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 unless the verdict is pass.")]


@app.command()
def disk(
    folder: Dir = Path(),
    lasting: Annotated[
        str, typer.Option("--seconds", help="How long, such as 60, 5m or 1h.")
    ] = "60",
    size: Annotated[int, typer.Option("--size", min=1, max=1 << 20, help="Bytes a record.")] = 2300,
    block: Annotated[str, typer.Option("--block", help="Length of a block.")] = "10s",
    pause: Annotated[str, typer.Option("--pause", help="Pause between blocks.")] = "0s",
    warmup: Annotated[str, typer.Option("--warmup", help="Not counted at the start.")] = "5s",
    limit: Annotated[float, typer.Option("--p99-ms", min=0.001, help="Limit of the p99.")] = 10.0,
    out_file: Out = None,
    any_filesystem: AnyFilesystem = False,
    check: Check = False,
    as_json: Json = False,
) -> int:
    """Write as etcd's log does, keep every latency, and judge them."""
    from opslib.bench.probe import result, run, wal

    if out_file:
        result.writable(str(out_file))
    settings = wal.Settings(
        seconds=_positive(lasting, "--seconds"),
        record=size,
        block_seconds=_positive(block, "--block"),
        pause_seconds=seconds(pause),
        warmup_seconds=seconds(warmup),
    )
    with bar() as progress:
        made = run.disk(
            str(folder), settings, any_filesystem=any_filesystem, tell=_teller(progress)
        )
    if out_file:
        result.write(str(out_file), made)
        say(f"written: {out_file}")
    code = _judged([made], limit, check=check, as_json=as_json)
    return code if made.complete else 128 + int(made.document.get("signal") or 0) or 1


def _positive(text: str, name: str) -> float:
    from opslib.core.clock import parse_duration

    value = parse_duration(text, name=name)
    if value <= 0:
        raise InputError(f"{name} is not above 0", where=name)
    return value


def _teller(progress: Bar) -> Tell:
    def tell(what: str, done: float, total: float) -> None:
        progress.update(what, done, total)

    return tell


def _judged(runs: Sequence[Result], limit: float, *, check: bool, as_json: bool) -> int:
    from opslib.bench.verdict import Answer, judge
    from opslib.view.bench import verdict_text

    verdict = judge(runs, limit)
    documents = [run.document for run in runs]
    document: dict[str, Any] = {
        "verdict": verdict.as_dict(),
        "runs": [{**one, "blocks": len(one["blocks"])} for one in documents],
    }
    emit(document, verdict_text(verdict, documents), as_json=as_json)
    return 1 if check and verdict.answer is not Answer.PASS else 0


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="Result files of one disk.")],
    limit: Annotated[float, typer.Option("--p99-ms", min=0.001, help="Limit of the p99.")] = 10.0,
    check: Check = False,
    as_json: Json = False,
) -> int:
    """Judge result files that were carried home; several of one disk are judged together."""
    return _judged(_read(files), limit, check=check, as_json=as_json)


def _read(files: Sequence[Path]) -> list[Result]:
    from opslib.bench.probe import result

    found = [result.read(str(path)) for path in files]
    for run in found:
        if "sync_ns" not in run.columns:
            raise InputError(f"a result of the probe {run.probe} has no syncs", where=run.name)
    return found


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="Result files of A.")],
    other: Annotated[list[Path], typer.Option("--with", help="Result file of B. Repeatable.")],
    margin: Annotated[
        float, typer.Option("--margin", help="What counts as equal: 1.25 is 0.8 to 1.25.")
    ] = 1.25,
    as_json: Json = False,
) -> None:
    """Compare A with B: ratios of p50 and p99 with intervals, or "no difference"."""
    from opslib.bench.compare import compare as compared
    from opslib.view.bench import comparison_text

    found = compared(_read(files), _read(other), margin=margin)
    emit(found.as_dict(), comparison_text(found), as_json=as_json)


@app.command()
def portable(
    out_file: Annotated[Path, typer.Option("--out", help="File to write.")] = Path(
        "opslib-bench.pyz"
    ),
) -> None:
    """Write the probe as one file that needs Python 3.8 and nothing else."""
    from opslib.bench import pack

    pack.write(out_file)
    say(f"written: {out_file}; on the server: python3 {out_file.name} disk --dir DIR --out FILE")
