"""Which keys may be sealed for: ``seal.yaml`` in Git, one entry for each cluster.

::

    apiVersion: opslib.dev/v1
    kind: Sealing
    clusters:
      - name: production
        keys:                    # fingerprints; the first is sealed with, the others still unseal
          - SHA256:…
        path: clusters/production    # its SealedSecrets; default: the folder of this file
        certificate: production.pem  # file or URL; default: asked of the controller
        context: production          # of the kubeconfig
        controller: {namespace: kube-system, name: sealed-secrets-controller}

A certificate of another key is refused until the pin is changed here, by a commit that
somebody reviewed: whoever can answer in the controller's place would read what is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.core.errors import InputError
from opslib.seal.certificates import Certificate
from opslib.seal.names import CONTROLLER_NAME, CONTROLLER_NAMESPACE
from opslib.seal.reading import read_documents, read_file, text_of
from opslib.seal.writing import save
from opslib.source import yamlnodes
from opslib.source.textedit import TextEditor

if TYPE_CHECKING:  # it brings Git, which a pin in a folder does not need
    from opslib.source.trees import Tree

FILE = "seal.yaml"
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_FIELDS = {"name", "keys", "path", "certificate", "context", "controller"}
_HEAD = "apiVersion: opslib.dev/v1\nkind: Sealing\nclusters:\n"


@dataclass(frozen=True)
class Pinned:
    """One cluster: its name, the fingerprints of its keys (newest first), where it is."""

    name: str
    keys: tuple[str, ...]
    path: str = ""
    certificate: str = ""
    context: str = ""
    namespace: str = CONTROLLER_NAMESPACE
    controller: str = CONTROLLER_NAME
    where: str = ""


@dataclass(frozen=True)
class Pins:
    """The pins of a repository; ``file`` is where they stand, or would."""

    file: Path
    clusters: tuple[Pinned, ...] = ()
    found: bool = field(default=False)

    def cluster(self, name: str) -> Pinned:
        """Return a cluster by name. Raises InputError, with the known names, for another."""
        for one in self.clusters:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.clusters) or "none"
        raise InputError(
            f"no cluster {name} is pinned", where=str(self.file), expected=f"one of: {known}"
        )

    def certificate_of(self, one: Pinned) -> str:
        """Return where the certificate of a cluster is; "" is the controller."""
        local = one.certificate and "://" not in one.certificate
        return str(self.file.parent / one.certificate) if local else one.certificate

    def of_file(self, path: Path) -> tuple[Pinned, ...]:
        """Return the clusters that a file of the repository is for, the nearest folder's."""
        place = path.resolve()
        fits = [
            (len((self.file.parent / one.path).resolve().parts), one)
            for one in self.clusters
            if place.is_relative_to((self.file.parent / one.path).resolve())
        ]
        depth = max((length for length, _ in fits), default=0)
        return tuple(one for length, one in fits if length == depth)


def find(start: Path) -> Pins:
    """Find the pins: seal.yaml in a folder or above it, up to the root of the work tree.

    Outside of one only the folder itself counts: nobody reviewed what lies above it.

    Raises InputError, with the line, for a file that is not as it must be.
    """
    here = start.resolve()
    here = here if here.is_dir() else here.parent
    above = (here, *here.parents)
    top = next((folder for folder in above if (folder / ".git").exists()), here)
    for folder in above[: above.index(top) + 1]:
        if (folder / FILE).is_file():
            return load(folder / FILE)
    return Pins(top / FILE)


def find_in(tree: Tree, folder: str) -> Pins:
    """Find the pins of a commit: seal.yaml in a folder of it or above. Raises as ``load``."""
    there = set(tree.files(""))
    here = Path(folder)
    for place in (here, *here.parents):
        name = (place / FILE).as_posix()
        if name in there:
            return parse(tree.read([name])[name], Path(name))
    return Pins(Path(FILE))


def load(path: Path) -> Pins:
    """Read a file of pins. Raises InputError, with the line, where it is not as it must be."""
    return parse(read_file(path), path)


def parse(data: bytes, path: Path) -> Pins:
    """Read the text of a file of pins. Raises as ``load``."""
    documents = read_documents(data, str(path))
    document = documents[0] if len(documents) == 1 else None
    manifest: Any = document.manifest if document else None
    if not isinstance(manifest, dict) or manifest.get("kind") != "Sealing":
        raise InputError(
            "this is no file of pins", where=f"{path}:1", expected="kind: Sealing, with clusters"
        )
    clusters = manifest.get("clusters")
    if not isinstance(clusters, list) or document is None:
        raise InputError("clusters is no list", where=f"{path}:1", expected="a list of clusters")
    made = []
    for number, one in enumerate(clusters):
        line = document.lines.get(f"/clusters/{number}", 1)
        made.append(_pinned(one, f"{path}:{line}"))
    names = [one.name for one in made]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(f"the cluster {name} is there twice", where=made[number].where)
    return Pins(path, tuple(made), found=True)


