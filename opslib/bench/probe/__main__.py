"""The portable probe: ``python3 opslib-bench.pyz disk --dir /var/lib/etcd --out here.parquet``.

The same code as `opslib bench`; what it writes is carried home and judged there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from typing import Any, Dict, List, Optional

from opslib.bench.probe import facts, honesty, network, place, result, run, wal, watch
from opslib.core.errors import OpslibError

OUT = "opslib-bench.parquet"


def main(words: Optional[List[str]] = None) -> int:
    """Run one probe and return the exit code: 2 for bad input, 75 for a disk that is in use."""
    options = _parser().parse_args(words)
    try:
        return int(options.do(options))
    except OpslibError as error:
        sys.stderr.write(f"opslib-bench: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"opslib-bench: {error.strerror}: {error.filename or 'the disk'}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("opslib-bench: interrupted\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="opslib-bench", description=(__doc__ or "").split("\n")[0]
    )
    verbs = parser.add_subparsers(required=True)
    disk = verbs.add_parser("disk", help="write as etcd does and keep every latency")
    _common(disk)
    disk.add_argument("--seconds", type=_positive, default=60.0, help="default: 60")
    disk.add_argument("--block", type=_positive, default=10.0, help="seconds of a block")
    disk.add_argument("--pause", type=float, default=0.0, help="seconds between two blocks")
    disk.add_argument("--warmup", type=float, default=5.0, help="seconds that are not counted")
    disk.add_argument("--realtime", action="store_true", help="leave out the wait for a CPU")
    disk.set_defaults(do=_disk)
    watching = verbs.add_parser("watch", help="a few records a second for hours")
    _common(watching)
    watching.add_argument("--seconds", type=_positive, default=3600.0, help="default: 3600")
    watching.add_argument("--rate", type=_positive, default=10.0, help="records a second")
    watching.add_argument("--window", type=_positive, default=10.0, help="seconds of a window")
    watching.set_defaults(do=_watch)
    trips = verbs.add_parser("network", help="round trips by TCP connect")
    trips.add_argument("targets", nargs="+", help="host:port")
    trips.add_argument("--count", type=int, default=100, help="of each; default: 100")
    trips.add_argument("--out", default=OUT, help="result file to carry home")
    trips.set_defaults(do=_network)
    machine = verbs.add_parser("facts", help="what this machine is, as JSON")
    machine.add_argument("--dir", default=".")
    machine.set_defaults(do=_facts)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", default=".", help="folder on the disk; default: this one")
    parser.add_argument("--size", type=_size, default=wal.RECORD, help="bytes of a record")
    parser.add_argument("--out", default=OUT, help="result file to carry home")
    parser.add_argument("--any-filesystem", action="store_true", help="also memory and overlays")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError("expected a number of seconds above 0")
    return value


def _size(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1 << 20:
        raise argparse.ArgumentTypeError("expected 1 to 1048576 bytes")
    return value


def _disk(options: argparse.Namespace) -> int:
    result.writable(options.out)
    settings = wal.Settings(
        seconds=options.seconds,
        record=options.size,
        block_seconds=options.block,
        pause_seconds=options.pause,
        warmup_seconds=options.warmup,
        realtime=options.realtime,
    )
    made = run.disk(options.dir, settings, any_filesystem=options.any_filesystem, tell=_tell)
    return _kept(options, made)


def _watch(options: argparse.Namespace) -> int:
    result.writable(options.out)
    settings = watch.Settings(options.seconds, options.rate, options.window, options.size)
    anywhere = options.any_filesystem
    return _kept(options, watch.watch(options.dir, settings, any_filesystem=anywhere, tell=_tell))


def _network(options: argparse.Namespace) -> int:
    result.writable(options.out)
    settings = network.Settings(count=options.count)
    return _kept(options, network.measure(options.targets, settings, tell=_tell))


def _kept(options: argparse.Namespace, made: result.Result) -> int:
    result.write(options.out, made)
    sys.stdout.write(f"{summary(made)}\nwritten: {os.path.abspath(options.out)}\n")
    return 0 if made.complete else 128 + int(made.document.get("signal") or 0)


def _tell(what: str, done: float, total: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{what}: {done:.0f} of {total:.0f} s ")
        sys.stderr.flush()


def summary(made: result.Result) -> str:
    """Return what can be said without statistics: points, and what speaks against them."""
    lines = []
    name = "sync_ns" if "sync_ns" in made.columns else "connect_ns"
    took = sorted(made.columns[name])
    if len(took) > 1:
        cuts = statistics.quantiles(took, n=100)
        named = (("p50", cuts[49]), ("p99", cuts[98]), ("largest", took[-1]))
        words = ", ".join(f"{name} {value / 1e6:.3f} ms" for name, value in named)
        lines.append(f"{len(took)} {'fdatasyncs' if name == 'sync_ns' else 'connects'}: {words}")
    if not made.complete:
        lines.append(f"partial: {made.document['why']}")
    found = honesty.findings(made) if name == "sync_ns" else []
    lines += [f"{'not believed' if one.grave else 'note'}: {one.what}" for one in found]
    lines.append("no verdict yet: carry the file home, `opslib bench report FILE` judges it")
    return "\n".join(lines)


def _facts(options: argparse.Namespace) -> int:
    where = place.look(options.dir)
    document: Dict[str, Any] = {"place": facts.of_place(where), "facts": facts.read(where)}
    sys.stdout.write(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
