"""How many threads the numerical libraries of a rank may use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import threadpoolctl


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Limit all numerical libraries that are loaded to ``threads`` threads each.

    A problem may load more of them, so that this is to be called again afterwards.
    PyTorch keeps a count of its own, which every new thread takes over, and which
    threadpoolctl doesn't know.
    """
    torch = sys.modules.get("torch")
    with threadpoolctl.threadpool_limits(threads):
        if torch is None:
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
