"""The kernel's side of a run: where it runs, what it reports, how its errors are shown."""

from __future__ import annotations

import ast
import dataclasses
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.core.clock import stamp
from opslib.core.errors import InputError, OpslibError
from opslib.runbook.launcher import KERNEL
from opslib.runbook.secret import Secret

if TYPE_CHECKING:
    from opslib.runbook.parameters import Schema

RESULT_MIME = "application/vnd.opslib.result+json"
ERROR_MIME = "application/vnd.opslib.error+json"
APPROVAL_MIME = "application/vnd.opslib.approval+json"
RUN_ID, RUN_DIR = "OPSLIB_RUN_ID", "OPSLIB_RUN_DIR"


@dataclass(frozen=True)
class Context:
    """Where a notebook runs. ``folder`` is the record's; None outside of ``opslib run``.

    ``interactive``: a person can answer (JupyterLab); false in every headless execution.
    """

    run_id: str
    folder: Path | None
    interactive: bool


def context() -> Context:
    """Return where this notebook runs."""
    if not inside_run():
        return Context("", None, _can_ask())
    return Context(os.environ[RUN_ID], Path(os.environ[RUN_DIR]), interactive=False)


def inside_run() -> bool:
    """Tell whether this kernel was started by our runner, and not by a program below it.

    Once it was, it stays so: a kernel whose runner died is not a session of its own.
    """
    return RUN_ID in os.environ and os.environ.get(KERNEL) == str(os.getpid())


def effects_lock(folder: Path) -> Path:
    """Return the file that a kernel with effects locks until it dies; beside the records."""
    return folder.parent.parent / ".locks" / f"effects-{folder.name}"


def report(**values: Any) -> None:
    """Hand results and provenance to the record: they appear in result.json under "report".

    Well-known names: ``revision`` (the Git commit), ``cluster``, ``planned``, ``applied``,
    ``verified``. Later values replace earlier ones of the same name. Outside a run the
    values are only shown. Raises InputError for a value that JSON cannot hold.
    """
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    plain = {name: to_plain(value, name) for name, value in values.items()}
    bundle = {
        RESULT_MIME: plain,
        "text/plain": "\n".join(f"{name}: {_brief(value)}" for name, value in plain.items()),
        "text/html": _table(plain),
    }
    display(bundle, raw=True)


result = report


def to_plain(value: Any, where: str) -> Any:
    """Return ``value`` as JSON holds it: dataclasses, enums, times, paths and numpy scalars too.

    NaN and infinity become None. Raises InputError that names the place.
    """
    if isinstance(value, Enum):
        return to_plain(value.value, where)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_plain(one, f"{where}.{key}") for key, one in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
        return [to_plain(one, f"{where}[{number}]") for number, one in enumerate(value)]
    return _unusual(value, where)


def _unusual(value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(dataclasses.asdict(value), where)
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, date | Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return to_plain(value.item(), where)
    raise InputError(
        f"{type(value).__name__} cannot be reported: JSON has no form for it",
        where=where,
        expected="text, numbers, lists, dicts, dataclasses, times or paths",
    )


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _table(plain: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(_brief(value))}</td></tr>"
        for name, value in plain.items()
    )
    return f"<table class='opslib-report'>{rows}</table>"


def shell() -> Any:
    """Return the IPython of this process, or None."""
    from IPython.core.getipython import get_ipython  # noqa: PLC0415  # only a kernel has it

    return get_ipython()


def in_kernel() -> bool:
    """Tell whether something shows what is displayed."""
    return shell() is not None


def _can_ask() -> bool:
    """Tell whether the front end lets a cell ask: papermill and nbclient refuse stdin."""
    one = shell()
    if one is None or not hasattr(one, "kernel"):
        return False
    return bool(one.kernel.get_parent().get("content", {}).get("allow_stdin"))


def show_errors_for_people() -> None:
    """Show opslib's errors in this kernel by what they say, without the stack of the library.

    The error goes into the record as data as well, with its exit code. OPSLIB_DEBUG=1
    keeps the stack. Outside IPython this does nothing.
    """
    one = shell()
    if one is not None and os.environ.get("OPSLIB_DEBUG") not in {"1", "true"}:
        one.set_custom_exc((OpslibError,), _show_error)


def _show_error(shell: Any, kind: Any, error: Any, trace: Any, **_: Any) -> list[str]:
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    del trace
    lines = [f"\x1b[31m{kind.__name__}\x1b[0m: {error}"]
    display({ERROR_MIME: error.as_dict(), "text/plain": ""}, raw=True)
    shell._showtraceback(kind, error, lines)  # noqa: SLF001  # what IPython's own handlers call
    return lines


def declared(namespace: Mapping[str, Any]) -> tuple[Schema, set[str]]:
    """Return the schema of the running notebook and the names that papermill injected.

    Read from the record when our runner started this kernel, from the file that
    JupyterLab names, else from the kernel's own history of cells. Raises InputError.
    """
    from opslib.runbook import parameters  # noqa: PLC0415  # it imports this module lazily too
    from opslib.runbook.notebook import read_notebook  # noqa: PLC0415  # needed here alone

    history = [cell for cell in namespace.get("In", []) if cell.strip()][:-1]
    source, injected = _from_history(history)
    for path in _files():
        notebook = read_notebook(path)
        schema = parameters.schema_of(notebook, path.name)
        if schema.parameters or source is None:
            return schema, injected
    if source is None:
        raise InputError(
            "the parameters cell was not found",
            expected="runbook.load(globals()) in the first cell after the one tagged 'parameters'",
            hint="run the notebook from the top",
        )
    return parameters.schema_from_source(source, "parameters cell"), injected


def _files() -> list[Path]:
    if inside_run():
        return [Path(os.environ[RUN_DIR]) / "record.ipynb"]
    named = Path(os.environ.get("JPY_SESSION_NAME", ""))
    return [named] if named.suffix == ".ipynb" and named.is_file() else []


def _from_history(history: Sequence[str]) -> tuple[str | None, set[str]]:
    """Find the parameters cell and the injected one among the cells that ran before.

    They are the last cells that hold declarations only; papermill writes its own right
    after the parameters and begins it with the comment "# Parameters".
    """
    cells = [(cell, names) for cell in history if (names := _declared_names(cell))]
    if not cells:
        return None, set()
    last, names = cells[-1]
    if last.startswith("# Parameters\n") and len(cells) > 1:
        return cells[-2][0], names
    return last, set()


def _declared_names(cell: str) -> set[str]:
    """Return the names that a cell declares; empty when it does anything else as well."""
    try:
        body = ast.parse(cell).body
    except SyntaxError:
        return set()
    names: set[str] = set()
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                continue
            case _:
                return set()
    return names
