"""Numba kernels: free functions on arrays and scalars, one call per message."""
