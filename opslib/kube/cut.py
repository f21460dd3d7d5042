"""An end of streams that another thread can call."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import urllib3

from opslib.kube.errors import Unreachable


class Cut:
    """Ends streams from another thread: who waits for the server's next word is woken up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[urllib3.BaseHTTPResponse] = set()
        self.done = threading.Event()

    def end(self) -> None:
        """End what is read now, and whatever is opened later."""
        with self._lock:
            self.done.set()
            for response in self._open:
                # One that is at its end already has no connection to shut down.
                with contextlib.suppress(RuntimeError, ValueError, OSError):
                    response.shutdown()

    @contextlib.contextmanager
    def reading(self, response: urllib3.BaseHTTPResponse) -> Iterator[None]:
        """Close a response after the block, and let ``end`` reach it before.

        Raises Unreachable when it was ended already.
        """
        with self._lock:
            self._open.add(response)
        try:
            if self.done.is_set():
                raise Unreachable("this stream was ended before it began")
            yield
        finally:
            with self._lock:
                self._open.discard(response)
            response.close()
