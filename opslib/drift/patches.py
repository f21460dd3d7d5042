"""What a patch does to one field: merge, strategic merge, server-side apply, JSON patch.

Nothing is applied: a patch is followed down the path of the field. Where a list is in the way
and it is not known how its items are merged, the effect is all that is possible.
https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from opslib.drift.wants import CAN, LEAVE, NOTHING, SET, UNSET, Effect, Want, joined, then
from opslib.reconcile.diff import Step, find_step

ABSENT = object()

# Lists of the server's own kinds that are merged by keys, in strategic merge patches and in
# server-side apply alike (x-kubernetes-patch-merge-key, x-kubernetes-list-map-keys).
_KEYED = """containers initContainers ephemeralContainers env volumes volumeMounts volumeDevices
ports hostAliases imagePullSecrets ownerReferences topologySpreadConstraints conditions secrets
webhooks schedulingGates resourceClaims"""
KEYED = frozenset(_KEYED.split())


class Patch(Enum):
    """The types of patch whose body is an object."""

    MERGE = "merge"
    STRATEGIC = "strategic merge"
    APPLY = "apply"


# Keys of list items that have a default where they are left out.
_KEY_DEFAULTS = {"protocol": "TCP"}


def find(node: Any, step: Step) -> str | int | None:
    """Return the key or index at which a step leads on; None where it surely does not.

    Of an item that leaves out one of the keys that name it, the first one counts.
    """
    if not isinstance(step, tuple) or not isinstance(node, list):
        return find_step(node, step)
    for number, item in enumerate(node):
        if (
            isinstance(item, dict)
            and step[0][0] in item
            and all(item.get(key, _KEY_DEFAULTS.get(key, value)) == value for key, value in step)
        ):
            return number
    return None


def lookup(node: Any, place: Sequence[Step]) -> tuple[bool, Any]:
    """Return whether an object has a field, and its value; None counts as none."""
    for step in place:
        if step == "(order)":
            break
        key = find(node, step)
        if key is None:
            return False, None
        node = node[key]
    return node is not None, node


def whole(node: Any, place: Sequence[Step], want: Want) -> Effect:
    """Return the effect of setting something that the field is in to ``node``, whole."""
    for depth, step in enumerate(place):
        if step == "(order)":
            break
        key = find(node, step)
        if key is None:
            # A field that is not given gets its default, an item of a list does not.
            items = any(not isinstance(one, str) for one in place[depth:])
            return want.gone if items else want.reset
        node = node[key]
    return want.judge(node)


def by_merge(body: Any, want: Want, how: Patch) -> Effect:
    """Return the effect of a patch whose body is an object."""
    return _Walk(want, how).down(body, want.place)


class _Walk:
    """Follows one patch down to one field."""

    def __init__(self, want: Want, how: Patch) -> None:
        self.want = want
        self.how = how

    def down(self, node: Any, rest: tuple[Step, ...]) -> Effect:
        if rest == ("(order)",):
            # Whoever merges by keys may put items anywhere.
            return self.want.judge(node) if self.how is Patch.MERGE else CAN
        if not rest:
            return self._at(node)
        if isinstance(node, dict):
            return self._mapping(node, rest)
        if isinstance(node, list):
            return self._list(node, rest)
        return self.want.reset  # what it was in is something else now

    def _at(self, value: Any) -> Effect:
        """Return the effect of a value that stands right where the field is."""
        if isinstance(value, dict):
            return self._mapping_at(value)
        if not isinstance(value, list) or self.how is Patch.MERGE:
            return self.want.judge(value)
        if self.want.member:
            return SET if self.want.value in value else LEAVE
        if self.want.builtin and self._list_name(()) not in KEYED:
            return joined(self.want.judge(value), CAN if _directs(value) else NOTHING)
        # Merged into what is there: what comes out is this and more, or less.
        return self.want.judge(value) if not self.want.present and _leaves_any(value) else CAN

    def _mapping_at(self, value: Mapping[str, Any]) -> Effect:
        if value.get("$patch") == "delete":
            return self.want.gone
        if not self.want.present:
            return UNSET if _leaves_any(value) else CAN
        # What is not mentioned stays: what is there afterwards is this and more.
        return joined(self.want.judge(value), CAN) if self.want.value else self.want.judge(value)

    def _mapping(self, node: Mapping[str, Any], rest: tuple[Step, ...]) -> Effect:
        first = rest[0]
        directive = node.get("$patch")
        if directive == "delete" or not isinstance(first, str):
            return self.want.reset  # gone, or a mapping where the field's list was
        if directive == "replace":
            return whole(node, rest, self.want)
        if first in node:
            part = node[first]
            return self.want.reset if part is None else self.down(part, rest[1:])
        return self._silent(node, first, rest)

    def _silent(self, node: Mapping[str, Any], first: str, rest: tuple[Step, ...]) -> Effect:
        """Return the effect of a mapping that does not have the next step."""
        retained = node.get("$retainKeys")
        dropped = isinstance(retained, list) and first not in retained
        if dropped or (self.want.member and self._taken_out(node, first)):
            return self.want.reset
        if rest[1:] == ("(order)",) and f"$setElementOrder/{first}" in node:
            return CAN
        # What is always there (spec, metadata) gets no defaults by being mentioned.
        return LEAVE if len(self.want.place) - len(rest) < 2 else self.want.touch

    def _taken_out(self, node: Mapping[str, Any], name: str) -> bool:
        values = node.get(f"$deleteFromPrimitiveList/{name}")
        return isinstance(values, list) and self.want.value in values

    def _list(self, items: list[Any], rest: tuple[Step, ...]) -> Effect:
        replaced = whole(items, rest, self.want)
        if self.how is Patch.MERGE or isinstance(rest[0], int):
            return replaced
        keyed = self._by_key(items, rest)
        name = self._list_name(rest)
        return keyed if self.want.builtin and name in KEYED else joined(replaced, keyed)

    def _list_name(self, rest: tuple[Step, ...]) -> Step:
        above = self.want.place[: len(self.want.place) - len(rest)]
        return above[-1] if above else ""

    def _by_key(self, items: list[Any], rest: tuple[Step, ...]) -> Effect:
        if any(isinstance(one, dict) and one.get("$patch") == "replace" for one in items):
            return whole(items, rest, self.want)
        step = rest[0]
        # Strategic merge knows an item by one of its keys only (a port without its protocol).
        loose = isinstance(step, tuple) and len(step) > 1 and self.how is Patch.STRATEGIC
        exact = find(items, step)
        if exact is not None:
            effect = self.down(items[int(exact)], rest[1:])
            return joined(effect, LEAVE) if loose else effect
        return CAN if any(_may_be(one, step) for one in items) else LEAVE


def _leaves_any(value: Any) -> bool:
    """Tell whether something surely is there after a patch put a value in a place."""
    if isinstance(value, dict):
        return "$patch" not in value and any(_leaves_any(part) for part in value.values())
    if isinstance(value, list):
        return any(_leaves_any(part) for part in value)
    return value not in {None, "", 0}


def _directs(items: Sequence[Any]) -> bool:
    return any(isinstance(one, dict) and "$patch" in one for one in items)


def _may_be(item: Any, step: Step) -> bool:
    """Tell whether an item is the one that a step names, by the first of its keys."""
    if not isinstance(item, dict) or not isinstance(step, tuple):
        return False
    return any(item.get(key, ABSENT) == value for key, value in step[:1])


def by_json_patch(operations: Sequence[Any], want: Want) -> Effect:
    """Return the effect of a JSON patch that was carried out (RFC 6902)."""
    effect = LEAVE
    tests = {str(o.get("path")): o.get("value") for o in operations if _op(o) == "test"}
    for one in operations:
        effect = then(effect, _operation(one, want, tests))
    return effect


def _op(operation: Any) -> str:
    return str(operation.get("op")) if isinstance(operation, dict) else ""


def _operation(one: Any, want: Want, tests: Mapping[str, Any]) -> Effect:
    op = _op(one)
    if op == "test":
        return LEAVE
    if op == "move":
        source = _pointed("remove", str(one.get("from")), None, want, tests)
        return then(source, _pointed("copy", str(one.get("path")), None, want, tests))
    if op not in {"add", "replace", "remove", "copy"}:
        return CAN
    return _pointed(op, str(one.get("path")), one.get("value"), want, tests)


def _pointed(op: str, path: str, value: Any, want: Want, tests: Mapping[str, Any]) -> Effect:
    """Follow a pointer along the field's path until one of them ends or they part."""
    raw = path.split("/")[1:]
    sure = True
    for depth, part in enumerate(raw):
        last = depth == len(raw) - 1
        if want.place[depth : depth + 1] in {(), ("(order)",)}:
            return _member(op, value, want) if want.member else CAN
        step = want.place[depth]
        if isinstance(step, tuple):
            named = _named(tests, "/" + "/".join(raw[: depth + 1]), step)
            if last:
                return _item(op, value, want, want.place[depth:], named)
            if named is False:
                return LEAVE
            sure = sure and named is True
        elif isinstance(step, int) and last and op != "replace":
            return CAN  # items move
        elif part.replace("~1", "/").replace("~0", "~") != str(step):
            return LEAVE
    effect = _outcome(op, value, want, want.place[len(raw) :])
    return effect if sure else joined(effect, LEAVE)


