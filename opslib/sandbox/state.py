"""Where a sandbox keeps its things, and what it remembers of itself."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from opslib.core.errors import InputError
from opslib.core.files import private_dir, write_atomic
from opslib.core.settings import state_dir

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
PORTS = (
    "kubeApiserverPort",
    "etcdPort",
    "etcdPeerPort",
    "kwokControllerPort",
    "kubeControllerManagerPort",
    "kubeSchedulerPort",
)
"""The ports of one sandbox, by their names in kwokctl's options."""


@dataclass(frozen=True)
class Place:
    """The folder of one sandbox. All that the sandbox writes is in it."""

    name: str
    root: Path

    @property
    def work(self) -> Path:
        """The folder that kwokctl makes: KWOK_WORKDIR/clusters/NAME."""
        return self.root / "clusters" / "c"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.work / "logs" / "audit.log"

    @property
    def pod_log(self) -> Path:
        """What every simulated container has said."""
        return self.root / "pods.log"

    @property
    def pki(self) -> Path:
        return self.work / "pki"

    @property
    def sealed_secrets(self) -> Path:
        """The folder of the Sealed Secrets controller, where the sandbox has one."""
        return self.root / "sealed-secrets"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """Beside the folder, so that it can be held while the folder is removed."""
        return self.root.parent / f".{self.name}.lock"


@dataclass(frozen=True)
class State:
    """What is written once a sandbox was created whole: its ports, versions and options."""

    ports: dict[str, int]
    versions: dict[str, str]
    origin: str = ""

    @property
    def api_port(self) -> int:
        return self.ports[PORTS[0]]


def folder() -> Path:
    """Return the folder that holds all sandboxes, its owner's alone. Raises InputError."""
    wanted = state_dir() / "sandbox"
    try:
        made = private_dir(wanted).resolve()
        made.chmod(0o700)
    except OSError as error:
        raise InputError(
            f"the folder of the sandboxes cannot be made: {error.strerror}",
            where=str(wanted),
            hint="set OPSLIB_STATE to a folder that you may write to",
        ) from error
    return made


def place(name: str) -> Place:
    """Return where the sandbox of that name is or will be. Raises InputError for a bad name."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a sandbox",
            where="--name",
            expected="1 to 40 lower-case letters, digits and hyphens,"
            " beginning and ending with a letter or digit",
        )
    return Place(name, folder() / name)


def read(where: Place) -> State | None:
    """Return the sandbox's own record; None for one that was never created whole."""
    try:
        data = json.loads(where.state.read_text(encoding="utf-8"))
        state = State(**data)
        return state if set(state.ports) == set(PORTS) else None
    except (OSError, ValueError, TypeError):
        return None


def write(where: Place, state: State) -> None:
    """Remember that the sandbox is whole."""
    write_atomic(where.state, json.dumps(asdict(state), indent=2) + "\n", mode=0o600)


def others(name: str) -> set[int]:
    """Return the ports that other sandboxes hold or will want again when they are started."""
    found: set[int] = set()
    for entry in folder().iterdir():
        if entry.is_dir() and entry.name != name and (state := read(Place(entry.name, entry))):
            found.update(state.ports.values())
    return found
