"""Numba kernels: free functions on arrays and scalars, one call per message.

A kernel takes plain arrays and numbers, keeps no state, and never allocates what its
caller could hand in. May import NumPy, numba and nothing of psmpi but this folder.
"""