def _named(tests: Mapping[str, Any], at: str, step: Step) -> bool | None:
    """Tell by the patch's own tests whether an item is the one that a step names."""
    if not isinstance(step, tuple):
        return None
    if at in tests:
        return find([tests[at]], step) is not None
    known = [tests[f"{at}/{k}"] == v for k, v in step if f"{at}/{k}" in tests]
    if False in known:
        return False
    return True if known and len(known) == len(step) else None


def _outcome(op: str, value: Any, want: Want, rest: tuple[Step, ...]) -> Effect:
    """Return the effect of an operation on the field itself, or on what it is in."""
    if op == "remove":
        return want.reset
    if op == "copy":
        return CAN
    return whole(value, rest, want)


def _item(op: str, value: Any, want: Want, rest: tuple[Step, ...], named: bool | None) -> Effect:
    """Return the effect of an operation on one item of a keyed list, which the field may be in."""
    if op == "copy":
        return CAN
    if op == "remove":
        return LEAVE if named is False else want.gone if named else joined(want.gone, LEAVE)
    if find([value], rest[0]) is not None:
        effect = whole([value], rest, want)
        # Nothing keeps a patch from adding an item of the same name a second time.
        return joined(effect, LEAVE) if op == "add" else effect
    if op == "add":
        return LEAVE  # another item, put between
    return LEAVE if named is False else joined(want.gone, LEAVE)


def _member(op: str, value: Any, want: Want) -> Effect:
    """Return the effect of an operation on one text of a set of texts."""
    if op == "add":
        return SET if value == want.value else LEAVE
    if op == "replace" and value == want.value:
        return SET
    return joined(want.reset, LEAVE)
