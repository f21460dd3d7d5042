"""Where a secret value comes in: a masked field in JupyterLab, references or a generator elsewhere.

What a person types is taken into the one object that holds it and cleared from its field, so
that no widget, no saved notebook and no page has it.
"""

from __future__ import annotations

import html
import secrets
import string
from collections.abc import Mapping
from typing import Any

from opslib.core.errors import InputError
from opslib.runbook import facts
from opslib.runbook.secret import Secret
from opslib.seal import proposal
from opslib.seal.secret import check_key
from opslib.seal.secretbytes import SecretBytes
from opslib.view import show
from opslib.view.text import clean

ALPHABET = string.ascii_letters + string.digits
LEAST, USUAL, MOST = 12, 32, 4096
"""Characters of a generated value: 12 of 62 are 71 bits, 32 are 190."""


class Entry:
    """The values of one Secret by key, while somebody enters them."""

    def __init__(
        self, secret: str, keys: str, given: Mapping[str, Secret] | None = None, generate: int = 0
    ) -> None:
        """Take what is given by reference, and generate the rest where ``generate`` says so.

        ``secret`` is NAMESPACE/NAME, ``keys`` are separated by commas; ``generate`` is how many
        characters, 0 for none. Raises InputError for what cannot be.
        """
        self.namespace, self.name = proposal.place(secret)
        self.keys = tuple(dict.fromkeys((*proposal.names(keys), *(given or {}))))
        for key in self.keys:
            check_key(key)
        if not self.keys:
            raise InputError("no key is named", where="keys", expected="such as: password")
        if generate and not LEAST <= generate <= MOST:
            expected = f"{LEAST} to {MOST} characters, or 0"
            raise InputError(f"{generate} is no length", where="generate", expected=expected)
        self.values: dict[str, SecretBytes] = {}
        self.sources: dict[str, str] = {}
        for key, one in (given or {}).items():
            self._put(key, one.held(), one.reference)
        for key in self.keys:
            if generate and key not in self.values:
                self.generate(key, generate)

    @property
    def missing(self) -> list[str]:
        """The keys that have no value yet."""
        return [key for key in self.keys if key not in self.values]

    def type_in(self, key: str, text: str) -> None:
        """Take what a person typed. Raises ValueError, without it, for what is no text."""
        self._put(key, SecretBytes(text, f"{self.name}/{key}"), "entered here")

    def generate(self, key: str, length: int = USUAL) -> None:
        """Make a random value of letters and digits."""
        made = "".join(secrets.choice(ALPHABET) for _ in range(length))
        self._put(key, SecretBytes(made, f"{self.name}/{key}"), f"generated, {length} characters")

    def _put(self, key: str, value: SecretBytes, source: str) -> None:
        value.reveal()  # known as secret from now on, in the runner too
        self.values[key], self.sources[key] = value, source

    def require(self) -> dict[str, SecretBytes]:
        """Return all values. Raises InputError where one is missing."""
        if missing := self.missing:
            interactive = facts.context().interactive
            here = "enter it in the form above, then run this cell again"
            other = 'values = {"KEY": "env:NAME"} (file:, vault:), or generate = 32'
            raise InputError(
                f"there is no value for {', '.join(missing)}",
                where=f"Secret {self.namespace}/{self.name}",
                hint=here if interactive else other,
            )
        if facts.context().interactive:  # the form in the record is as it was before
            show.say("; ".join(f"{key}: {clean(self.says(key))}" for key in self.keys))
        return dict(self.values)

    def says(self, key: str) -> str:
        """Say where the value of a key comes from; never what it is."""
        return self.sources.get(key, "not entered yet")


def form(entry: Entry) -> None:
    """Ask for the values; where nobody can answer, show where each comes from."""
    told = {key: clean(entry.sources.get(key, "asked for here")) for key in entry.keys}
    rows = "".join(
        f"<tr><td>{html.escape(key)}</td><td>{html.escape(text)}</td></tr>"
        for key, text in told.items()
    )
    fallback = (
        '<table class="dataframe"><thead><tr><th>key</th><th>value</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    if facts.context().interactive:
        show.widget(_form(entry), fallback)
        return
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    plain = "\n".join(f"{key}: {clean(entry.says(key))}" for key in entry.keys)
    display({"text/plain": plain, "text/html": fallback}, raw=True)


def _form(entry: Entry) -> Any:
    import ipywidgets as w  # noqa: PLC0415  # 0.2 s that only JupyterLab pays

    text = "<p>Enter each value, or have it generated; then run the next cell.</p>"
    return w.VBox([w.HTML(text), *(_row(w, entry, key) for key in entry.keys)])


def _row(w: Any, entry: Entry, key: str) -> Any:
    """Return the field of one key, its generator, and what is known of it."""
    field = _masked(w)(
        description=key,
        placeholder="Enter takes it",
        continuous_update=False,  # else each letter would be sent for itself
        style={"description_width": "9em"},
        layout={"width": "28em"},
    )
    button = w.Button(description=f"Generate {key}", layout={"width": "auto"})
    said = w.HTML()

    def tell(problem: str = "") -> None:
        text = problem or entry.says(key)
        said.value = f'<span role="status">{html.escape(clean(text))}</span>'

    def typed(change: Any) -> None:
        if not change["new"]:
            return  # it was cleared here
        problem = ""
        try:
            entry.type_in(key, change["new"])
        except ValueError:
            problem = "this is no text that UTF-8 can hold: not taken"
        finally:
            field.value = ""
        tell(problem)

    def generate(_: Any) -> None:
        entry.generate(key)
        tell()

    field.observe(typed, names="value")
    button.on_click(generate)
    tell()
    return w.HBox([field, button, said], layout={"flex_flow": "row wrap"})


def _masked(w: Any) -> Any:
    """Return a password field whose value is not sent back to the pages that show it."""
    import traitlets  # noqa: PLC0415  # with ipywidgets

    plain = w.Password.value

    class Masked(w.Password):  # type: ignore[misc]  # ipywidgets has no types
        value = traitlets.Unicode("", help=plain.help).tag(sync=True, echo_update=False)

    return Masked
