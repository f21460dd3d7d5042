"""Forms in JupyterLab: the parameters of a runbook, and the approval at its gate.

A form never holds up the cells below it: what a person enters is used by the next cell that
is run. Wherever nobody can answer, and in the record, the same is shown as plain HTML.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from opslib.view import show

if TYPE_CHECKING:
    from opslib.runbook.gates import Approval


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
