"""Floats in a frame: written, checked, and added at some indices or at all."""

from __future__ import annotations

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.kernels.jit import as_float, kernel, load, real, signed, store

ZERO, INFINITE = np.uint32(0), np.uint32(0x7F800000)
SIZE = np.uint32(0x7FFFFFFF)
ZERO64, INFINITE64 = np.uint64(0), np.uint64(0x7FF0000000000000)
SIZE64 = np.uint64(0x7FFFFFFFFFFFFFFF)
FLOAT32_LIMIT = (2 - 2.0**-24) * 2.0**127  # from here on, float32 rounds to infinity


@kernel
def values_ok(frame: Frame, at: int, count: int, wide: bool, least: np.uint32) -> bool:
    """Return whether all values are finite with |value| bit patterns >= ``least``.

    The ``count`` values from byte ``at`` on are float64 (``wide``) or float32.
    """
    if wide:
        high, deep = ZERO64, INFINITE64
        for j in range(count):
            bits = load(frame, at + 8 * j, np.uint64) & SIZE64
            high, deep = max(high, bits), min(deep, bits)
        return bool(high < INFINITE64 and deep >= np.uint64(least))
    top, low = ZERO, INFINITE
    for j in range(count):
        size = load(frame, at + 4 * j, np.uint32) & SIZE
        top, low = max(top, size), min(low, size)
    return bool(top < INFINITE and low >= least)


@kernel
def largest(frame: Frame, at: int, count: int) -> float:
    """Return the largest of ``count`` |value|; infinite or NaN if any value is."""
    top = ZERO
    for j in range(count):
        top = max(top, np.uint32(load(frame, at + 4 * j, np.uint32) & SIZE))
    return real(as_float(np.uint32(top)))  # Numba widens the result of & to 64 bits


@kernel
def scatter_add(
    frame: Frame, at: int, wide: bool, indices: np.ndarray, out: Vector, scale: float
) -> None:
    """Add ``scale`` times the values of a checked frame to ``out[indices]``."""
    if wide:
        for j in range(indices.size):
            out[indices[j]] += scale * load(frame, at + 8 * j, np.float64)
        return
    for j in range(indices.size):
        value = real(load(frame, at + 4 * j, np.float32))
        out[indices[j]] += scale * value


@kernel
def dense_write(x: Vector, wide: bool, frame: Frame) -> None:
    """Write all entries of ``x`` as float64 (``wide``) or float32."""
    if wide:
        for i in range(x.size):
            store(frame, 8 * i, real(x[i]))
    else:
        for i in range(x.size):
            store(frame, 4 * i, np.float32(x[i]))


@kernel
def dense_add(frame: Frame, wide: bool, out: Vector, scale: float) -> bool:
    """Add ``scale`` times the frame to ``out``.

    Adds nothing and returns False if a value is not finite.
    """
    if not values_ok(frame, signed(0), out.size, wide, ZERO):
        return False
    if wide:
        for i in range(out.size):
            out[i] += scale * load(frame, 8 * i, np.float64)
    else:
        for i in range(out.size):
            out[i] += scale * real(load(frame, 4 * i, np.float32))
    return True
