"""What a cell printed, joined and cleaned as a terminal would show it, in linear time.

nbclient can do it too (coalesce_streams), with a regular expression that is quadratic in
the length of a line: one line of 200 kB takes half a minute.
"""

from __future__ import annotations

from typing import Any


def join(outputs: list[Any]) -> list[Any]:
    """Join neighbouring pieces of the same stream, and apply returns and backspaces.

    A line that was begun on one stream while the other wrote is put together where it began:
    what reads the text, as the search for secrets, sees it whole.
    """
    joined: list[Any] = []
    begun: dict[str, Any] = {}
    for output in outputs:
        if output["output_type"] != "stream":
            begun.clear()
            joined.append(output)
            continue
        name, last = output["name"], joined[-1] if joined else None
        if last is not None and _same_stream(last, output):
            last["text"] += output["text"]
        else:
            if name in begun:
                line, end, rest = output["text"].partition("\n")
                begun.pop(name)["text"] += line + end
                output["text"] = rest
                if not end:
                    begun[name] = _last(joined, name)
            if not output["text"]:
                continue
            joined.append(output)
        if not joined[-1]["text"].endswith("\n"):
            begun[name] = joined[-1]
        else:
            begun.pop(name, None)
    for output in joined:
        if output["output_type"] == "stream":
            output["text"] = clean(output["text"])
    return joined


def _last(joined: list[Any], name: str) -> Any:
    """Return the last output of a stream: it has the line that is not ended yet."""
    return next(one for one in reversed(joined) if one.get("name") == name)


def _same_stream(one: Any, other: Any) -> bool:
    kinds = {one["output_type"], other["output_type"]}
    return kinds == {"stream"} and bool(one["name"] == other["name"])


def clean(text: str) -> str:
    """Drop what a carriage return overwrites and what a backspace takes back."""
    if "\r" in text:
        text = "\n".join(_after_return(line) for line in text.split("\n"))
    return _without_backspaces(text) if "\b" in text else text


def _after_return(line: str) -> str:
    shown = line.rstrip("\r")
    return shown.rpartition("\r")[2] + line[len(shown) :]


def _without_backspaces(text: str) -> str:
    kept: list[str] = []
    for letter in text:
        if letter != "\b":
            kept.append(letter)
        elif kept and kept[-1] != "\n":
            kept.pop()
    return "".join(kept)


def whole(nb: Any) -> Any:
    """Return a notebook to be saved in which no text of a running cell lies in pieces.

    A secret may lie in two pieces of output, and then none of them holds it. The notebook
    itself stays as it is. What a running cell has begun to print of a known secret is left
    out until the rest has come.
    """
    from opslib.runbook.redact import REDACTOR  # noqa: PLC0415  # only where something is saved

    cells = []
    for cell in nb.cells:
        outputs = cell.get("outputs") or []
        if cell.get("metadata", {}).get("opslib", {}).get("outcome") != "running" or not outputs:
            cells.append(cell)
            continue
        joined = join([type(one)(one) for one in outputs])
        for stream in ("stdout", "stderr"):
            last = next((one for one in reversed(joined) if one.get("name") == stream), None)
            if last is not None:
                last["text"] = REDACTOR.begun(last["text"])
        cells.append(type(cell)({**cell, "outputs": joined}))
    return type(nb)({**nb, "cells": cells})
