"""A program that runs one notebook and exits with the run's code: RUNNER NOTEBOOK OUT OPTIONS."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from opslib import runbook
from opslib.core.errors import OpslibError


def main() -> int:
    """Run, and print the record's folder."""
    _, notebook, out, options = sys.argv
    return go(notebook, out, json.loads(options))


def go(notebook: str, out: str, chosen: dict[str, Any]) -> int:
    """Run, or resume, print the record's folder, and return the exit code."""
    given = chosen.pop("parameters", {})
    parent = chosen.pop("resume", None)
    try:
        if parent:
            done = runbook.resumed(Path(parent), **chosen)
        else:
            done = runbook.run(notebook, given, out=Path(out), **chosen)
    except OpslibError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{done.folder}\n")
    return done.exit_code


if __name__ == "__main__":
    sys.exit(main())
