"""opslib bench: is this disk good enough for etcd, and is it better than the other one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslib.cli.common import Json, bar, emit, say, seconds
from opslib.core.errors import InputError

if TYPE_CHECKING:
    from opslib.bench.etcd import Metrics as EtcdMetrics
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
Metrics = Annotated[
    str, typer.Option("--metrics", help="Address of a running etcd's metrics, to lay over it.")
]


@app.command()
def disk(
    folder: Dir = Path(),
    lasting: Annotated[
        str, typer.Option("--seconds", help="How long, such as 60, 5m or 1h.")
    ] = "60",
    size: Annotated[
        int | None,
        typer.Option(
            "--size", min=1, max=1 << 20, help="Bytes of a record; default: 2300, or that etcd's."
        ),
    ] = None,
    block: Annotated[str, typer.Option("--block", help="Length of a block.")] = "10s",
    pause: Annotated[str, typer.Option("--pause", help="Pause between blocks.")] = "0s",
    warmup: Annotated[str, typer.Option("--warmup", help="Not counted at the start.")] = "5s",
    limit: Annotated[float, typer.Option("--p99-ms", min=0.001, help="Limit of the p99.")] = 10.0,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Leave out the wait for a CPU; needs root.")
    ] = False,
    out_file: Out = None,
    any_filesystem: AnyFilesystem = False,
    metrics: Metrics = "",
    check: Check = False,
    as_json: Json = False,
) -> int:
    """Write as etcd's log does, keep every latency, and judge them.

    With --metrics the records get the size of that etcd's own, unless --size says another.
    """
    from opslib.bench import etcd
    from opslib.bench.probe import result, run, wal

    if out_file:
        result.writable(str(out_file))
    before = etcd.fetch(metrics) if metrics else None
    settings = wal.Settings(
        seconds=_positive(lasting, "--seconds"),
        record=size or (before.record_bytes if before else None) or wal.RECORD,
        block_seconds=_positive(block, "--block"),
        pause_seconds=seconds(pause),
        warmup_seconds=seconds(warmup),
        realtime=realtime,
    )
    with bar() as progress:
        made = run.disk(
            str(folder), settings, any_filesystem=any_filesystem, tell=_teller(progress)
        )
    if out_file:
        result.write(str(out_file), made)
        say(f"written: {out_file}")
    beside = etcd.fetch(metrics).minus(before) if before else None
    code = _judged([made], limit, check=check, as_json=as_json, beside=beside)
    return code if made.complete else _code(made)


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


def _judged(
    runs: Sequence[Result],
    limit: float,
    *,
    check: bool,
    as_json: bool,
    beside: EtcdMetrics | None = None,
) -> int:
    from opslib.bench.etcd import overlay
    from opslib.bench.verdict import Answer, judge, pooled
    from opslib.view.bench import overlay_text, verdict_text

    verdict = judge(runs, limit)
    documents = [run.document for run in runs]
    document: dict[str, Any] = {
        "verdict": verdict.as_dict(),
        "runs": [{**one, "blocks": len(one["blocks"])} for one in documents],
    }
    text = verdict_text(verdict, documents)
    if beside and beside.wal.count and runs[0].samples:
        laid = overlay(pooled(runs), beside.wal)
        document["etcd"] = {**laid.as_dict(), **beside.counters}
        text = f"{text}\n\n{overlay_text(laid, beside)}"
    elif beside:
        document["etcd"] = None
        text = f"{text}\n\netcd wrote nothing meanwhile: there is nothing to lay over it"
    emit(document, text, as_json=as_json)
    return 1 if check and verdict.answer is not Answer.PASS else 0


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="Result files of one disk.")],
    limit: Annotated[float, typer.Option("--p99-ms", min=0.001, help="Limit of the p99.")] = 10.0,
    check: Check = False,
    as_json: Json = False,
) -> int:
    """Judge result files that were carried home; several of one disk are judged together.

    One of a watch, a storm or a network probe is told as its own verb tells it.
    """
    from opslib.bench.probe import result

    found = [result.read(str(path)) for path in files]
    if len(found) == 1 and found[0].probe != "wal":
        return _as_its_verb(found[0], limit, as_json=as_json)
    return _judged(_with_syncs(found), limit, check=check, as_json=as_json)


def _as_its_verb(made: Result, limit: float, *, as_json: bool) -> int:
    from opslib.bench import network as trips
    from opslib.bench import pulls
    from opslib.view.bench import network_text, storm_text

    if made.probe == "watch":
        _told(made, as_json=as_json)
    elif made.probe == "storm":
        storm_ = pulls.judge(made, limit)
        emit(storm_.as_dict(), storm_text(storm_), as_json=as_json)
    else:
        found = trips.summaries(made)
        emit([one.as_dict() for one in found], network_text(found), as_json=as_json)
    return 0


def _read(files: Sequence[Path]) -> list[Result]:
    from opslib.bench.probe import result

    return _with_syncs([result.read(str(path)) for path in files])


def _with_syncs(found: list[Result]) -> list[Result]:
    for run in found:
        if "sync_ns" not in run.columns:
            raise InputError(f"a result of the probe {run.probe} has no syncs", where=run.name)
    return found


@app.command()
def alternate(
    folders: Annotated[list[Path], typer.Argument(help="Two folders, A and B.")],
    rounds: Annotated[int, typer.Option("--rounds", min=2, max=1000, help="Runs of each.")] = 6,
    lasting: Annotated[str, typer.Option("--seconds", help="Of one run.")] = "30",
    margin: Annotated[float, typer.Option("--margin", help="What counts as equal.")] = 1.25,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for the result files.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure two folders of this machine in turns, in a random order each round, and compare."""
    from opslib.bench import collect
    from opslib.bench.compare import compare as compared
    from opslib.view.bench import comparison_text

    if len(folders) != 2:
        raise InputError("two folders are compared", where="FOLDERS", expected="A and B")
    with bar() as progress:
        sides = collect.alternating(
            [str(one) for one in folders],
            rounds=rounds,
            seconds=_positive(lasting, "--seconds"),
            keep=out_folder,
            progress=progress,
        )
    found = compared(*sides, margin=margin)
    emit(found.as_dict(), comparison_text(found), as_json=as_json)


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


