"""What Git declares of a node: baselines and their rules, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from opslib.core.model import Origin
from opslib.node import values

API_VERSION, KIND = "opslib.dev/v1", "NodeBaseline"
SEVERITIES = ("error", "warning", "info")
SHIPPED = "opslib/"
"""Names that only the kit's own baselines have."""

OWNERS = {
    "block": "udev", "cmdline": "cmdline", "hugepages": "sysctl.d", "kubelet": "kubelet",
    "kubelet-flag": "kubelet", "limit": "systemd", "module": "modules-load.d", "mount": "fstab",
    "pkg": "packages", "swap": "fstab", "sysctl": "sysctl.d", "time": "time service",
    "cgroup": "cmdline", "clock": "cmdline", "cpu": "cmdline", "kernel": "packages",
    "lsm": "cmdline", "memory": "cmdline", "numa": "hardware", "os": "packages",
    "thp": "cmdline", "tuned": "tuned", "virt": "hardware", "hardware": "hardware",
}  # fmt: skip
"""The kinds of keys, each with who sets it where a rule does not say so."""


@dataclass(frozen=True)
class Rule:
    """One demand on one key, or on all keys that a pattern fits (``*`` in it).

    ``since`` is ("kubernetes" or "kernel", version), or None. An ``optional`` rule holds where
    the key is not there. ``line`` is that of the value: what Git says of it is its history.
    """

    key: str
    op: str
    wanted: tuple[str, ...]
    owner: str
    severity: str
    why: str
    source: str
    since: tuple[str, str] | None
    optional: bool
    origin: Origin
    line: int
    baseline: str

    @cached_property
    def told(self) -> str:
        return values.told(self.op, self.wanted)

    @property
    def is_pattern(self) -> bool:
        return any(char in self.key for char in "*?[")

    def holds(self, key: str, value: str | None) -> bool:
        """Tell whether a value fulfils the rule; each one, where a key stands for several."""
        if value is None and self.optional:
            return True
        parts = value.split(", ") if value is not None and "*" in key else [value]
        return all(values.holds(self.op, self.wanted, part) for part in parts)


@dataclass(frozen=True)
class Parent:
    """A name under ``extends``, and where it stands."""

    name: str
    origin: Origin


@dataclass(frozen=True)
class Without:
    """A key of the parents that does not count here, and why."""

    key: str
    why: str
    origin: Origin


@dataclass(frozen=True)
class Baseline:
    """One document. ``select`` maps node and pool to shell patterns of the machines it is for."""

    name: str
    extends: tuple[Parent, ...]
    select: Mapping[str, str]
    rules: tuple[Rule, ...]
    without: tuple[Without, ...]
    origin: Origin
