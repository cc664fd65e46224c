"""Sums in one fixed order: vectorised, and equal on every rank.

Entry i is added to partial sum (lane) i mod 64, and the lanes are added at the end. So
the loops are vectorised without fastmath, and the result does not depend on the width
of the machine's vector registers.
"""

from __future__ import annotations

import math

import numpy as np

from psmpi.base import Vector
from psmpi.kernels.jit import as_float, kernel, magnitude, real

LANES = 64  # with fewer lanes LLVM unrolls the loops into scalar code


@kernel
def max_abs(x: Vector) -> float:
    """Return max |x_i|, 0 for no entries; infinite or NaN if any entry is.

    Compares bit patterns, so that testing for finite entries takes no extra pass.
    """
    top = magnitude(x.dtype.type(0))
    for i in range(x.size):
        top = max(top, magnitude(x[i]))
    return real(as_float(top))


@kernel
def add_abs(x: Vector, lanes: np.ndarray) -> None:
    """Add |x_i| to lane i mod 64.

    Of a vector that is added piece by piece, all pieces but the last have a multiple of
    64 entries.
    """
    body = x.size - x.size % LANES
    for start in range(0, body, LANES):
        part = x[start : start + LANES]
        for j in range(LANES):
            lanes[j] += abs(real(part[j]))
    for i in range(body, x.size):
        lanes[i - body] += abs(real(x[i]))


@kernel
def add_up(lanes: np.ndarray) -> float:
    """Return the sum of the lanes, from the first to the last."""
    total = 0.0
    for j in range(LANES):
        total += lanes[j]
    return total


@kernel
def sum_abs(x: Vector) -> float:
    """Return sum |x_i| in float64."""
    lanes = np.zeros(LANES)
    add_abs(x, lanes)
    return add_up(lanes)


@kernel
def sum_squares(x: Vector, factor: float) -> float:
    """Return sum (factor x_i)^2 in float64."""
    lanes = np.zeros(LANES)
    body = x.size - x.size % LANES
    for start in range(0, body, LANES):
        part = x[start : start + LANES]
        for j in range(LANES):
            lanes[j] += (factor * part[j]) ** 2
    for i in range(body, x.size):
        lanes[i - body] += (factor * x[i]) ** 2
    return add_up(lanes)


@kernel
def distance_squares(a: Vector, b: Vector) -> float:
    """Return ||a - b||^2, differences and sum in float64."""
    lanes = np.zeros(LANES)
    body = a.size - a.size % LANES
    for start in range(0, body, LANES):
        p, q = a[start : start + LANES], b[start : start + LANES]
        for j in range(LANES):
            lanes[j] += (real(p[j]) - q[j]) ** 2
    for i in range(body, a.size):
        lanes[i - body] += (real(a[i]) - b[i]) ** 2
    return add_up(lanes)


@kernel
def norm2(x: Vector) -> float:
    """Return ||x||_2 in float64, also where squares would overflow or underflow."""
    squares = sum_squares(x, 1.0)
    if 1e-200 < squares < np.inf:
        return real(np.sqrt(squares))
    top = max_abs(x)
    if not 0.0 < top < np.inf:
        return top
    exponent = max(math.frexp(top)[1], -1000)
    scaled = real(np.sqrt(sum_squares(x, math.ldexp(1.0, -exponent))))
    return math.ldexp(scaled, exponent)
