"""A file that a runbook leaves in its record: masked, listed, and no way around the record."""

from __future__ import annotations

import gzip
import json

import pytest

from opslib import runbook
from opslib.core.errors import InputError
from opslib.runbook.verify import verify

from .conftest import LOAD, Make, code, read_json


def test_an_attachment_is_a_file_of_the_record(make: Make) -> None:
    """Data becomes JSON, secrets are masked, the manifest lists it, the record verifies."""
    run = runbook.run(
        make(
            LOAD,
            code(
                "from opslib.core import secrecy\nsecrecy.REGISTRY.note('hunter2-hunter2', 'pw')\n"
                "big = ['x' * 1000] * 6000\n"
                "name = runbook.attach('review.json', {'a': 1, 'pw': 'hunter2-hunter2'})\n"
                "runbook.attach('big.json.gz', big)\nprint(name)"
            ),
        ),
        {},
    )
    assert run.outcome == "ok", run.result["error"]
    kept = json.loads((run.folder / "review.json").read_text())
    assert kept["a"] == 1
    assert "hunter2" not in json.dumps(kept)
    assert len(json.loads(gzip.decompress((run.folder / "big.json.gz").read_bytes()))) == 6000
    assert {"review.json", "big.json.gz"} <= set(read_json(run.folder / "manifest.json")["files"])
    assert verify(run.folder).ok
    (run.folder / "review.json").write_text("{}")
    assert not verify(run.folder).ok


@pytest.mark.parametrize("name", ["result.json", "../x.json", "A.json", "", "manifest.json"])
def test_a_name_is_of_its_own(name: str) -> None:
    """The record's own files and other folders are refused before anything is written."""
    with pytest.raises(InputError, match="cannot name a file"):
        runbook.attach(name, "x")


def test_without_a_record_nothing_is_kept() -> None:
    """Plain papermill leaves no record: the answer says so, and nothing is written."""
    assert runbook.attach("review.json", "x") == ""
