"""What verifying costs: a record of 100 MB, as whole processes; outputs/bench/records.json.

The notebook is made, not run: a few cells with large outputs, written as a run writes them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from opslib.runbook import verify
from opslib.runbook.folder import HTML, RECORD, RESULT, RecordFolder

from .measure import alternating, machine, run, table, write

SIZE = 100_000_000
ROUNDS = 7
CELLS = 60


def make(folder: Path) -> int:
    """Write a record with SIZE bytes in its notebook, its page and 2,000 events; return bytes."""
    folder.mkdir()
    record = RecordFolder(folder)
    record.event("run-start", run_id="20260101T000000000Z-abcdef", runbook="large")
    record.write(RESULT, json.dumps({"outcome": "running"}))
    output = {"output_type": "stream", "name": "stdout", "text": ["0123456789abcde\n"] * 43_000}
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "source": ["1"],
            "outputs": [output],
            "metadata": {"opslib": {"outcome": "ok"}},
        }
        for number in range(CELLS)
    ]
    for number in range(2_000):
        record.event("progress", done=number)
    record.write(RECORD, json.dumps({"cells": cells}, indent=1, sort_keys=True) + "\n")
    done = sum(one.stat().st_size for one in folder.iterdir())
    record.write(HTML, "x" * max(0, SIZE - done))
    record.finish({"run_id": "20260101T000000000Z-abcdef", "runbook": "large"})
    record.close()
    return sum(one.stat().st_size for one in folder.iterdir())


def main() -> None:
    """Measure the verb and the module alone on the record, intact and with one letter changed."""
    with tempfile.TemporaryDirectory() as place:
        good, bad = Path(place) / "good", Path(place) / "bad"
        size = make(good)
        make(bad)
        data = (bad / RECORD).read_bytes()
        (bad / RECORD).write_bytes(data[: len(data) // 2] + b"X" + data[len(data) // 2 + 1 :])
        verb = [sys.executable, "-m", "opslib", "records", "verify"]
        alone = [sys.executable, "-I", verify.__file__]
        rows = alternating(
            {
                "opslib records verify, 100 MB": lambda: run([*verb, str(good)]),
                "python -I verify.py, 100 MB": lambda: run([*alone, str(good)]),
                "the same, one letter changed": lambda: run([*alone, str(bad)], codes=(1,)),
            },
            ROUNDS,
        )
    print(table(rows))
    print(f"written: {write('records', {**machine(), 'bytes': size, 'rows': rows})}", flush=True)


if __name__ == "__main__":
    main()
