"""Keeps a lease alive while work is done, and tells when it was lost."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Self

from opslib.core.errors import OpslibError
from opslib.kube.lease import Lease


class Keeper:
    """Renews a lease that was acquired, three times per term, in a thread of its own."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def held(self) -> bool:
        """Whether this process may still write."""
        return self._lease.held()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=self._lease.duration)
        # Giving it back is a courtesy to the successor; it ends by itself too.
        with contextlib.suppress(OpslibError):
            self._lease.release()

    def _renew(self) -> None:
        while not self._stop.wait(self._lease.duration / 3):
            # A renewal that fails is tried again; the lease's own clock says when it is lost.
            with contextlib.suppress(OpslibError):
                if not self._lease.try_acquire():
                    return
