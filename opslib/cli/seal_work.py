"""What `opslib seal` does for each of kubeseal's modes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.cli.common import say
from opslib.cli.seal_flags import Flags, inputs, secrets_of
from opslib.cli.seal_paths import private_keys
from opslib.core.errors import InputError, OpslibError
from opslib.seal import emit, fetching, sealing
from opslib.seal.reading import read_file
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope, encode, encrypt, label_of
from opslib.seal.writing import save, save_all

if TYPE_CHECKING:
    from opslib.seal.pins import Pinned
    from opslib.seal.sealed import Declared


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
    from opslib.seal import recovery
    from opslib.seal.sealed import read_sealed

    if not flags.keys:
        raise InputError(
            "no private key is named", where="--recovery-private-key", expected="a file with keys"
        )
    keys = private_keys(flags.keys)
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
    from opslib.seal import live, recovery

    if flags.keys:
        keys = private_keys(flags.keys)
        return lambda one: recovery.values(one, keys)
    wanted = flags.live if flags.live is not None else not flags.cert
    if not wanted:
        return None
    cluster = flags.cluster(pinned)
    return lambda one: live.values(cluster, one)
