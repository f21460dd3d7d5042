"""opslib seal set | delete | rename | pin: one key of a sealed file, one line of a diff."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import Context, Json, Kubeconfig, emit, say
from opslib.cli.seal import Cert, ControllerName, ControllerNamespace, Rotate

if TYPE_CHECKING:
    from opslib.seal.secretbytes import SecretBytes

File = Annotated[Path, typer.Argument(help="File with the SealedSecret.")]
Key = Annotated[str, typer.Argument(help="Key of the Secret.")]
Name = Annotated[
    str, typer.Option("--name", help="Which SealedSecret, in a file of several: [NAMESPACE/]NAME.")
]
ClusterName = Annotated[str, typer.Option("--cluster", help="Cluster of seal.yaml.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to ``opslib seal``."""
    app.command("set")(set_key)
    app.command("delete")(delete)
    app.command("rename")(rename)
    app.command("pin")(pin)


def set_key(
    file: File,
    key: Key,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", help="File with the value, as it is.")
    ] = None,
    reference: Annotated[
        str, typer.Option("--from", help="env:NAME, file:/path or vault:MOUNT/PATH#KEY.")
    ] = "",
    name: Name = "",
    cert: Cert = "",
    cluster: ClusterName = "",
    rotate_after: Rotate = "",
    notes: Annotated[
        bool, typer.Option("--notes/--no-notes", help="Write down key, label, day and sealer.")
    ] = True,
    controller_namespace: ControllerNamespace = "kube-system",
    controller_name: ControllerName = "sealed-secrets-controller",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Seal a value into a file: asked for without echo, or from standard input, file or vault.

    Only the line of the key changes. Name, namespace and scope are those of the file.
    """
    from opslib.cli.seal_flags import Flags
    from opslib.seal.edit import SealedFile
    from opslib.seal.reading import read_file
    from opslib.seal.sealing import note_again
    from opslib.seal.secret import check_key
    from opslib.seal.wire import encode, encrypt
    from opslib.seal.writing import save

    check_key(key)
    target = SealedFile(read_file(file), str(file), name)
    flags = Flags(
        merge_into=file,
        cert=cert,
        clusters=(cluster,) if cluster else (),
        rotate_after=rotate_after,
        notes=notes,
        controller_namespace=controller_namespace,
        controller_name=controller_name,
        kubeconfig=kubeconfig,
        context=context,
    )
    (pinned, *_) = flags.chosen()
    certificate = flags.certificate(pinned)
    value = _value(key, from_file, reference)
    declared = target.declared
    text = encode(encrypt(certificate.key, value, declared.label))
    noting = flags.noting()
    target.noting = noting is not None
    old = declared.read_notes()[0].get(key)
    made = {key: note_again(old, declared.label, certificate, noting)} if noting else None
    target.set({key: text}, made)
    save(file, target.result())
    say(f"{file}: {declared}: {key} is sealed for {certificate.fingerprint}")


def delete(file: File, key: Key, name: Name = "") -> None:
    """Take a key out of a file; all other lines stay."""
    from opslib.seal.edit import SealedFile
    from opslib.seal.reading import read_file
    from opslib.seal.writing import save

    target = SealedFile(read_file(file), str(file), name)
    target.delete(key)
    save(file, target.result())
    say(f"{file}: {target.declared}: {key} is gone")


def rename(
    file: File,
    key: Key,
    new: Annotated[str, typer.Argument(help="Its new name.")],
    name: Name = "",
) -> None:
    """Give a key another name; its ciphertext stays, as it is not bound to the key's name."""
    from opslib.seal.edit import SealedFile
    from opslib.seal.reading import read_file
    from opslib.seal.secret import check_key
    from opslib.seal.writing import save

    target = SealedFile(read_file(file), str(file), name)
    target.rename(key, check_key(new))
    save(file, target.result())
    say(f"{file}: {target.declared}: {key} is now {new}")


def pin(
    cluster: Annotated[str, typer.Argument(help="Name of the cluster in seal.yaml.")],
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="The key that you were told of: SHA256:…")
    ] = "",
    cert: Cert = "",
    folder: Annotated[
        Path, typer.Option("--folder", help="Where seal.yaml is, or above.")
    ] = Path(),
    controller_namespace: ControllerNamespace = "kube-system",
    controller_name: ControllerName = "sealed-secrets-controller",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Write the key of a certificate into seal.yaml, as the one to seal for; older ones stay.

    With --fingerprint the certificate must be of that key. Commit the file, and have it
    reviewed: whoever changes it chooses who can read what is sealed.
    """
    from opslib.cli.seal_flags import Flags
    from opslib.core.errors import InputError
    from opslib.seal import fetching, pins

    known = pins.find(folder)
    entry = next((one for one in known.clusters if one.name == cluster), None)
    flags = Flags(
        cert=cert,
        controller_namespace=controller_namespace,
        controller_name=controller_name,
        kubeconfig=kubeconfig,
        context=context,
    )
    place = cert or (
        str(known.file.parent / entry.certificate) if entry and entry.certificate else ""
    )
    one, told = fetching.certificate(place, lambda: flags.controller(entry), None)
    if fingerprint and fingerprint != one.fingerprint:
        raise InputError(
            f"the certificate is of the key {one.fingerprint}",
            where=one.where,
            expected=fingerprint,
            hint="ask who runs the controller; nothing was written",
        )
    changed = pins.pin(known, cluster, one.fingerprint)
    for text in told:
        say(f"warning: {text}")
    word = "pinned" if changed else "was pinned already"
    document = {"cluster": cluster, "file": str(known.file), "changed": changed, **one.as_dict()}
    emit(document, f"{known.file}: {cluster}: {one.fingerprint} {word}", as_json=json)


def _value(key: str, from_file: Path | None, reference: str) -> SecretBytes:
    """Take the value from where the options say; it is never an argument of the command line."""
    from opslib.core.errors import InputError
    from opslib.seal.reading import read_file, read_stdin
    from opslib.seal.secretbytes import SecretBytes

    if from_file and reference:
        raise InputError("the value can come from one place only", where="--from, --from-file")
    if reference:
        from opslib.runbook.secret import FORMS, Secret

        try:
            return SecretBytes(Secret(reference).reveal(), key)
        except ValueError:
            raise InputError("--from is no reference", where="--from", expected=FORMS) from None
    if from_file:
        return SecretBytes(read_file(from_file), key)
    if sys.stdin.isatty():
        import getpass

        return SecretBytes(getpass.getpass(f"{key}: "), key)
    data = read_stdin()
    if not data:
        say("warning: the value is empty: nothing came from standard input")
    if data.endswith(b"\n") and b"\n" not in data[:-1]:
        say("warning: the value ends with a line break, which is sealed too (printf has none)")
    return SecretBytes(data, key)