def check(certificate: Certificate, pinned: Pinned) -> None:
    """Raise InputError for a certificate whose key is not the one that Git pins."""
    if certificate.fingerprint == pinned.keys[0]:
        return
    if certificate.fingerprint in pinned.keys:
        raise InputError(
            f"the certificate is of an older key of {pinned.name}: {certificate.fingerprint}",
            where=certificate.where,
            expected=f"the key that is pinned first: {pinned.keys[0]}",
            hint="use the present certificate: opslib seal --fetch-cert",
        )
    raise InputError(
        f"the certificate of {pinned.name} has changed: its key is {certificate.fingerprint}",
        where=certificate.where,
        expected=f"the key that {pinned.where} pins: {pinned.keys[0]}",
        hint="nothing is sealed for it until the pin is changed in Git: ask who runs the"
        " controller whether its key was renewed, then opslib seal pin, and have it reviewed",
    )


def pin(pins: Pins, name: str, fingerprint: str) -> bool:
    """Write a key as the first of a cluster; older ones stay. False where it is that already."""
    text = text_of(read_file(pins.file), str(pins.file)) if pins.found else _HEAD
    known = next((one for one in pins.clusters if one.name == name), None)
    if known and known.keys[0] == fingerprint:
        return False
    if known is None:
        made = text + ("" if text.endswith("\n") else "\n") + _entry(name, fingerprint)
    else:
        made = _with_key(text, name, fingerprint, str(pins.file))
    save(pins.file, made)
    fresh = load(pins.file)  # it is read back: what was written is what is meant
    if fresh.cluster(name).keys[0] != fingerprint:
        raise InputError("the pin cannot be written there", where=str(pins.file), hint="by hand")
    return True


def _entry(name: str, fingerprint: str) -> str:
    return f"  - name: {name}\n    keys:\n      - {fingerprint}\n"


def _with_key(text: str, name: str, fingerprint: str, where: str) -> str:
    editor = TextEditor(text)
    (root,) = yamlnodes.parse(text)
    for cluster in yamlnodes.members(yamlnodes.dig(root, "clusters")):
        entry = yamlnodes.find(cluster, "name")
        if entry is None or yamlnodes.scalar(entry.value) != name:
            continue
        keys = yamlnodes.members(yamlnodes.dig(cluster, "keys"))
        start = yamlnodes.start_of(keys[0])
        column = int(keys[0].start_mark.column)
        block = text[start - 2 : start] == "- "
        more = f"{editor.newline}{' ' * (column - 2)}- " if block else ", "
        # Older keys are no longer given twice, should this one be among them.
        return _drop_later(text[:start] + fingerprint + more + text[start:], fingerprint)
    raise InputError(f"no cluster {name} is there", where=where)


def _drop_later(text: str, fingerprint: str) -> str:
    lines = text.splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if fingerprint in line)
    kept = [
        line
        for n, line in enumerate(lines)
        if n <= first or line.strip().strip("- \"'") != fingerprint
    ]
    return "".join(kept)


def _pinned(one: Any, where: str) -> Pinned:
    if not isinstance(one, Mapping) or not isinstance(one.get("name"), str) or not one["name"]:
        raise InputError("a cluster has no name", where=where, expected="name: and keys:")
    if odd := sorted(map(str, one.keys() - _FIELDS)):
        expected = ", ".join(sorted(_FIELDS))
        raise InputError(f"{odd[0]} is not known", where=where, expected=expected)
    keys = one.get("keys")
    if not isinstance(keys, Sequence) or isinstance(keys, str) or not keys:
        raise InputError(f"{one['name']} has no keys", where=where, expected="a list of keys")
    for key in keys:
        if not isinstance(key, str) or not _FINGERPRINT.fullmatch(key):
            raise InputError(
                "a key is no fingerprint",
                where=where,
                expected="SHA256: and 43 letters, as opslib seal pin writes it",
            )
    controller = one.get("controller") or {}
    texts = {name: one.get(name) or "" for name in ("path", "certificate", "context")}
    if not isinstance(controller, Mapping) or not all(isinstance(v, str) for v in texts.values()):
        raise InputError(f"{one['name']} has a field that is no text", where=where)
    return Pinned(
        name=str(one["name"]),
        keys=tuple(keys),
        namespace=str(controller.get("namespace") or CONTROLLER_NAMESPACE),
        controller=str(controller.get("name") or CONTROLLER_NAME),
        where=where,
        **texts,
    )
