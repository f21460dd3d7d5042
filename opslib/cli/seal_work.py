"""What `opslib seal` does for each of kubeseal's modes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.cli.common import say
from opslib.core.errors import InputError, OpslibError
from opslib.seal import emit, fetching, sealing
from opslib.seal.reading import read_file, read_stdin
from opslib.seal.secret import Secret, read_secrets
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope, encode, encrypt, label_of
from opslib.seal.writing import save, save_all

if TYPE_CHECKING:
    from opslib.kube.client import Cluster
    from opslib.seal.certificates import Certificate
    from opslib.seal.controller import Controller
    from opslib.seal.pins import Pinned, Pins
    from opslib.seal.sealed import Declared


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


def plain(flags: Flags) -> None:
    """Seal all Secrets of the input for all clusters; nothing is written before all is sealed."""
    form = flags.wanted_form
    clusters = flags.chosen()
    if len(clusters) > 1 and "{cluster}" not in flags.out:
        raise InputError(
            "several clusters need a file for each",
            where="--out",
            expected="a pattern with {cluster}, such as clusters/{cluster}/{name}.yaml",
        )
    secrets = secrets_of(flags)
    options = flags.options(secrets)
    writes: list[tuple[Path | None, str]] = []
    for pinned in clusters:
        sealed = sealing.seal(secrets, flags.certificate(pinned), options)
        for warning in dict.fromkeys(text for one in sealed for text in one.warnings):
            say(f"warning: {warning}")
        writes += _placed(flags, pinned, [one.manifest for one in sealed], form)
    give(writes)


def _placed(
    flags: Flags, pinned: Pinned | None, manifests: list[dict[str, Any]], form: str
) -> list[tuple[Path | None, str]]:
    """Return the texts and where each goes: None is standard output."""
    if not flags.out:
        return [(flags.output, emit.render(manifests, form))]
    found: dict[Path, list[dict[str, Any]]] = {}
    for one in manifests:
        metadata = one["metadata"]
        try:
            place = flags.out.format(
                cluster=pinned.name if pinned else "",
                namespace=metadata.get("namespace", ""),
                name=metadata["name"],
            )
        except (KeyError, IndexError, ValueError):
            raise InputError(
                f"{flags.out!r} is no pattern",
                where="--out",
                expected="{cluster}, {namespace} and {name} in braces",
            ) from None
        found.setdefault(Path(place), []).append(one)
    return [
        (path, emit.render(rows, "json" if path.suffix == ".json" else "yaml"))
        for path, rows in found.items()
    ]


def give(writes: list[tuple[Path | None, str]]) -> None:
    """Write all results, or none. Ciphertext goes out as it is: masking would break it."""
    save_all({path: text for path, text in writes if path is not None})
    for path, text in writes:
        if path is None:
            sys.stdout.write(text)
            sys.stdout.flush()


def raw(flags: Flags) -> None:
    """Seal one value, and print its base64 without a line break."""
    scope = flags.asked_scope or Scope.STRICT
    namespace = flags.namespace
    if scope is not Scope.CLUSTER:
        namespace = namespace or flags.known_namespace()
        if not namespace:
            raise InputError(
                f"--raw with the scope {scope} needs --namespace",
                where="--namespace",
                hint="the value can be unsealed in this namespace only",
            )
        if not flags.name and scope is Scope.STRICT:
            raise InputError(
                f"--raw with the scope {scope} needs --name",
                where="--name",
                hint="the value can be unsealed under this name only",
            )
    if len(flags.from_file) > 1:
        raise InputError("--raw seals one value", where="--from-file", expected="one --from-file")
    if flags.from_file:
        value = read_file(Path(flags.from_file[0].rpartition("=")[2]))
    else:
        value = inputs(replace(flags, files=flags.files[:1]))[0][0]
    (pinned, *_) = flags.chosen()
    key = flags.certificate(pinned).key
    label = label_of(scope, namespace, flags.name)
    give([(flags.output, encode(encrypt(key, SecretBytes(value, flags.name or "value"), label)))])


def fetch_cert(flags: Flags) -> None:
    """Print the certificate as the controller, file or URL gives it."""
    if flags.cert:
        data = fetching.fetch(flags.cert)
    else:
        controller = flags.controller(_only(flags))
        data = controller.certificate()
        flags.warned(controller)
    if flags.output:
        save(flags.output, data)
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _only(flags: Flags) -> Pinned | None:
    found = flags.chosen() if flags.clusters else (None,)
    return found[0]


def recovery_unseal(flags: Flags) -> None:
    """Print the Secrets of SealedSecrets, by private keys from a backup."""
    from opslib.seal import privatekeys, recovery
    from opslib.seal.sealed import read_sealed

    if not flags.keys:
        raise InputError(
            "no private key is named", where="--recovery-private-key", expected="a file with keys"
        )
    paths = [Path(name) for text in flags.keys for name in text.split(",") if name]
    keys = privatekeys.read(paths)
    found = [one for data, where in inputs(flags) for one in read_sealed(data, where)]
    secrets = [recovery.unseal(one, keys) for one in found]
    text = emit.render(secrets, flags.wanted_form)
    if flags.output:
        save(flags.output, text, private=True)
    else:
        sys.stdout.write(text)


def validate(flags: Flags) -> None:
    """Ask the controller whether it can unseal each SealedSecret of the input."""
    from opslib.seal.sealed import read_sealed

    found = [one for data, where in inputs(flags) for one in read_sealed(data, where)]
    controller = flags.warned(flags.controller(_only(flags)))
    bad = [one for one in found if not controller.verify(one.manifest)]
    if bad:
        raise OpslibError(
            f"the controller cannot unseal {', '.join(map(str, bad))}",
            where=bad[0].place(),
            hint="opslib seal check FILE says why",
        )


def re_encrypt(flags: Flags) -> None:
    """Let the controller seal the values of each file anew; all else of a file stays."""
    from opslib.seal import reencrypt

    if len(flags.files) > 1 and flags.output:
        raise InputError(
            "several files cannot be sealed anew into one",
            where="--sealed-secret-file",
            hint="leave it away: each file is edited in its place",
        )
    # The answer is for the controller's newest key, which must be the pinned one.
    own = replace(flags, cert="", merge_into=flags.files[0] if flags.files else None)
    (pinned, *_) = own.chosen()
    newest = own.certificate(pinned)
    controller = own.warned(own.controller(pinned))

    def anew(one: Declared) -> dict[str, str]:
        return controller.rotate(one.manifest)

    writes: list[tuple[Path | None, str]] = []
    for data, where in inputs(flags):
        made = reencrypt.renewed_text(data, where, anew, newest)
        in_place = Path(where) if flags.files and flags.output is None else flags.output
        writes.append((in_place, made))
    give(writes)


def merge(flags: Flags) -> None:
    """Put the values of a Secret into a SealedSecret's file, under the file's name and scope."""
    from opslib.seal import merging

    target = flags.merge_into or Path()
    secrets = secrets_of(flags)
    (pinned, *_) = flags.chosen()
    job = merging.Merge(
        flags.certificate(pinned), flags.noting(), flags.asked_scope, flags.allow_empty
    )
    known = _known(flags, pinned)
    made, told = job.into(read_file(target), str(target), secrets, known)
    save(target, made)
    for text in told:
        say(text)


def _known(flags: Flags, pinned: Pinned | None) -> Callable[..., dict[str, SecretBytes]] | None:
    """Return how to learn the present values, so that equal ones keep their ciphertext."""
    from opslib.seal import live, privatekeys, recovery

    if flags.keys:
        keys = privatekeys.read([Path(name) for name in flags.keys])
        return lambda one: recovery.values(one, keys)
    wanted = flags.live if flags.live is not None else not flags.cert
    if not wanted:
        return None
    cluster = flags.cluster(pinned)
    return lambda one: live.values(cluster, one)


def _has_kubeconfig() -> bool:
    import os

    if os.environ.get("KUBECONFIG") or Path("~/.kube/config").expanduser().exists():
        return True
    return "KUBERNETES_SERVICE_HOST" in os.environ
