"""Keys, certificates and Secrets for tests; upstream's own programs, built once into the cache."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from opslib.core.files import exclusive
from opslib.core.progress import SILENT
from opslib.sandbox import binaries, golang, tools
from opslib.seal import certificates
from opslib.seal.certificates import Certificate
from opslib.seal.privatekeys import PrivateKey

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """A key of a controller."""

    key: rsa.RSAPrivateKey

    @cached_property
    def pem(self) -> bytes:
        return self.key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )

    @cached_property
    def cert(self) -> bytes:
        return self.certificate_pem()

    @cached_property
    def certificate(self) -> Certificate:
        return certificates.parse(self.cert, "cert.pem")

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint

    @property
    def private(self) -> dict[str, PrivateKey]:
        return {self.fingerprint: PrivateKey(self.key, self.fingerprint, "key.pem")}

    def certificate_pem(self, begin: datetime = LONG_AGO, end: datetime | None = None) -> bytes:
        """Make a certificate as the controller does: empty subject, only the dates matter."""
        nobody = x509.Name([])
        made = (
            x509.CertificateBuilder()
            .subject_name(nobody)
            .issuer_name(nobody)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end or datetime.now(UTC) + timedelta(days=3650))
            .sign(self.key, SHA256())
        )
        return made.public_bytes(Encoding.PEM)

    def secret(self, name: str = "sealed-secrets-key1") -> dict[str, Any]:
        """Return the Secret in which the controller keeps the key."""
        data = {"tls.crt": self.cert, "tls.key": self.pem}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": name,
                "labels": {"sealedsecrets.bitnami.com/sealed-secrets-key": "active"},
            },
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }


def pair(bits: int = 2048) -> Pair:
    """Make a key."""
    return Pair(rsa.generate_private_key(65537, bits))


def secret(
    values: Mapping[str, str | bytes],
    name: str = "db",
    namespace: str = "shop",
    **more: Any,
) -> dict[str, Any]:
    """Return a Secret; ``metadata`` in ``more`` is merged, other fields are put in."""
    metadata = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
    data = {
        key: base64.b64encode(v.encode() if isinstance(v, str) else v).decode()
        for key, v in values.items()
    }
    kept = {key: value for key, value in metadata.items() if value}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": kept, "data": data, **more}


def dumped(*documents: Mapping[str, Any]) -> bytes:
    """Return documents as a stream of JSON."""
    return b"\n".join(orjson.dumps(one) for one in documents)


OLDER = ("v0.27.1", "v0.36.6")
"""Other versions of upstream's programs to exchange values with, pinned in ``old/``."""
NEWEST = tools.SEALED_SECRETS


@functools.cache
def kubeseal(version: str = NEWEST) -> Path:
    """Return the real kubeseal, built from its pinned module where it is not there yet.

    It is found once: a test may move HOME, and the cache with it.
    """
    if version in OLDER:
        return _older("kubeseal", version)
    return binaries.programs([tools.KUBESEAL])["kubeseal"]


@functools.cache
def controller(version: str = NEWEST) -> Path:
    """Return the real controller; found once, as kubeseal."""
    if version in OLDER:
        return _older("controller", version)
    return binaries.programs([tools.SEALED_SECRETS_CONTROLLER])["controller"]


def _older(name: str, version: str) -> Path:
    """Return a program of an older version, built where it is not in the cache yet."""
    newest = tools.KUBESEAL.cached()
    target = newest.parent.with_name(newest.parent.name.replace(NEWEST, version)) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(target.with_name(f".{name}.lock"), f"the build of {name} {version}", wait=True):
        if not target.exists():
            pinned = Path(__file__).with_name("old") / version.removeprefix("v")
            _build(pinned, target, f"github.com/bitnami-labs/sealed-secrets/cmd/{name}", version)
    return target


def peer() -> Path:
    """Return the program over upstream's crypto package, built into the cache."""
    source = Path(__file__).with_name("peer") / "main.go"
    name = f"opslib-test-peer-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    target = tools.KUBESEAL.cached().with_name(name)
    with exclusive(target.with_name(f".{name}.lock"), "the build of the peer", wait=True):
        if not target.exists():
            pinned = Path(str(files("opslib.sandbox"))) / "gobuild" / "sealed-secrets"
            _build(pinned, target, ".", source=source)
    return target


def _build(
    pinned: Path, target: Path, package: str, version: str = "", *, source: Path | None = None
) -> None:
    """Build a Go program from pinned modules; it appears whole."""
    go = golang.find_go(SILENT, ["sealed-secrets"])
    with tempfile.TemporaryDirectory() as work:
        for path in (pinned / "go.mod", pinned / "go.sum", *([source] if source else ())):
            shutil.copyfile(path, Path(work, path.name))
        made = target.with_suffix(".tmp")
        flags = f"-s -w -X main.VERSION={version}"
        words = [str(go), "build", "-trimpath", "-ldflags", flags, "-o", str(made), package]
        subprocess.run(words, cwd=work, env=golang.build_environment(go), check=True)
        os.replace(made, target)


def of_controller() -> bytes:
    """Return a certificate with its key, made by upstream's code."""
    return subprocess.run([peer(), "cert"], capture_output=True, check=True).stdout


def ask_peer(key: Path, jobs: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Let upstream's code do jobs: op, scope, namespace, name, data (base64)."""
    lines = b"\n".join(orjson.dumps(one) for one in jobs)
    done = subprocess.run([peer(), key], input=lines, capture_output=True, check=True)
    return [orjson.loads(line) for line in done.stdout.splitlines()]
