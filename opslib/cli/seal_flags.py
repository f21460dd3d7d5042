"""The options of `opslib seal`, and what they choose: clusters, controller, certificate, input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.cli.common import say
from opslib.core.errors import InputError, OpslibError
from opslib.seal import emit, fetching, sealing
from opslib.seal.reading import read_file, read_stdin
from opslib.seal.secret import Secret, read_secrets
from opslib.seal.wire import Scope

if TYPE_CHECKING:
    from opslib.kube.client import Cluster
    from opslib.seal.certificates import Certificate
    from opslib.seal.controller import Controller
    from opslib.seal.pins import Pinned, Pins


@dataclass(frozen=True)
class Flags:
    """The options of the call. ``live`` None: where the cluster is asked anyway."""

    files: tuple[Path, ...] = ()
    output: Path | None = None
    out: str = ""
    form: str = "json"
    cert: str = ""
    scope: str = ""
    name: str = ""
    namespace: str = ""
    from_file: tuple[str, ...] = ()
    merge_into: Path | None = None
    allow_empty: bool = False
    keys: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    rotate_after: str = ""
    notes: bool = True
    live: bool | None = None
    controller_namespace: str = "kube-system"
    controller_name: str = "sealed-secrets-controller"
    kubeconfig: Path | None = None
    context: str | None = None
    _controllers: dict[str, Controller] = field(default_factory=dict, repr=False)

    @cached_property
    def pins(self) -> Pins:
        from opslib.seal import pins

        return pins.find(self.merge_into or self.output or Path())

    def chosen(self) -> tuple[Pinned | None, ...]:
        """Return the clusters to seal for; (None,) where none is named or pinned."""
        if self.clusters:
            return tuple(self.pins.cluster(name) for name in self.clusters)
        target = self.merge_into or self.output
        known = self.pins.of_file(target) if target else self.pins.clusters
        known = known or self.pins.clusters
        if len(known) > 1:
            names = ", ".join(one.name for one in known)
            raise InputError(
                f"{self.pins.file} pins several clusters",
                where="--cluster",
                expected=f"--cluster NAME, of: {names}",
            )
        return known or (None,)

    def cluster(self, pinned: Pinned | None = None) -> Cluster:
        """Connect to the cluster of the options, or of a pin."""
        from opslib.kube.client import connect

        context = self.context or (pinned.context if pinned else "") or None
        try:
            return connect(self.kubeconfig, context)
        except InputError as error:
            more = f"{error.hint}; or seal" if error.hint else "seal"
            error.hint = f"{more} offline: --cert FILE"
            raise

    def controller(self, pinned: Pinned | None = None) -> Controller:
        """Return the controller that options and pin name, each time the same one."""
        from opslib.seal.controller import Controller
        from opslib.seal.names import CONTROLLER_NAME, CONTROLLER_NAMESPACE

        which = pinned.name if pinned else ""
        if which in self._controllers:
            return self._controllers[which]
        namespace, name = self.controller_namespace, self.controller_name
        if pinned and (namespace, name) == (CONTROLLER_NAMESPACE, CONTROLLER_NAME):
            namespace, name = pinned.namespace, pinned.controller
        made = Controller(self.cluster(pinned), namespace, name)
        self._controllers[which] = made
        return made

    def warned(self, controller: Controller) -> Controller:
        """Tell what there is to know of a controller, unless it was told already."""
        for text in controller.news():
            say(f"warning: {text}")
        return controller

    def certificate(self, pinned: Pinned | None) -> Certificate:
        """Return the certificate to seal with; warnings are told."""
        place = self.cert or (self.pins.certificate_of(pinned) if pinned else "")
        one, told = fetching.certificate(place, lambda: self.controller(pinned), pinned)
        if pinned is None and (self.pins.file.parent / ".git").exists():
            told.append(f"{one.fingerprint} is not pinned in Git: opslib seal pin NAME does it")
        for text in told:
            say(f"warning: {text}")
        return one

    @property
    def asked_scope(self) -> Scope | None:
        try:
            return Scope(self.scope) if self.scope else None
        except ValueError:
            expected = ", ".join(Scope)
            raise InputError(
                f"{self.scope!r} is no scope", where="--scope", expected=expected
            ) from None

    @property
    def wanted_form(self) -> str:
        """The format: that of the output file's ending, as kubeseal has it, else --format."""
        if self.output and self.output.suffix in {".yaml", ".yml"}:
            return "yaml"
        return emit.check(self.form)

    def default_namespace(self, otherwise: str = "default") -> str:
        """Return the namespace of the kubeconfig's context, "default" where it names none.

        ``otherwise`` where there is no kubeconfig that can be read, and none was asked for.
        """
        if not (self.kubeconfig or self.context or _has_kubeconfig()):
            return otherwise
        from opslib.kube.kubeconfig import access

        try:
            return access(self.kubeconfig, self.context).namespace or "default"
        except OpslibError:
            if self.kubeconfig or self.context:
                raise
            return otherwise

    def known_namespace(self) -> str:
        """Return the namespace of the kubeconfig; "" where there is no kubeconfig."""
        return self.default_namespace(otherwise="")

    def noting(self) -> sealing.Noting | None:
        """Return what the notes are to say; None where none are wanted."""
        if not self.notes:
            return None
        from opslib.core.clock import now, parse_duration

        today = now().date()
        rotate = None
        if self.rotate_after:
            seconds = parse_duration(self.rotate_after, name="--rotate-after")
            rotate = sealing.rotate_after(today, seconds)
        return sealing.Noting(today, sealing.who(), rotate)

    def options(self, secrets: Iterable[Secret]) -> sealing.Options:
        """Return how to seal; the kubeconfig is read only where a namespace is missing."""
        missing = any(not secret.namespace for secret in secrets) and not self.namespace
        return sealing.Options(
            scope=self.asked_scope,
            name=self.name,
            namespace=self.namespace,
            default_namespace=self.default_namespace() if missing else "default",
            allow_empty=self.allow_empty,
            noting=self.noting(),
        )


def inputs(flags: Flags) -> list[tuple[bytes, str]]:
    """Return what is read: the files, or standard input."""
    if not flags.files:
        return [(read_stdin(), "standard input")]
    return [(read_file(path), str(path)) for path in flags.files]


def secrets_of(flags: Flags) -> list[Secret]:
    """Read all Secrets of the inputs."""
    return [one for data, where in inputs(flags) for one in read_secrets(data, where)]


def _has_kubeconfig() -> bool:
    import os

    if os.environ.get("KUBECONFIG") or Path("~/.kube/config").expanduser().exists():
        return True
    return "KUBERNETES_SERVICE_HOST" in os.environ
