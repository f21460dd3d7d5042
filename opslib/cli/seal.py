"""opslib seal: what kubeseal does, with its flags; and the verbs for sealed files in Git."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import Context, Kubeconfig, say

if TYPE_CHECKING:
    from opslib.cli.seal_flags import Flags

app = typer.Typer(
    help="Seal Secrets for Git, as kubeseal does, and keep what is sealed.",
    invoke_without_command=True,
    no_args_is_help=False,
)

Cert = Annotated[
    str,
    typer.Option(
        "--cert",
        envvar="SEALED_SECRETS_CERT",
        help="Certificate: a file or URL; default: the controller's.",
    ),
]
ControllerNamespace = Annotated[
    str,
    typer.Option(
        "--controller-namespace",
        envvar="SEALED_SECRETS_CONTROLLER_NAMESPACE",
        help="Namespace of the controller.",
    ),
]
ControllerName = Annotated[
    str,
    typer.Option(
        "--controller-name",
        envvar="SEALED_SECRETS_CONTROLLER_NAME",
        help="Name of the controller's Service.",
    ),
]
ClusterNames = Annotated[
    list[str] | None,
    typer.Option("--cluster", help="Cluster of seal.yaml to seal for. Repeatable, with --out."),
]
Keys = Annotated[
    list[str] | None,
    typer.Option("--recovery-private-key", help="Private keys: PEM, Secret or List. Repeatable."),
]
Rotate = Annotated[
    str, typer.Option("--rotate-after", help="Note when the value is due at its source: 90d.")
]


@app.callback()
def seal(
    context: typer.Context,
    file: Annotated[
        list[Path] | None,
        typer.Option("--secret-file", "-f", help="Secrets to read. Repeatable; default: stdin."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--sealed-secret-file", "-w", help="File to write.")
    ] = None,
    out: Annotated[
        str, typer.Option("--out", help="File for each: a pattern of {cluster} {namespace} {name}.")
    ] = "",
    form: Annotated[
        str,
        typer.Option("--format", "-o", envvar="SEALED_SECRETS_FORMAT", help="json or yaml."),
    ] = "json",
    cert: Cert = "",
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            envvar="SEALED_SECRETS_SCOPE",
            help="strict, namespace-wide or cluster-wide.",
        ),
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Name of the SealedSecret.")] = "",
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", envvar="SEALED_SECRETS_NAMESPACE", help="Its namespace."),
    ] = "",
    raw: Annotated[bool, typer.Option("--raw", help="Seal one value, print its base64.")] = False,
    from_file: Annotated[
        list[str] | None, typer.Option("--from-file", help="With --raw: file with the value.")
    ] = None,
    merge_into: Annotated[
        Path | None, typer.Option("--merge-into", help="Edit this file: only what changed.")
    ] = None,
    allow_empty_data: Annotated[
        bool, typer.Option("--allow-empty-data", help="Seal a Secret without data.")
    ] = False,
    validate: Annotated[
        bool, typer.Option("--validate", help="Ask the controller whether it can unseal.")
    ] = False,
    re_encrypt: Annotated[
        bool,
        typer.Option("--re-encrypt", "--rotate", help="Let the controller seal anew: its key."),
    ] = False,
    fetch_cert: Annotated[
        bool, typer.Option("--fetch-cert", help="Print the certificate.")
    ] = False,
    recovery_unseal: Annotated[
        bool, typer.Option("--recovery-unseal", help="Unseal with --recovery-private-key.")
    ] = False,
    recovery_private_key: Keys = None,
    cluster: ClusterNames = None,
    rotate_after: Rotate = "",
    notes: Annotated[
        bool, typer.Option("--notes/--no-notes", help="Write down key, label, day and sealer.")
    ] = True,
    live: Annotated[
        bool | None,
        typer.Option("--live/--no-live", help="With --merge-into: compare with the live Secret."),
    ] = None,
    controller_namespace: ControllerNamespace = "kube-system",
    controller_name: ControllerName = "sealed-secrets-controller",
    kubeconfig: Kubeconfig = None,
    kube_context: Context = None,
) -> None:
    """Seal Secrets: `opslib seal < secret.yaml > sealed.yaml`; --format, --scope … as kubeseal."""
    if context.invoked_subcommand is not None:
        return
    from opslib.cli.seal_flags import Flags

    flags = Flags(
        files=tuple(file or ()),
        output=output,
        out=out,
        form=form,
        cert=cert,
        scope=scope,
        name=name,
        namespace=namespace,
        from_file=tuple(from_file or ()),
        merge_into=merge_into,
        allow_empty=allow_empty_data,
        keys=tuple(recovery_private_key or ()),
        clusters=tuple(cluster or ()),
        rotate_after=rotate_after,
        notes=notes,
        live=live,
        controller_namespace=controller_namespace,
        controller_name=controller_name,
        kubeconfig=kubeconfig,
        context=kube_context,
    )
    modes = {
        "recovery_unseal": recovery_unseal,
        "validate": validate,
        "re_encrypt": re_encrypt,
        "fetch_cert": fetch_cert,
        "merge": merge_into is not None,
        "raw": raw,
    }
    _run(flags, modes)


def _run(flags: Flags, modes: dict[str, bool]) -> None:
    from opslib.cli import seal_work
    from opslib.core.errors import InputError

    chosen = [name for name, on in modes.items() if on]
    if len(chosen) > 1:
        words = " and ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise InputError(f"{words} are different things", where="options", hint="give one of them")
    if flags.from_file and not modes["raw"]:
        raise InputError("--from-file requires --raw", where="--from-file")
    if not flags.files and not flags.from_file and chosen != ["fetch_cert"] and sys.stdin.isatty():
        say("(reading from the terminal; end with Ctrl-D)")
    getattr(seal_work, chosen[0] if chosen else "plain")(flags)
