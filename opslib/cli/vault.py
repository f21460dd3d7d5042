"""opslib seal vault check | policy: the references to Vault that a repository has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import Json, emit, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opslib.core.errors import InputError
    from opslib.seal.vaultdoc import VaultSecret
    from opslib.seal.vaultfiles import Found
    from opslib.seal.vaulthcl import Rule
    from opslib.seal.vaultpolicy import Compared

app = typer.Typer(help="References to Vault in Git: prove them, and the policy for them.",
                  no_args_is_help=True)  # fmt: skip

Paths = Annotated[
    list[Path] | None, typer.Argument(help="Files and folders; default: this folder.")
]


@app.command()
def check(
    paths: Paths = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings fail too: references without a version.")
    ] = False,
    json: Json = False,
) -> None:
    """Prove that each reference leads to a value, without reading one; exit 1 if one does not.

    For CI: the token may read metadata/ and subkeys/ only. VAULT_ADDR names Vault, and
    OPSLIB_VAULT_ROLE (with OPSLIB_VAULT_AUTH and OPSLIB_VAULT_JWT) or VAULT_TOKEN who asks.
    """
    from opslib.seal import vaultaccess, vaultfiles
    from opslib.seal.vaultclient import Vault
    from opslib.view.text import clean

    unread: list[InputError] = []
    secrets, wrong = vaultfiles.in_paths(paths or [Path()], unread.append)
    found: list[Found] = []
    if secrets:
        access = vaultaccess.needed(vaultaccess.access(), str(secrets[0].resource.origin))
        with Vault(access) as vault:
            found = vaultfiles.check(secrets, vault)
    count = sum(len(one.references) for one in secrets)
    errors = len(wrong) + sum(one.severity == "error" for one in found)
    warnings = len(unread) + sum(one.severity == "warning" for one in found)
    lines = [f"{one.where}: warning: not checked: {one.what}" for one in unread]
    lines += [f"{one.where}: error: {one.what}" for one in wrong]
    lines += map(str, found)
    lines.append(
        f"{len(secrets)} VaultSecrets, {count} references: {errors} errors, {warnings} warnings"
    )
    document = {
        "objects": len(secrets),
        "references": count,
        "errors": errors,
        "warnings": warnings,
        "findings": [one.as_dict() for one in found],
        "wrong": [one.as_dict() for one in wrong],
        "unread": [one.as_dict() for one in unread],
    }
    emit(document, "\n".join(map(clean, lines)), as_json=json)
    if errors or (strict and warnings):
        raise typer.Exit(1)


@app.command()
def policy(
    paths: Paths = None,
    for_: Annotated[
        str,
        typer.Option("--for", help="loop: reads values; check: CI and plans, which read none."),
    ] = "loop",
    real: Annotated[
        list[str] | None,
        typer.Option("--policy", help="Compare with this policy of Vault. Repeatable."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", help="Compare with the policy in this file. Repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the least policy for the references of a repository, or compare it with a real one.

    With --policy or --file: exit 4 where the real one allows more than Git uses, or less than
    it needs. Several are taken together, as Vault does for a token that has them.
    """
    from opslib.core.errors import InputError
    from opslib.seal import vaultfiles, vaultpolicy
    from opslib.view.text import clean

    if for_ not in {"loop", "check"}:
        raise InputError(f"--for {for_!r} is not known", where="--for", expected="loop or check")
    secrets, wrong = vaultfiles.in_paths(paths or [Path()], _told)
    for one in wrong:
        say(clean(f"warning: {one.where} is left out: {one.what}"))
    _need(secrets)
    references = list(vaultfiles.places_of(secrets))
    paths_needed = vaultpolicy.needed(references, "loop" if for_ == "loop" else "check")
    text = vaultpolicy.written(paths_needed)
    if not real and not file:
        rows = [{"path": p, "capabilities": sorted(c)} for p, c in paths_needed.items()]
        emit({"for": for_, "policy": text, "paths": rows}, text.rstrip(), as_json=json)
        return
    compared = vaultpolicy.compare(paths_needed, _rules(real or [], file or []))
    document = {
        "for": for_,
        "same": compared.same,
        "more": [one.as_dict() for one in compared.more],
        "missing": [one.as_dict() for one in compared.missing],
    }
    emit(document, clean("\n".join(_told_of(compared))), as_json=json)
    if not compared.same:
        raise typer.Exit(4)


def _told(error: InputError) -> None:
    from opslib.view.text import clean

    say(clean(f"warning: {error.where} is left out: {error.what}"))


def _need(secrets: Sequence[VaultSecret]) -> None:
    from opslib.core.errors import InputError

    if not secrets:
        raise InputError(
            "there is no VaultSecret in these files, so that no policy is needed",
            where="PATH",
            hint="name the folder with the manifests",
        )


def _rules(names: list[str], files: list[Path]) -> list[Rule]:
    """Return the rules of the policies that are named, by Vault and by files."""
    from opslib.seal import vaultaccess, vaulthcl
    from opslib.seal.reading import read_file, text_of
    from opslib.seal.vaultclient import Vault

    found = [
        rule
        for path in files
        for rule in vaulthcl.read(text_of(read_file(path), str(path)), str(path))
    ]
    if names:
        access = vaultaccess.needed(vaultaccess.access(), "--policy")
        with Vault(access) as vault:
            for name in names:
                found += vaulthcl.read(vault.policy(name), f"policy {name}")
    return found


def _told_of(compared: Compared) -> list[str]:
    lines = []
    for one in compared.more:
        uses = f"; Git uses of it: {', '.join(one.uses)}" if one.uses else "; Git uses none of it"
        lines.append(f"more: {one.path}: {', '.join(one.capabilities)}{uses}")
    lines += [f"missing: {one.path}: {', '.join(one.capabilities)}" for one in compared.missing]
    if compared.same:
        return ["The policy allows what Git uses, and nothing more."]
    return [*lines, f"{len(compared.more)} rules allow more, {len(compared.missing)} are missing"]
