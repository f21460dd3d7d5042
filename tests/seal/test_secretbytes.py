"""The object that holds a value: nothing that shows, copies or stores things gets the value."""

from __future__ import annotations

import copy
import functools
import io
import json
import logging
import pickle
import pprint
import resource
import sys
import traceback
from collections.abc import Callable
from typing import Any

import orjson
import pandas as pd
import pytest
from IPython.core import ultratb
from IPython.core.formatters import DisplayFormatter
from rich.console import Console

from opslib.core import secrecy
from opslib.core.errors import InputError
from opslib.runbook import facts
from opslib.seal.secretbytes import SecretBytes

VALUE = "kR7#pQ2x!vN9-zT4m"
REFUSING: dict[str, Callable[[Any], Any]] = {
    "str": str,
    "repr": repr,
    "bytes": bytes,
    "format": lambda one: f"{one}",
    "format with width": lambda one: f"{one:>40}",
    "conversion": lambda one: f"{one!r}",
    "percent": lambda one: "%s" % one,  # noqa: UP031  # the form is the point
    "str.format": lambda one: "{}".format(one),  # noqa: UP032, PLW0108  # as above
    "list of it": lambda one: repr([one]),
    "dict of it": lambda one: str({"value": one}),
    "add": lambda one: "dsn" + one,
    "join": lambda one: ", ".join({"a": one}.values()),
    "iteration": list,
    "index": lambda one: one[0],
    "in": lambda one: 107 in one,
    "bytes.join": lambda one: b"".join([one]),
    "memoryview": memoryview,
    "hash": hash,
    "set": lambda one: {one},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a list": lambda one: copy.deepcopy([one]),
    "json": json.dumps,
    "orjson": orjson.dumps,
    "vars": vars,
    "pprint": pprint.pformat,
    "pandas": lambda one: pd.DataFrame({"value": [one]}).to_string(),
    "pandas html": lambda one: pd.DataFrame({"value": [one]}).to_html(),
    "pandas csv": lambda one: pd.DataFrame({"value": [one]}).to_csv(),
    "report": lambda one: facts.to_plain({"value": one}, "value"),
    **{f"pickle {n}": functools.partial(pickle.dumps, protocol=n) for n in range(6)},
    "reduce": lambda one: one.__reduce__(),
    "getstate": lambda one: one.__getstate__(),
    "object's reduce": lambda one: object.__reduce_ex__(one, 2),
}


@pytest.fixture
def one() -> SecretBytes:
    """Return the object."""
    return SecretBytes(VALUE, "shop/db")


@pytest.mark.parametrize("way", REFUSING)
def test_it_refuses(one: SecretBytes, way: str) -> None:
    """Each way to a text, a copy or a file raises, and the error does not say the value."""
    with pytest.raises((TypeError, InputError, AttributeError)) as caught:
        REFUSING[way](one)
    _clean("".join(traceback.format_exception(caught.value)))


def test_no_attribute_holds_it(one: SecretBytes) -> None:
    """Whoever goes through all attributes of the object finds methods and the label."""
    found = {name: getattr(one, name, None) for name in dir(one)}
    _clean("\n".join(f"{name}: {_try(repr, each)}" for name, each in found.items()))
    assert not hasattr(one, "__dict__")
    assert not any(isinstance(each, bytes) for each in found.values())
    assert [each for each in found.values() if isinstance(each, str)] == [
        SecretBytes.__doc__,
        SecretBytes.__module__,
        "shop/db",
    ]


def test_shows_of_ipython_rich_and_logging(
    one: SecretBytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every formatter of IPython, rich's print and inspect, and logging go without the value."""
    formatter = DisplayFormatter()
    for each in formatter.formatters.values():
        each.enabled = True
    bundle = _try(formatter.format, one)
    page = Console(file=io.StringIO(), width=200, record=True)
    for work in (page.print, page.log, lambda o: __import__("rich").inspect(o, all=True)):
        _try(work, one)
    logging.raiseExceptions = True
    for words in (("%s", one), ("value", one), (one,)):
        _try(lambda w=words: logging.getLogger("opslib.test").warning(*w))
    told = capsys.readouterr()
    _clean(repr(bundle) + page.export_text() + told.out + told.err + caplog.text)


@pytest.mark.parametrize("mode", ["Plain", "Context", "Verbose", "Minimal", "rich"])
def test_a_traceback_with_variables(one: SecretBytes, mode: str) -> None:
    """Work that fails with the value in its hands leaves neither its variables nor its words."""

    def work(clear: bytes) -> None:
        text = clear.decode()
        try:
            dict[str, str]()[text]
        except KeyError as error:
            raise ValueError(f"no login with {text}") from error

    def lone(clear: bytes) -> str:
        return (clear + b"\xff").decode()  # UnicodeDecodeError carries the bytes

    def stopped(clear: bytes) -> None:
        raise KeyboardInterrupt(clear)

    for each in (work, lone, stopped):
        try:
            one.used_by(each)
        except BaseException:  # noqa: BLE001  # Ctrl-C is one of them
            _clean(_shown(mode))
    with pytest.raises(ValueError, match="no text") as caught:
        SecretBytes(VALUE + "\ud800", "half a character")
    assert caught.value.__context__ is None
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    _clean(repr([_try(repr, row) for row in frames[1:]]))


def test_equal_in_constant_time_and_its_length(one: SecretBytes) -> None:
    """It may be compared with another of its kind, and only with that; empty is a value."""
    assert one == SecretBytes(VALUE, "another label")
    assert one != SecretBytes(VALUE + "x", "shop/db")
    assert one != VALUE
    assert one != VALUE.encode()
    assert len(one) == 17
    assert SecretBytes(b"", "empty")
    assert one.reveal() == VALUE.encode()


def test_a_revealed_value_is_known_and_no_crash_writes_it(one: SecretBytes) -> None:
    """It is noted for the masks of records, and core dumps are off from then on."""
    one.reveal()
    assert VALUE in {known.value for known in secrecy.REGISTRY.known()}
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0


def _shown(mode: str) -> str:
    if mode == "rich":
        page = Console(file=io.StringIO(), width=200, record=True)
        page.print_exception(show_locals=True)
        return page.export_text()
    handler = ultratb.AutoFormattedTB(mode=mode, theme_name="nocolor", include_vars=True)
    return str(handler.stb2text(handler.structured_traceback(*sys.exc_info())))


def _try(work: Callable[..., Any], *words: Any) -> str:
    try:
        return repr(work(*words))
    except Exception:  # noqa: BLE001  # whatever it is, what it says is looked at
        return traceback.format_exc() + _shown("Verbose")


def _clean(text: str) -> None:
    assert VALUE not in text
    assert VALUE[3:11] not in text
    assert VALUE[::-1] not in text
    assert VALUE.encode().hex() not in text
