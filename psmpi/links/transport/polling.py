"""The one way in which psmpi waits for MPI: spin, yield, sleep.

Blocking MPI calls burn a core and, with more ranks than cores, take it away from ranks
that compute; Python's signal handlers don't run during them either. So requests are
tested: a short message is met while spinning, a long wait costs little of a core.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_SPINS = 30
_YIELDS = 50
_LARGE = 256 << 10  # bytes from which a transfer needs both ends to keep polling
_RATE = 1e9  # bytes per second that a large transfer is at least expected to make
_NAP = 200e-6  # longest sleep, in seconds,
_LONG_NAP = 1e-3  # and the longest once nothing has come for _PATIENCE seconds
_PATIENCE = 20e-3


def wait(ready: Callable[[], bool], *, nbytes: int = 0) -> None:
    """Return once ``ready()`` is true; the job ends when a peer dies.

    ``nbytes``: size of a transfer known to be under way; a large one is polled for the
    time it should take before sleeping.
    """
    for _ in range(_SPINS):
        if ready():
            return
    start = time.monotonic()
    for _ in range(_YIELDS):
        os.sched_yield()
        if ready():
            return
    polling = nbytes / _RATE if nbytes >= _LARGE else 0.0
    nap = 0.0
    while not ready():
        waited = time.monotonic() - start
        if waited < polling:
            os.sched_yield()
            continue
        time.sleep(nap)
        nap = min(nap + 10e-6, _NAP) if waited < _PATIENCE else _LONG_NAP
