"""opslib seal reencrypt | backup: all that is sealed in a repository, and the keys of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import Context, Json, Kubeconfig, emit
from opslib.cli.seal import Cert, ControllerName, ControllerNamespace, Keys
from opslib.cli.seal_files import ClusterName
from opslib.cli.seal_paths import Paths, left_out, pinned_clusters, private_keys

if TYPE_CHECKING:
    from opslib.cli.seal_flags import Flags
    from opslib.seal.certificates import Certificate
    from opslib.seal.pins import Pinned
    from opslib.seal.privatekeys import PrivateKey
    from opslib.seal.reencrypt import Anew, Renewed
    from opslib.seal.sealed import Declared


def register(app: typer.Typer) -> None:
    """Add the verbs to ``opslib seal``."""
    app.command()(reencrypt)
    app.command()(backup)


def reencrypt(
    paths: Paths = None,
    cert: Cert = "",
    keys: Keys = None,
    cluster: ClusterName = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Also values of the present key.")
    ] = False,
    commit: Annotated[bool, typer.Option("--commit", help="Commit what was edited, once.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be edited.")] = False,
    notes: Annotated[
        bool, typer.Option("--notes/--no-notes", help="Write notes where there are none.")
    ] = True,
    rate: Annotated[
        float, typer.Option("--rate", min=0.1, help="Requests a second to the controller.")
    ] = 2.0,
    controller_namespace: ControllerNamespace = "kube-system",
    controller_name: ControllerName = "sealed-secrets-controller",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Seal all values of a repository anew for the newest key; everything else stays.

    By the controller at its own pace, or offline with --recovery-private-key and --cert.
    Nothing is written before everything is sealed.
    """
    from opslib.cli.common import bar
    from opslib.cli.seal_flags import Flags
    from opslib.seal import reencrypt as work
    from opslib.seal.sealed import in_paths

    objects = in_paths(paths or [Path()], left_out)
    _one_cluster(objects, cluster)
    flags = Flags(
        merge_into=Path(objects[0].path) if objects else None,
        cert=cert,
        clusters=(cluster,) if cluster else (),
        notes=notes,
        controller_namespace=controller_namespace,
        controller_name=controller_name,
        kubeconfig=kubeconfig,
        context=context,
    )
    (pinned, *_) = flags.chosen()
    files = _of_cluster(objects, pinned)
    certificate = flags.certificate(pinned)
    anew = _anew(flags, pinned, private_keys(keys), certificate, rate)
    with bar() as progress:
        made = work.renew(
            files,
            anew,
            certificate,
            noting=flags.noting(),
            everything=everything,
            progress=progress,
        )
    head = "" if dry or not made else _written(made, certificate, commit=commit)
    values = sum(one.values for one in made)
    verb = "would be sealed" if dry else "sealed"
    text = f"{values} values in {len(made)} of {len(files)} files {verb} anew for"
    text = f"{text} {certificate.fingerprint}" + (f", commit {head[:12]}" if head else "")
    document = {
        "key": certificate.fingerprint,
        "files": [{"path": str(one.path), "values": one.values} for one in made],
        "values": values,
        "written": not dry,
        "commit": head,
    }
    emit(document, text, as_json=json)


def backup(
    keys: Annotated[list[Path], typer.Argument(help="Files of the backup: PEM, Secret or List.")],
    repo: Annotated[
        list[Path] | None, typer.Option("--in", help="Files and folders of Git. Repeatable.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also compare with the keys that the cluster has.")
    ] = False,
    controller_namespace: ControllerNamespace = "kube-system",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Prove that the backup opens every value that Git has; no key and no value is shown.

    Exit 1 if a value cannot be opened, or the cluster has a key that the backup lacks.
    """
    from opslib.cli.common import cluster
    from opslib.seal import backup as work
    from opslib.seal import privatekeys
    from opslib.seal.sealed import in_paths

    objects = in_paths(repo or [Path()], left_out)
    found = privatekeys.read(keys)
    there = work.of_cluster(cluster(kubeconfig, context), controller_namespace) if live else ()
    proof = work.prove(objects, found, there)
    lines = [f"{one.fingerprint}  opens {one.values} values  {one.where}" for one in proof.held]
    lines += [f"{one.where}: {one.subject} {one.key}: {one.why}" for one in proof.lost]
    lines += [f"{one}  is a key of the cluster and not in the backup" for one in proof.unsaved]
    lines += [f"{one}  is marked as compromised" for one in proof.compromised]
    opened = proof.values - len(proof.lost)
    lines.append(f"{opened} of {proof.values} values are opened by the backup")
    emit(proof.as_dict(), "\n".join(lines), as_json=json)
    if not proof.complete:
        raise typer.Exit(1)


def _one_cluster(objects: Sequence[Declared], named: str) -> None:
    """Raise InputError where the files are for several clusters and none is named."""
    from opslib.core.errors import InputError

    clusters, _ = pinned_clusters()
    names = {cluster.name for one in objects for cluster in clusters(one)}
    if len(names) > 1 and not named:
        raise InputError(
            "the files are for several clusters",
            where="--cluster",
            expected=f"--cluster NAME, of: {', '.join(sorted(names))}",
        )


def _of_cluster(objects: Sequence[Declared], pinned: Pinned | None) -> list[Path]:
    """Return the files that are for a cluster, each once."""
    clusters, _ = pinned_clusters()
    fits = [
        Path(one.path)
        for one in objects
        if pinned is None or pinned.name in {c.name for c in clusters(one)}
    ]
    return list(dict.fromkeys(fits))


def _anew(
    flags: Flags,
    pinned: Pinned | None,
    keys: dict[str, PrivateKey],
    certificate: Certificate,
    rate: float,
) -> Anew:
    from opslib.seal.reencrypt import by_keys

    if keys:
        return by_keys(keys, certificate)
    controller = flags.warned(flags.controller(pinned))
    controller.per_second = rate
    return lambda one: controller.rotate(one.manifest)


def _written(made: Sequence[Renewed], certificate: Certificate, *, commit: bool) -> str:
    """Write the files, and commit them where that is asked for; return the commit."""
    from opslib.core.errors import InputError
    from opslib.seal import reencrypt as work
    from opslib.source.local import need_work_tree

    if not commit:
        work.write(made)
        return ""
    tree = need_work_tree(made[0].path)
    paths = [one.path for one in made]
    if dirty := tree.dirty(paths):
        raise InputError(
            "files to be sealed anew have changes that are not committed",
            where=dirty[0],
            hint="commit or put them aside first: this is to be one commit of its own",
        )
    work.write(made)
    values = sum(one.values for one in made)
    message = (
        f"Seal {values} values anew for {certificate.fingerprint}\n\n"
        f"The controller's key was renewed. Only ciphertexts and their notes change, in"
        f" {len(made)} files.\n"
    )
    return tree.commit(paths, message)
