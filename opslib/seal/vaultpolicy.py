"""The least that a policy of Vault has to allow for the references in Git; what a real one adds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from opslib.seal.vaulthcl import Rule
from opslib.seal.vaultref import Reference

For = Literal["loop", "check"]

_OWN: Mapping[str, frozenset[str]] = {
    # What the kit does with its token: look at it, give it back.
    "auth/token/lookup-self": frozenset({"read"}),
    "auth/token/revoke-self": frozenset({"update"}),
}
_PARTS: Mapping[For, tuple[str, ...]] = {
    "loop": ("data", "metadata", "subkeys"),
    "check": ("metadata", "subkeys"),
}


def needed(references: Iterable[Reference], who: For) -> dict[str, frozenset[str]]:
    """Return the paths that are read, each with what has to be allowed, in order.

    ``loop`` reads values; ``check``, for CI and plans, proves that they are there.
    """
    secrets = sorted({(one.mount, one.path) for one in references})
    paths = {
        f"{mount}/{part}/{path}": frozenset({"read"})
        for mount, path in secrets
        for part in _PARTS[who]
    }
    return {**paths, **_OWN}


def written(paths: Mapping[str, frozenset[str]]) -> str:
    """Return the policy in HCL."""
    blocks = [
        f"path {json.dumps(path, ensure_ascii=False)} {{\n"
        f"  capabilities = {json.dumps(sorted(words))}\n}}\n"
        for path, words in paths.items()
    ]
    return "\n".join(blocks)


@dataclass(frozen=True)
class More:
    """A path by which a real policy allows more than Git uses.

    ``uses`` are the paths under it that Git needs: what it is to be narrowed to.
    """

    path: str
    capabilities: tuple[str, ...]
    uses: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "capabilities": list(self.capabilities), "uses": list(self.uses)}


@dataclass(frozen=True)
class Compared:
    """How a real policy differs from what the references need."""

    more: tuple[More, ...]
    missing: tuple[More, ...]

    @property
    def same(self) -> bool:
        return not self.more and not self.missing


def compare(paths: Mapping[str, frozenset[str]], real: Sequence[Rule]) -> Compared:
    """Compare what is needed with the rules of one or several policies, taken together."""
    rules = _together(real)
    more = []
    for path, words in rules.items():
        if "deny" in words:
            continue
        wide = _wide(path)
        extra = words - (frozenset() if wide else paths.get(path, frozenset()))
        if extra:
            uses = tuple(one for one in paths if one != path and matches(path, one))
            more.append(More(path, tuple(sorted(extra)), uses))
    missing = []
    for path, words in paths.items():
        lacking = words - allowed(rules, path)
        if lacking and path not in _OWN:  # Vault's default policy has these
            missing.append(More(path, tuple(sorted(lacking))))
    return Compared(tuple(more), tuple(missing))


def allowed(rules: Mapping[str, frozenset[str]], path: str) -> frozenset[str]:
    """Return what the rules allow on a path: the most specific one decides.

    https://developer.hashicorp.com/vault/docs/concepts/policies#priority-matching
    """
    fits = [rule for rule in rules if matches(rule, path)]
    if not fits:
        return frozenset()
    words = rules[path] if path in rules else rules[max(fits, key=_rank)]
    return frozenset() if "deny" in words else words


def matches(rule: str, path: str) -> bool:
    """Tell whether a rule's path is, or covers, a path."""
    glob = rule.endswith("*")
    wanted, parts = rule.removesuffix("*").split("/"), path.split("/")
    if len(parts) < len(wanted) or (len(parts) > len(wanted) and not glob):
        return False
    for number, one in enumerate(wanted):
        if number == len(wanted) - 1 and glob:
            return parts[number].startswith(one) or one == "+"
        if one not in {"+", parts[number]}:
            return False
    return True


def _wide(path: str) -> bool:
    return path.endswith("*") or "+" in path.split("/")


def _rank(path: str) -> tuple[int, bool, int, int, str]:
    """Order rules that match the same path; the greatest decides."""
    parts = path.split("/")
    first = len(path)
    if "+" in parts:
        first = len("/".join(parts[: parts.index("+")]))
    if path.endswith("*"):
        first = min(first, len(path) - 1)
    return first, not path.endswith("*"), -parts.count("+"), len(path), path


def _together(real: Sequence[Rule]) -> dict[str, frozenset[str]]:
    """Join rules of the same path: what one allows is allowed, what one denies is denied."""
    found: dict[str, frozenset[str]] = {}
    for rule in real:
        found[rule.path] = found.get(rule.path, frozenset()) | rule.capabilities
    return found
