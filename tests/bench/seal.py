"""Measure sealing in bulk beside the real kubeseal, and exchange values with upstream's code.

``python -m tests.bench.seal [ROUNDS [VALUES]]`` writes outputs/bench/seal.json. 1,000 Secrets
of 3 keys, for a key of 4096 bits, by whole processes that read a file: opslib with all in one
call (with and without its notes), kubeseal with all in one stream, and a sample of one kubeseal
process each. Then 10,000 random values for each of the three scopes, sealed here and unsealed by
upstream's crypto package and by the real kubeseals of three versions, and the other way.
"""

from __future__ import annotations

import base64
import importlib
import random
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opslib.seal.wire import Scope

from . import measure
from .measure import Took, alternating, machine, ratio, table, write

parts = importlib.import_module("tests.seal.parts")
interop = importlib.import_module("tests.seal.test_interop")
SECRETS, KEYS = 1000, 3
VALUES = 10_000
SAMPLE = 40
"""Processes of kubeseal that are timed one by one; the rest is taken to be like them."""
ROUNDS = 7
OURS = "opslib seal, all in one call"
PLAIN = "opslib seal --no-notes, all in one call"
STREAM = "kubeseal, all in one stream"
EACH = f"kubeseal, one process each (of {SAMPLE}, taken {SECRETS // SAMPLE} times)"


_CPU: dict[str, list[float]] = {}
"""Seconds of both cores that each run took, by what ran: other work on the machine adds little."""


def run(name: str, words: list[str], env: dict[str, str]) -> Took:
    """Run one whole process; note the seconds of processor time that it and its parent took."""
    before = _cpu()
    took = measure.run(words, env)
    _CPU.setdefault(name, []).append(_cpu() - before)
    return took


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _documents(seed: int) -> list[str]:
    rng = random.Random(seed)  # noqa: S311  # test values
    made = []
    for number in range(SECRETS):
        rows = "".join(
            f"  key-{key}: {base64.b64encode(rng.randbytes(24)).decode()}\n" for key in range(KEYS)
        )
        made.append(
            f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: secret-{number}\n"
            f"  namespace: team-{number % 20}\n  labels:\n    app: app-{number}\n"
            f"type: Opaque\ndata:\n{rows}"
        )
    return made


def bulk(folder: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Time whole processes in turn; nothing is compared that did not write all its output."""
    pair = parts.pair(4096)
    cert, whole, out = folder / "cert.pem", folder / "all.yaml", folder / "out.yaml"
    cert.write_bytes(pair.cert)
    documents = _documents(5)
    whole.write_text("---\n".join(documents))
    for number, text in enumerate(documents[:SAMPLE]):
        (folder / f"{number}.yaml").write_text(text)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "KUBECONFIG": str(folder / "none")}
    kubeseal = [str(parts.kubeseal()), "--cert", str(cert), "--format", "yaml"]
    opslib = [sys.executable, "-m", "opslib", "seal", "--cert", str(cert), "--format", "yaml"]

    def all_at_once(name: str, *words: str) -> Callable[[], Took]:
        def one() -> Took:
            out.unlink(missing_ok=True)
            took = run(name, [*words, "-f", str(whole), "-w", str(out)], env)
            count = out.read_text().count("kind: SealedSecret\n")
            if count != SECRETS:
                raise SystemExit(f"{words[0]} wrote {count} of {SECRETS}")
            return took

        return one

    def one_by_one() -> Took:
        times = [
            run(EACH, [*kubeseal, "-f", str(folder / f"{n}.yaml"), "-w", str(out)], env)
            for n in range(SAMPLE)
        ]
        seconds = sum(one.seconds for one in times) * SECRETS / SAMPLE
        return Took(seconds, max(one.peak for one in times))

    return alternating(
        {
            OURS: all_at_once(OURS, *opslib),
            PLAIN: all_at_once(PLAIN, *opslib, "--no-notes"),
            STREAM: all_at_once(STREAM, *kubeseal),
            EACH: one_by_one,
        },
        rounds,
        only={EACH: 2},
    )


def exchanges(folder: Path, values: int) -> dict[str, dict[str, dict[str, int]]]:
    """Exchange values with upstream's crypto package and with each real kubeseal, by scope."""
    pair = parts.pair(2048)
    found: dict[str, dict[str, dict[str, int]]] = {}
    for version in ("crypto package", *parts.OLDER, parts.NEWEST):
        of = found.setdefault(version if " " in version else f"kubeseal {version}", {})
        for scope in Scope:
            if " " in version:
                done, wrong = interop.exchange(pair, folder, scope, VALUES)
            else:
                done, wrong = interop.with_kubeseal(version, pair, folder, scope, values)
            of[str(scope)] = {"exchanges": done, "mismatches": wrong}
            print(f"{version}, {scope}: {done} exchanges, {wrong} mismatches", flush=True)
    return found


def main(rounds: int = ROUNDS, values: int = VALUES) -> None:
    """Measure, and write the results; ``values`` are exchanged with each kubeseal and scope."""
    with tempfile.TemporaryDirectory() as place:
        results = bulk(Path(place), rounds)
        exchanged = exchanges(Path(place), values)
    cpu = {name: statistics.median(values) for name, values in _CPU.items()}
    cpu[EACH] *= SECRETS
    document = {
        **machine(),
        "secrets": SECRETS,
        "keys_of_each": KEYS,
        "rounds": rounds,
        "results": results,
        "times_as_long": {
            "kubeseal one process each": ratio(results, EACH, OURS),
            "kubeseal in one stream": ratio(results, STREAM, OURS),
        },
        "processor_seconds": {name: round(value, 3) for name, value in cpu.items()},
        "processor_times_as_long": {
            "kubeseal one process each": round(cpu[EACH] / cpu[OURS], 2),
            "kubeseal in one stream": round(cpu[STREAM] / cpu[OURS], 2),
        },
        "exchanged": exchanged,
    }
    path = write("seal", document)
    print(table(results))
    print(f"times as long as opslib: {document['times_as_long']}")
    print(f"the same in processor time: {document['processor_times_as_long']}")
    print(f"written: {path}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