@app.command()
def watch(
    folder: Dir = Path(),
    lasting: Annotated[str, typer.Option("--for", help="How long, such as 1h or 1d.")] = "1h",
    rate: Annotated[
        float, typer.Option("--rate", min=0.1, max=200, help="Records a second.")
    ] = 10.0,
    window: Annotated[str, typer.Option("--window", help="Length of a window.")] = "10s",
    size: Annotated[int, typer.Option("--size", min=1, max=1 << 20, help="Bytes a record.")] = 2300,
    out_file: Out = None,
    any_filesystem: AnyFilesystem = False,
    as_json: Json = False,
) -> int:
    """Watch a disk at a low rate: when it became slow, and whether it was this machine itself."""
    from opslib.bench.probe import result
    from opslib.bench.probe import watch as probe

    if out_file:
        result.writable(str(out_file))
    settings = probe.Settings(
        seconds=_positive(lasting, "--for"),
        rate=rate,
        window=_positive(window, "--window"),
        record=size,
    )
    with bar() as progress:
        made = probe.watch(
            str(folder), settings, any_filesystem=any_filesystem, tell=_teller(progress)
        )
    if out_file:
        result.write(str(out_file), made)
        say(f"written: {out_file}")
    _told(made, as_json=as_json)
    return _code(made)


def _told(made: Result, *, as_json: bool) -> None:
    from opslib.bench import changes
    from opslib.view.bench import watch_text

    found = changes.episodes(made)
    document = {
        "episodes": [one.as_dict() for one in found],
        "windows": len(made.document["blocks"]),
        "own_cpu_percent": changes.own_cpu(made),
        "complete": made.complete,
    }
    emit(document, watch_text(found, made.document), as_json=as_json)


def _code(made: Result) -> int:
    return 0 if made.complete else 128 + int(made.document.get("signal") or 0) or 1


@app.command()
def episodes(
    file: Annotated[Path, typer.Argument(help="Result file of a watch, or of a long disk run.")],
    as_json: Json = False,
) -> None:
    """Say of a result file when the disk was slower than usual, and whose doing it was."""
    _told(_read([file])[0], as_json=as_json)


