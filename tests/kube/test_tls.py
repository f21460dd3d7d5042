"""TLS contexts that connections share, and certificates that are renewed."""

from __future__ import annotations

import contextlib
import shutil
import ssl
from pathlib import Path

import pytest

from opslib.kube.client import connect
from opslib.kube.tls import Tls

from .conftest import Authority, Write, config, serving


def test_connections_share_what_was_read(authority: Authority) -> None:
    """The same files are one context, also those that were inline; no check is no check."""
    for part in (str(authority.cert), authority.cert.read_bytes()):
        one = Tls(ssl.CERT_REQUIRED, part, None, None)
        assert one.context() is one.context()
        assert one.context().check_hostname
        assert one.context().verify_mode is ssl.CERT_REQUIRED
        assert one.context().cert_store_stats()["x509_ca"] == 1
    unchecked = Tls(ssl.CERT_NONE, str(authority.cert), None, None)
    assert unchecked.context().verify_mode is ssl.CERT_NONE


def test_without_authorities_those_of_the_system_count() -> None:
    """A kubeconfig that names none is for a server that the system trusts."""
    count = Tls(ssl.CERT_REQUIRED, None, None, None).context().cert_store_stats()["x509_ca"]
    system = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert count == system


def test_renewed_authorities_count_from_the_next_connection_on(
    authority: Authority, write: Write, tmp_path: Path
) -> None:
    """As a pod's ca.crt, which is replaced while a loop runs: no restart is needed."""
    cert, key = authority.issue("renewing", "/CN=127.0.0.1")
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(cert, key)
    trusted = tmp_path / "ca.crt"
    shutil.copy(authority.cert, trusted)
    with serving(lambda reply, asked: reply.json({}), own) as fake:
        cluster = connect(write(config(fake.url, ca=trusted)), timeout=5)
        for renewed, welcome in ((cert, False), (authority.cert, True)):
            shutil.copy(renewed, trusted)
            opened = cluster._opener._new_conn()
            with contextlib.nullcontext() if welcome else pytest.raises(ssl.SSLError):
                opened.connect()
            assert opened.is_verified is welcome
            opened.close()
        cluster.close()
