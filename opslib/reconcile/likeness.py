"""New objects that are alike but for their names: the server is asked about one of them.

A dry run of a new object shows nothing that Git does not say; it is asked for so that what the
server refuses is known before anything is written. What it says of one Deployment it says of
its sisters. Two objects are alike when one becomes the other by putting the other's name, and
the number in it, in place of its own, both as long as before, wherever they stand in texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any, Protocol, TypeVar

import orjson

from opslib.core.model import Manifest

T = TypeVar("T")
Item_contra = TypeVar("Item_contra", contravariant=True)
Out = TypeVar("Out")

_NAME = re.compile(r"(?=.{1,40}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""Names that are right in every place where a name may stand, so that any two are."""

_NUMBER = re.compile(r"\d+")
_WORDS = re.compile(r"[A-Za-z]")
_FREE_TEXT = 256 * 1024
"""Characters of a ConfigMap, whose values may be any text, far from its limit of 1 MiB."""


def shape(manifest: Manifest) -> bytes:
    """Return what alike objects have in common; equal for two exactly when they are alike."""
    name = str(manifest["metadata"]["name"])
    if not _NAME.fullmatch(name):
        return orjson.dumps(manifest)
    metadata = dict(manifest["metadata"])
    # Another namespace has other quotas and policies, whatever it is called.
    namespace = metadata.pop("namespace", None)
    rest = {**manifest, "metadata": metadata}
    if (manifest["apiVersion"], manifest["kind"]) == ("v1", "ConfigMap"):
        rest["data"] = _keys(manifest.get("data"))
    kind = {"apiVersion": rest["apiVersion"], "kind": rest["kind"]}
    return orjson.dumps([namespace, {**_Renamed(name).value(rest), **kind}])


def _keys(data: Any) -> Any:
    """Return the keys of a ConfigMap without their texts, unless these are no texts or long."""
    if not isinstance(data, dict) or not all(isinstance(one, str) for one in data.values()):
        return data
    return data if sum(map(len, data.values())) > _FREE_TEXT else dict.fromkeys(data, "")


class _Renamed:
    """Puts marks in place of a name and of the numbers in it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mark = f"\0{len(name)}\0"
        self._numbers = frozenset(_NUMBER.findall(name))

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self._text(str(key)): self.value(one) for key, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, list) else value

    def _text(self, text: str) -> str:
        found = text.replace(self._name, self._mark)
        # A text that starts with a digit may be an amount, a time or an address.
        if not self._numbers or not _WORDS.match(text):
            return found
        return _NUMBER.sub(self._number, found)

    def _number(self, found: re.Match[str]) -> str:
        number = found[0]
        before = found.string[found.start() - 1 : found.start()]
        if number not in self._numbers or before == "\0":
            return number
        return f"\0#{len(number)}"


class Judging(Protocol[Item_contra, Out]):
    """What answers for one item: at once, by asking, or by the answer to one that is like it."""

    def known(self, item: Item_contra, /) -> Out | None:
        """Return the answer where the server need not be asked."""

    def target(self, item: Item_contra, /) -> Out:
        """Ask the server."""

    def group(self, item: Item_contra, /) -> bytes | None:
        """Return what is equal for items that are alike; None for one that is like no other."""

    def like(self, item: Item_contra, answer: Out, /) -> Out | None:
        """Make an answer of that to a likeness; None where that is none."""


def ask(pool: Executor, judge: Judging[T, Out], items: Sequence[T]) -> list[Future[Out]]:
    """Return the answers in the order of the items, of alike ones the first is asked about.

    Where the server refuses that one, it is asked about all that are like it.
    """
    first: dict[bytes, Future[Out]] = {}
    jobs: list[Future[Out] | bytes] = []
    for item in items:
        known = judge.known(item)
        key = None if known is not None else judge.group(item)
        if key is not None and key in first:
            jobs.append(key)
            continue
        asked = _done(known) if known is not None else pool.submit(judge.target, item)
        jobs.append(asked)
        if key is not None:
            first[key] = asked
    found: list[Future[Out]] = []
    for item, job in zip(items, jobs, strict=True):
        if isinstance(job, Future):
            found.append(job)
            continue
        answer = judge.like(item, first[job].result())
        found.append(_done(answer) if answer is not None else pool.submit(judge.target, item))
    return found


def _done(answer: Out) -> Future[Out]:
    job: Future[Out] = Future()
    job.set_result(answer)
    return job
