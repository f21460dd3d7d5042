"""Connections whose certificates are read once, and again when their files change.

urllib3 reads and parses the certificates anew for each connection: 3 of the 4 ms that one costs
here, and an apply opens up to 64. Files that are renewed while a loop runs (a pod's ca.crt, a
client certificate of a day) still count from the next connection on.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

_KEPT = 8
"""Contexts that are kept: one for each cluster, and those before a renewal until others come."""


class SharedContext(HTTPSConnection):
    """A connection that shares its TLS context with those to the same server."""

    def connect(self) -> None:
        """Connect; raises what urllib3 raises, and SSLError or OSError for certificates."""
        plain = (self.ssl_context, self.key_password, self.ca_cert_dir) == (None, None, None)
        if not plain:  # another's settings, which this does not know to share
            super().connect()
            return
        files = self.ca_certs, self.cert_file, self.key_file, self.ca_cert_data
        self.ssl_context = context(
            resolve_cert_reqs(self.cert_reqs), *files, named=self.assert_hostname is None
        )
        # What the context has already is not loaded into it again.
        self.ca_certs = self.cert_file = self.key_file = self.ca_cert_data = None
        try:
            super().connect()
        finally:
            # A connection that was closed connects again, perhaps by renewed files.
            self.ssl_context = None
            self.ca_certs, self.cert_file, self.key_file, self.ca_cert_data = files


def context(
    verify: ssl.VerifyMode,
    ca_certs: str | None,
    cert_file: str | None,
    key_file: str | None,
    ca_cert_data: str | bytes | None = None,
    *,
    named: bool = True,
) -> ssl.SSLContext:
    """Return the TLS context for these files as they are now; the same while they stay so.

    Without authorities those of the system count. ``named`` is False where the server's name is
    not the one to be checked. Raises SSLError, ValueError or OSError for what cannot be read.
    """
    names = ca_certs, cert_file, key_file
    return _made(verify, names, ca_cert_data, tuple(map(_mark, filter(None, names))), named)


def _mark(name: str) -> tuple[int, int, int]:
    found = os.stat(name)
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=_KEPT)
def _made(
    verify: ssl.VerifyMode,
    names: tuple[str | None, str | None, str | None],
    ca_cert_data: str | bytes | None,
    *marks: object,
) -> ssl.SSLContext:
    del marks
    ca_certs, cert_file, key_file = names
    made = create_urllib3_context(cert_reqs=verify)
    if ca_certs or ca_cert_data:
        made.load_verify_locations(ca_certs, cadata=ca_cert_data)
    elif verify != ssl.CERT_NONE:
        made.load_default_certs()
    if cert_file:
        made.load_cert_chain(cert_file, key_file)
    return made