@app.command()
def storm(
    folder: Dir = Path(),
    pulls: Annotated[str, typer.Option("--pulls", help="Pulls at once.")] = "1,5,20,50",
    phase: Annotated[str, typer.Option("--phase", help="Length of one phase.")] = "20s",
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100, help="Times each.")] = 2,
    layer: Annotated[int, typer.Option("--layer-mb", min=1, max=4096, help="Size a layer.")] = 32,
    rate: Annotated[float, typer.Option("--mb-per-second", min=0.1, help="Of one pull.")] = 25.0,
    limit: Annotated[float, typer.Option("--p99-ms", min=0.001, help="Limit of the p99.")] = 10.0,
    out_file: Out = None,
    any_filesystem: AnyFilesystem = False,
    as_json: Json = False,
) -> int:
    """Measure the log beside image pulls: how many at once keep the verdict."""
    from opslib.bench import pulls as pulling
    from opslib.bench.probe import result
    from opslib.bench.probe import storm as probe
    from opslib.view.bench import storm_text

    if out_file:
        result.writable(str(out_file))
    settings = probe.Settings(
        pulls=_numbers(pulls, "--pulls", 500),
        phase_seconds=_positive(phase, "--phase"),
        rounds=rounds,
        layer=layer << 20,
        rate=rate * 1e6,
    )
    with bar() as progress:
        made = probe.storm(
            str(folder), settings, any_filesystem=any_filesystem, tell=_teller(progress)
        )
    if out_file:
        result.write(str(out_file), made)
    found = pulling.judge(made, limit)
    emit(found.as_dict(), storm_text(found), as_json=as_json)
    return _code(made)


def _numbers(text: str, name: str, most: int) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdigit() and 0 < int(word) <= most for word in words):
        raise InputError(
            f"{name} {text!r} is no list of numbers", where=name, expected=f"1 to {most}, by commas"
        )
    return tuple(dict.fromkeys(int(word) for word in words))


@app.command()
def network(
    targets: Annotated[list[str], typer.Argument(help="host:port, one or more.")],
    count: Annotated[int, typer.Option("--count", min=1, max=1_000_000, help="Of each.")] = 100,
    interval: Annotated[str, typer.Option("--interval", help="Between two rounds.")] = "100ms",
    timeout: Annotated[str, typer.Option("--timeout", help="Lost after.")] = "3s",
    out_file: Out = None,
    as_json: Json = False,
) -> int:
    """Measure round trips to peers by TCP connect, and what they ask of etcd's settings."""
    from opslib.bench import network as trips
    from opslib.bench.probe import network as probe
    from opslib.bench.probe import result
    from opslib.view.bench import network_text

    if out_file:
        result.writable(str(out_file))
    settings = probe.Settings(count, seconds(interval), _positive(timeout, "--timeout"))
    with bar() as progress:
        made = probe.measure(targets, settings, tell=_teller(progress))
    if out_file:
        result.write(str(out_file), made)
    found = trips.summaries(made)
    emit([one.as_dict() for one in found], network_text(found), as_json=as_json)
    return _code(made)


@app.command()
def fio(
    folder: Dir = Path(),
    pattern: Annotated[
        str, typer.Option("--pattern", help="randread, randwrite, read or write.")
    ] = "randread",
    depths: Annotated[
        str, typer.Option("--depths", help="Queue depths.")
    ] = "1,2,4,8,16,32,64,128,256",
    lasting: Annotated[str, typer.Option("--seconds", help="Of each depth.")] = "5",
    size: Annotated[int, typer.Option("--size-mb", min=1, max=1 << 20, help="Of the file.")] = 256,
    block: Annotated[int, typer.Option("--block-size", min=512, help="Bytes of an I/O.")] = 4096,
    state: Annotated[str, typer.Option("--file", help="fresh or overwrite.")] = "overwrite",
    any_filesystem: AnyFilesystem = False,
    as_json: Json = False,
) -> None:
    """Sweep queue depths with fio and find the knee: beyond it, depth buys latency only."""
    from opslib.bench import fio as runs
    from opslib.view.bench import sweep_text

    with bar() as progress:
        found = runs.sweep(
            str(folder),
            pattern,
            depths=_numbers(depths, "--depths", 4096),
            seconds=_positive(lasting, "--seconds"),
            size=size << 20,
            block=block,
            state=state,
            any_filesystem=any_filesystem,
            progress=progress,
        )
    emit(found.as_dict(), sweep_text(found), as_json=as_json)


@app.command()
def facts(folder: Dir = Path(), as_json: Json = False) -> None:
    """Say what this machine is and what lies under a folder, without root."""
    import json

    from opslib.bench.probe import facts as machine
    from opslib.bench.probe import place

    where = place.look(str(folder))
    document = {"place": machine.of_place(where), "facts": machine.read(where)}
    emit(document, json.dumps(document, indent=2, sort_keys=True), as_json=as_json)
