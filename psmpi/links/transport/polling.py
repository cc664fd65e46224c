"""Waiting for MPI requests: spin, then yield the core, then sleep.

Blocking MPI calls occupy a core and, with more ranks than cores, take it away from
ranks that compute; Python's signal handlers don't run during them either. Therefore
requests are tested: a short message arrives while spinning, and a long wait uses little
CPU time. All waiting for MPI in psmpi goes through ``wait``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_SPINS = 30
_YIELDS = 50
_LARGE = 256 << 10  # bytes from which a transfer needs both ends to keep polling
_RATE = 1e9  # bytes per second that a large transfer is at least expected to make
_SLEEP = 200e-6  # longest sleep, in seconds
_LONG_SLEEP = 1e-3  # longest sleep after _LONG_WAIT seconds
_LONG_WAIT = 20e-3


def wait(ready: Callable[[], bool], *, nbytes: int = 0) -> None:
    """Return once ``ready()`` is true.

    ``nbytes`` is the size of a transfer that is known to be under way: a large one is
    polled without sleeping for the time that it should take.
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
    sleep = 0.0
    while not ready():
        waited = time.monotonic() - start
        if waited < polling:
            os.sched_yield()
            continue
        time.sleep(sleep)
        sleep = min(sleep + 10e-6, _SLEEP) if waited < _LONG_WAIT else _LONG_SLEEP
