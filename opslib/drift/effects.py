"""What one request may have done to one field: set it to a value, unset it, or left it alone.

Only one question is asked of a field: does it have the value that is looked for? What a
request does to the answer is a set of four possible transitions, once for a field without a
default and once for one whose default is that very value, as nobody need have written it then.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from opslib.drift.patches import Patch, by_json_patch, by_merge, lookup, whole
from opslib.drift.request import Request
from opslib.drift.wants import CAN, LEAVE, SET, UNSET, Effect, Want, joined, then

__all__ = ["effect_of"]

_HARMLESS = frozenset({"exec", "attach", "portforward", "log", "proxy", "token", "approval"})
_WHOLE = frozenset({"ephemeralcontainers", "resize"})


def effect_of(request: Request, want: Want, *, merged: bool = False) -> Effect:
    """Return what a request on the object of ``want`` may have done to its field.

    ``merged``: it is known that a patch which is an object was no plain merge patch.
    """
    if want.place[:1] == ("status",):
        return CAN
    effect = _asked(request, want, merged=merged)
    for note in request.webhooks:
        # What a webhook did to the request: the log has the patch that it answered.
        effect = then(effect, _by_webhook(note, want))
    if request.mutated:
        effect = joined(effect, CAN)
    if not request.finished:
        effect = joined(effect, LEAVE)
    return _answered(request, want, effect)


def _asked(request: Request, want: Want, *, merged: bool) -> Effect:
    if request.verb.startswith("delete"):
        return CAN if want.place[:2] == ("metadata", "finalizers") else LEAVE
    sub = request.subresource
    if sub == "scale":
        return _scaled(request, want)
    if sub and sub != "status" and sub not in _WHOLE:
        return LEAVE if sub in _HARMLESS else CAN
    if sub == "status" and want.place[:1] != ("metadata",):
        return LEAVE
    effect = _main(request, want, merged=merged)
    # Of a write to a subresource it depends on the kind what of the rest is taken.
    return joined(effect, LEAVE) if sub else effect


def _main(request: Request, want: Want, *, merged: bool) -> Effect:
    body = request.body
    if body is None or not _known_version(request, want):
        return CAN
    if want.secret:
        body = _as_data(body)
    if request.verb in {"create", "update"}:
        return _whole(body, want)
    if isinstance(body, list):
        return by_json_patch(body, want)
    if not isinstance(body, dict):
        return CAN
    return _patched(request, body, want, merged=merged)


def _whole(body: Any, want: Want) -> Effect:
    """Of a body that is the whole object: what it does not have is gone, or its default."""
    if not isinstance(body, dict):
        return CAN
    return whole(body, want.place, want)


def _patched(request: Request, body: Mapping[str, Any], want: Want, *, merged: bool) -> Effect:
    """Of a patch: the log does not have its type, so it is what any possible type does."""
    types = patch_types(request, body, want)
    if merged and len(types) > 1:
        types.remove(Patch.MERGE)
    effects = [by_merge(body, want, one) for one in types]
    result = effects[0]
    for one in effects[1:]:
        result = joined(result, one)
    return result


def patch_types(request: Request, body: Mapping[str, Any], want: Want) -> list[Patch]:
    """Return the types of patch that a request may have been."""
    if request.is_apply:
        return [Patch.APPLY]
    types = [Patch.MERGE, Patch.STRATEGIC]
    if not want.builtin:
        types = [Patch.MERGE]  # strategic merge is for the server's own kinds only
    elif _incomplete(body) or (
        request.query.get("fieldValidation") == "Strict" and _directed(body)
    ):
        types = [Patch.STRATEGIC]
    return [*types, Patch.APPLY] if request.may_be_apply else types


def _directed(node: Any) -> bool:
    """Tell whether a patch has directives of strategic merge: strictly, all others are refused."""
    if isinstance(node, dict):
        return any(key[:1] == "$" or _directed(part) for key, part in node.items())
    return isinstance(node, list) and any(_directed(part) for part in node)


def _incomplete(node: Any) -> bool:
    """Tell whether a patch has a container without its image: as a whole list it is refused."""
    if not isinstance(node, dict):
        return False
    for name in ("containers", "initContainers"):
        items = node.get(name)
        if isinstance(items, list) and any(isinstance(o, dict) and "image" not in o for o in items):
            return True
    return any(_incomplete(part) for part in node.values())


def _scaled(request: Request, want: Want) -> Effect:
    """Of the scale subresource; where a custom kind keeps its replicas is not known here."""
    own = want.place == ("spec", "replicas")
    if want.place[:1] == ("metadata",) or not (own or _is_number(want.value)):
        return LEAVE
    if request.body is None or (own and not want.present):
        return CAN
    target = want if own else want.moved(("spec", "replicas"))
    if request.verb == "update":
        body = request.body if isinstance(request.body, dict) else {}
        effect = target.judge((body.get("spec") or {}).get("replicas", 0))
    elif isinstance(request.body, list):
        effect = by_json_patch(request.body, target)
    else:
        effect = by_merge(request.body, target, Patch.MERGE)
    return effect if own and want.builtin else joined(effect, LEAVE)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _known_version(request: Request, want: Want) -> bool:
    """Tell whether paths of the request are paths of the want: another version may differ."""
    same = request.api_version == want.api_version or not want.api_version
    return same or want.place[:1] == ("metadata",)


def _by_webhook(note: Any, want: Want) -> Effect:
    try:
        document = json.loads(note) if isinstance(note, str) else note
        patch = document["patch"]
    except (ValueError, KeyError, TypeError):
        return CAN
    effect = by_json_patch(patch, want) if isinstance(patch, list) else CAN
    # Who is behind it then is not the request alone: never the only possibility.
    return effect if effect == LEAVE else CAN


def _answered(request: Request, want: Want, effect: Effect) -> Effect:
    """Narrow an effect down by the object as the server answered it, where the log has that."""
    answer = request.response
    if not isinstance(answer, dict) or not request.finished or request.subresource:
        return effect
    if answer.get("kind") in {None, "Status", "Scale"} or not _known_version(request, want):
        return effect
    found, value = lookup(_as_data(answer) if want.secret else answer, want.place)
    after = want.judge(value) if found else (UNSET if want.present else SET)
    both = Effect(effect.plain & after.plain, effect.default & after.default)
    return both if both.plain else after


def _as_data(body: Any) -> Any:
    """Return a Secret with its plain texts as the server keeps them."""
    if not isinstance(body, dict) or not isinstance(body.get("stringData"), dict):
        return body
    texts = {k: _base64(v) for k, v in body["stringData"].items()}
    data = body.get("data")
    return {**body, "data": {**(data if isinstance(data, dict) else {}), **texts}}


def _base64(value: Any) -> Any:
    return base64.b64encode(value.encode()).decode() if isinstance(value, str) else value
