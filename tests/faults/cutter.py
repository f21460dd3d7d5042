"""A TCP relay in front of the API server that breaks connections; TLS goes through it unread."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
from collections.abc import Iterator

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing sends RST and throws away what was not sent."""


class Cutter:
    """Relays to a port on the loopback address; each piece relayed may be the connection's last.

    ``share`` is the probability per piece. What was cut may have reached the server or not,
    which is what makes it worth a test.
    """

    def __init__(self, port: int, *, share: float, seed: int) -> None:
        self.share = share
        self.cuts = 0
        self._to = port
        self._dice = random.Random(seed)  # noqa: S311  # dice of a test
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Take no more connections, and end those that are open."""
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open.add(client)
            thread = threading.Thread(target=self._relay, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # sockets only
                    if not data:
                        return
                    key.data.sendall(data)
                    if self._dice.random() < self.share:
                        self._cut(client)
                        return

    def _cut(self, client: socket.socket) -> None:
        self.cuts += 1
        if self._dice.random() < 0.5:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


@contextlib.contextmanager
def cutting(port: int, *, share: float, seed: int) -> Iterator[Cutter]:
    """Relay while the block runs."""
    cutter = Cutter(port, share=share, seed=seed)
    try:
        yield cutter
    finally:
        cutter.close()
