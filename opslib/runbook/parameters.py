"""The parameters of a runbook: one schema for the command line, the kernel, forms and schedules."""

from __future__ import annotations

import copy
import difflib
import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.runbook import declare, values
from opslib.runbook.notebook import Notebook, read_notebook, source_of, tags_of
from opslib.runbook.secret import Secret, has_secret, note_plain, secrets_in

TAG = "parameters"
INJECTED_TAG = "injected-parameters"


@dataclass(frozen=True)
class Parameter:
    """One parameter. ``type`` is for people, ``line`` counts from 1 within its cell.

    ``expected`` says in words what values it takes; ``choices`` is what a Literal or a
    bool allows. ``default`` is None where ``required`` is true.
    """

    name: str
    type: str
    default: Any
    required: bool
    help: str
    line: int
    choices: tuple[Any, ...] = ()
    expected: str = ""
    annotation: Any = field(default=Any, repr=False, compare=False)

    def convert(self, value: Any) -> Any:
        """Return ``value`` typed. Raises values.BadValueError."""
        return values.convert(self.annotation, value)


@dataclass(frozen=True)
class Schema:
    """The parameters of one runbook, in the order of its cell. ``where`` names the cell."""

    parameters: tuple[Parameter, ...] = ()
    where: str = "parameters"

    def names(self) -> list[str]:
        """Return the names in the order of the cell."""
        return [one.name for one in self.parameters]

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of every parameter, typed: as given, else its default.

        Text is read by the parameter's type; other values must be of it already.
        Raises Problems with every unknown name, wrong value and missing value.
        """
        problems: list[OpslibError] = [
            self._unknown(name) for name in given if name not in self.names()
        ]
        typed: dict[str, Any] = {}
        for one in self.parameters:
            try:
                typed[one.name] = self._value(one, given)
            except InputError as error:
                problems.append(error)
        if problems:
            raise Problems(problems)
        return typed

    def _value(self, one: Parameter, given: Mapping[str, Any]) -> Any:
        if one.name not in given:
            if one.required:
                raise InputError(
                    f"parameter {one.name} has no value",
                    where=self._line(one),
                    expected=one.expected,
                    hint=f"give it with  -p {one.name} VALUE",
                )
            return copy.deepcopy(one.default)
        try:
            return one.convert(given[one.name])
        except values.BadValueError as error:
            if has_secret(one.annotation):
                raise self._by_value(one, given[one.name]) from None
            raise InputError(
                f"parameter {one.name} cannot be {_shown(given[one.name])}: {error}",
                where=self._line(one),
                expected=one.expected,
                hint=_papermill_hint(one, given[one.name]),
            ) from None

    def _by_value(self, one: Parameter, value: Any) -> InputError:
        """Return the error for a secret that is no reference, which does not repeat it."""
        note_plain(value, one.name)
        return InputError(
            f"parameter {one.name} is secret and is not given by its value",
            where=self._line(one),
            expected=one.expected,
            hint=f"-p {one.name} env:NAME with the value in that variable; "
            "and change the secret, it may be in the shell's history",
        )

    def _unknown(self, name: str) -> InputError:
        close = difflib.get_close_matches(name, self.names(), n=1)
        known = ", ".join(self.names()) or "none: this runbook takes no parameters"
        return InputError(
            f"there is no parameter {name}",
            where=self.where,
            expected=f"one of {known}" if self.names() else known,
            hint=f"did you mean {close[0]}?" if close else None,
        )

    def _line(self, one: Parameter) -> str:
        return f"{self.where}, line {one.line}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _papermill_hint(one: Parameter, value: Any) -> str | None:
    """Papermill reads -p as YAML (1.10 becomes 1.1); -r hands the text over as it is."""
    if one.type.startswith("str") and isinstance(value, int | float):
        return f'give it as text; with plain papermill: -r {one.name} "…" instead of -p'
    return None


def read_schema(notebook_path: Path) -> Schema:
    """Read the schema of a runbook from its cell tagged "parameters", without running it.

    A notebook without such a cell takes no parameters. Raises InputError (or Problems)
    for a notebook that cannot be read, a type no parameter can have, a computed
    default, or a default that is not of the parameter's own type.
    """
    return schema_of(read_notebook(notebook_path), str(notebook_path))


def schema_of(notebook: Notebook, name: str) -> Schema:
    """Read the schema from a notebook that is loaded; ``name`` is its file, for messages."""
    cells = [
        (number, cell)
        for number, cell in enumerate(notebook["cells"], start=1)
        if cell.get("cell_type") == "code" and TAG in tags_of(cell)
    ]
    if not cells:
        return Schema(where=f"{name}, no cell tagged {TAG!r}")
    if len(cells) > 1:
        raise InputError(
            "more than one cell is tagged 'parameters'",
            where=f"{name}, cells {', '.join(str(number) for number, _ in cells)}",
            hint="keep one",
        )
    number, cell = cells[0]
    return schema_from_source(source_of(cell), f"{name}, parameters (cell {number})")


def schema_from_source(source: str, where: str) -> Schema:
    """Read the schema from the source of a parameters cell."""
    problems: list[OpslibError] = []
    found = []
    for one in declare.declarations(source, where):
        try:
            found.append(_parameter(one))
        except values.BadValueError as error:
            shown = "a secret's value" if has_secret(one.annotation) else repr(one.default)
            if has_secret(one.annotation):
                note_plain(one.default, one.name)
            problems.append(
                InputError(
                    f"the default of parameter {one.name} is {shown}: {error}",
                    where=f"{where}, line {one.line}",
                    expected=values.describe(one.annotation),
                    hint="correct the default or the type",
                )
            )
    if problems:
        raise Problems(problems)
    return Schema(tuple(found), where)


def _parameter(one: declare.Declaration) -> Parameter:
    required = one.default is declare.REQUIRED
    if has_secret(one.annotation) and values.takes_text(one.annotation):
        raise values.BadValueError("a type that takes any text beside Secret would take values")
    return Parameter(
        name=one.name,
        type=one.type_text,
        default=None if required else _default(one),
        required=required,
        help=one.help,
        line=one.line,
        choices=values.choices_of(one.annotation),
        expected=values.describe(one.annotation),
        annotation=one.annotation,
    )


def _default(one: declare.Declaration) -> Any:
    """Check a default as a typed value: the cell is Python, so "3" is no int there."""
    return values.convert(one.annotation, one.default) if _fits(one) else _refuse(one)


def _fits(one: declare.Declaration) -> bool:
    if not isinstance(one.default, str):
        return True
    return isinstance(values.parse(one.annotation, one.default), str | Path | Secret)


def _refuse(one: declare.Declaration) -> NoReturn:
    raise values.BadValueError(f"it is text, the type is {one.type_text}")


class Values(SimpleNamespace):
    """The parameters of a run by attribute; what was checked cannot be changed after."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"parameter {name} cannot be changed after the check")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"parameter {name} cannot be removed after the check")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in self
        )
        return f"<table class='opslib-parameters'>{rows}</table>"


def load(namespace: dict[str, Any]) -> Values:
    """Check the parameters again inside the kernel, and return them typed and frozen.

    Call it as ``p = runbook.load(globals())`` in the first cell after the parameters, so
    that a plain papermill run and a person in JupyterLab get the same checks as
    ``opslib run``. The names in ``namespace`` are set to the typed values too.
    Raises Problems as Schema.check does, and for names that papermill injected
    and the runbook does not have.
    """
    from opslib.runbook import facts, live  # noqa: PLC0415  # only a kernel needs them

    facts.show_errors_for_people()
    schema, injected = facts.declared(namespace)
    known = set(schema.names())
    given = {name: namespace[name] for name in schema.names() if name in namespace}
    given.update({name: namespace.get(name) for name in injected if name not in known})
    typed = schema.check(given)
    for one in secrets_in(typed):
        one.reveal()  # known to the runner before any cell below can print it
    namespace.update(typed)
    live.loaded(typed, {one.name: one.default for one in schema.parameters if not one.required})
    return Values(**typed)
