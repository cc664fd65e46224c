"""Numba kernels: free functions on arrays and scalars, one call per message."""

from psmpi.kernels.warmup import warmup

__all__ = ["warmup"]
