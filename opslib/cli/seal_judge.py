"""opslib seal check | status: what of a repository would unseal, for which key, sealed by whom."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import Json, Trust, emit
from opslib.cli.seal import Cert, Keys
from opslib.cli.seal_paths import Paths, left_out, pinned_clusters, private_keys

if TYPE_CHECKING:
    from opslib.core.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the verbs to ``opslib seal``."""
    app.command()(check)
    app.command()(status)


def check(
    paths: Paths = None,
    cert: Cert = "",
    keys: Keys = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings fail too: old keys, values that are due.")
    ] = False,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Ask Git about values without notes.")
    ] = True,
    json: Json = False,
) -> None:
    """Say offline which sealed values would not unseal, and why; exit 1 if there is one.

    For CI: it needs no cluster and no key. --cert and --recovery-private-key let it see more.
    """
    from opslib.seal import certificates, diagnose, fetching
    from opslib.seal.past import of_values
    from opslib.seal.sealed import in_paths

    unread: list[InputError] = []
    objects = in_paths(paths or [Path()], unread.append)
    certificate = certificates.parse(fetching.fetch(cert), cert) if cert else None
    clusters, everywhere = pinned_clusters()
    known = diagnose.Knowledge(
        keys=private_keys(keys),
        certificate=certificate,
        clusters=clusters,
        everywhere=everywhere(objects),
        past=of_values(objects) if history else {},
    )
    found = diagnose.check(objects, known)
    counts = Counter(one.severity for one in found)
    values = sum(len(one.data) for one in objects)
    counts["warning"] += len(unread)
    lines = [f"{one.where}: warning: not checked: {one.what}" for one in unread]
    lines += [str(one) for one in found if one.severity != "info"]
    lines.append(
        f"{len(objects)} SealedSecrets, {values} values: {counts['error']} errors,"
        f" {counts['warning']} warnings"
        + (f", {counts['info']} without notes" if counts["info"] else "")
    )
    document = {
        "objects": len(objects),
        "values": values,
        "findings": [one.as_dict() for one in found],
        "unread": [one.as_dict() for one in unread],
    }
    emit(document, "\n".join(lines), as_json=json)
    if counts["error"] or (strict and counts["warning"]):
        raise typer.Exit(1)


def status(
    paths: Paths = None,
    keys: Keys = None,
    trust: Trust = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Only values of older or unknown keys.")
    ] = False,
    due: Annotated[bool, typer.Option("--due", help="Only values due at their source.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a row is shown.")] = False,
    json: Json = False,
) -> None:
    """Show for each sealed value: key, state, day, sealer, commit and signature, rotation."""
    from opslib.seal import report
    from opslib.seal.sealed import in_paths
    from opslib.source.verify import verification
    from opslib.view.text import clean, columns

    objects = in_paths(paths or [Path()], left_out)
    clusters, _ = pinned_clusters()
    verify = verification("", trust or ())
    sight = report.Sight(clusters, private_keys(keys), verify if verify.on else None)
    rows = report.rows(objects, sight)
    if stale or due:
        old = {report.STALE, report.FOREIGN}
        rows = [one for one in rows if (stale and one.state in old) or (due and one.due)]
    table = [["VALUE", "STATE", "KEY", "SEALED", "BY", "COMMIT", "SIGNED", "ROTATE BY"]]
    for one in rows:
        signed = one.signed or one.problem or "-"
        table.append(
            [
                f"{one.namespace}/{one.name} {one.key}",
                one.state,
                one.fingerprint[7:19] or "-",
                one.sealed or "-",
                one.by or one.author or "-",
                one.commit[:12] or "-",
                signed,
                f"{one.rotate} (due)" if one.due else one.rotate or "-",
            ]
        )
    counts = Counter(one.state for one in rows)
    words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    lines = [*map(clean, columns(table)), f"{len(rows)} values: {words or 'none'}"]
    emit({"values": [one.as_dict() for one in rows]}, "\n".join(lines), as_json=json)
    if strict and rows:
        raise typer.Exit(1)
