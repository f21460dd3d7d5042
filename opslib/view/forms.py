"""Forms in JupyterLab: the parameters of a runbook, and the approval at its gate.

A form never holds up the cells below it: what a person enters is used by the next cell that
is run. Wherever nobody can answer, and in the record, the same is shown as plain HTML.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from opslib.runbook import facts
from opslib.runbook.values import BadValueError
from opslib.view import show, tables

if TYPE_CHECKING:
    from opslib.runbook.gates import Approval
    from opslib.runbook.parameters import Parameter, Schema


def parameters(namespace: dict[str, Any]) -> None:
    """Show the parameters of this runbook; in JupyterLab as a form that sets them.

    Call it as ``forms.parameters(globals())`` in the cell after the parameters. A value is
    read as the command line reads it, and set at once; one that is wrong is told at its
    field, and ``runbook.load`` in the next cell refuses it.
    """
    schema, _ = facts.declared(namespace)
    fallback = show.table_html(tables.parameters(schema))
    if facts.context().interactive:
        show.widget(_fields(schema, namespace), fallback)
    else:
        show.table(tables.parameters(schema), empty="This runbook takes no parameters.")


def _fields(schema: Schema, namespace: dict[str, Any]) -> Any:
    import ipywidgets as w  # noqa: PLC0415  # 0.2 s that only JupyterLab pays

    rows = [_field(w, one, namespace) for one in schema.parameters]
    text = "<p>Set what is to be different, then run the next cell.</p>"
    return w.VBox([w.HTML(text), *rows])


def _field(w: Any, one: Parameter, namespace: dict[str, Any]) -> Any:
    """Return one parameter's field with its help, and the reason where its value is refused."""
    value = namespace.get(one.name, one.default)
    layout = {"width": "28em"}
    options = {"description": one.name, "style": {"description_width": "9em"}, "layout": layout}
    if isinstance(value, bool) and one.choices == (True, False):
        field = w.Checkbox(value=value, indent=True, **options)
    elif one.choices:
        names = [(str(choice), choice) for choice in one.choices]
        known = value if value in one.choices else None
        field = w.Dropdown(options=names, value=known, **options)
    else:
        text = "" if one.required and one.name not in namespace else _spelled(value)
        field = w.Text(value=text, placeholder=one.expected, continuous_update=False, **options)
    field.tooltip = one.help
    said = w.HTML()

    def note(problem: str) -> None:
        helps = html.escape(one.help)
        wrong = f"<b style='color:#b42318'>{html.escape(problem)}</b>"
        said.value = wrong if problem else f"<span style='color:#57606a'>{helps}</span>"

    def changed(change: Any) -> None:
        new = change["new"]
        try:
            namespace[one.name] = one.convert(new)
            note("")
        except BadValueError as error:
            namespace[one.name] = new
            note(f"{error}; expected {one.expected}")

    note("")
    field.observe(changed, names="value")
    return w.HBox([field, said])


def _spelled(value: Any) -> str:
    """Return a value as a person types it on the command line."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "null" if value is None else str(value)


def approval(one: Approval) -> None:
    """Show the plan at the gate; in JupyterLab with the form that takes its approval."""
    if not (one.wanted and one.interactive) or one.given:
        return
    subject = one.subject
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in subject.consequences)
    text = (
        f"<p><b>{html.escape(subject.summary)}</b></p><ul>{lines}</ul>"
        f"<p>Plan <code>{html.escape(subject.hash)}</code></p>"
    )
    show.widget(_form(one, text), text)


def _form(one: Approval, text: str) -> Any:
    import ipywidgets as w  # noqa: PLC0415  # 0.2 s that only JupyterLab pays

    style = {"description_width": "initial"}
    hint = f"type {one.subject.target} to approve what is deleted"
    typed = w.Text(placeholder=hint, description="Target", style=style, layout={"width": "36em"})
    button = w.Button(
        description="Approve this plan",
        button_style="danger" if one.subject.destructive else "primary",
        layout={"width": "14em"},
    )
    answer = w.HTML(html.escape(one.reason))
    said = w.Output()

    def approve(_: Any) -> None:
        with said:
            problem = one.approve(typed.value)
        answer.value = html.escape(problem or f"{one.sentence()} Now run the next cell.")
        button.disabled = not problem

    button.on_click(approve)
    fields = [typed] if one.subject.destructive else []
    return w.VBox([w.HTML(text), *fields, button, answer, said])
