"""The variance of stochastic rounding of one vector, exactly and without drawing."""

from __future__ import annotations

import numpy as np

from psmpi.base import Vector
from psmpi.kernels.jit import U1, kernel, real
from psmpi.kernels.reduce import LANES, add_up, max_abs, norm2
from psmpi.kernels.rounding import upper_float32

SPAN = 2048  # entries between two comparisons with the limit, a multiple of LANES


@kernel
def add_variances(x: Vector, ratio: float, snap: float, lanes: np.ndarray) -> None:
    """Add the variance of entry i, in squared levels, to lane i mod 64.

    Let l = |x_i| ratio be at the distance g from the nearer level.
    ``stochastic_codes`` rounds it to the farther level with probability p =
    (g - snap l) / (1 - 2 snap l), or 0 if that is negative. The mean squared error is
    (1 - p) g^2 + p (1 - g)^2 = g^2 + p (1 - 2g).
    """
    for start in range(0, x.size, LANES):
        part = x[start : start + LANES]
        for j in range(part.size):
            level = abs(real(part[j])) * ratio
            over = level - real(np.int32(level))
            near = over if over < 0.5 else 1.0 - over
            pull = snap * level
            chance = (near - pull) / (1.0 - 2.0 * pull) if near > pull else 0.0
            lanes[j] += near * near + chance * (1.0 - 2.0 * near)


@kernel
def grid_variance(
    x: Vector, norm: float, bits: np.uint64, snap: float, limit: float
) -> float:
    """Return the variance on the grid of ``norm`` > 0.

    A partial sum above ``limit`` is returned at once. Rounded sums never fall, so the
    whole sum is then above ``limit`` as well.
    """
    top = real((U1 << bits) - U1)
    square = (norm / top) ** 2
    lanes = np.zeros(LANES)
    total = 0.0
    for first in range(0, x.size, SPAN):
        add_variances(x[first : first + SPAN], top / norm, snap, lanes)
        total = square * add_up(lanes)
        if total > limit:
            break
    return total


@kernel
def stochastic_variance(
    x: Vector, bits: np.uint64, maximum: bool, snap: float, limit: float
) -> float:
    """Return E||C(x) - x||^2 of ``stochastic_encode``, or a part above ``limit``.

    Returns NaN if the norm isn't finite.
    """
    norm = real(upper_float32(max_abs(x) if maximum else norm2(x)))
    if not norm < np.inf:
        return np.nan
    return grid_variance(x, norm, bits, snap, limit) if norm > 0.0 else 0.0


@kernel
def narrowest_bits(x: Vector, budget: float, low: int, high: int, snap: float) -> int:
    """Return the fewest level bits, of ``low`` .. ``high``, with variance <= budget.

    Returns -1 if there are none, -2 if the largest entry isn't finite as float32.
    """
    norm = real(upper_float32(max_abs(x)))
    if not norm < np.inf:
        return -2
    if norm == 0.0:
        return low
    for bits in range(low, high + 1):
        if grid_variance(x, norm, np.uint64(bits), snap, budget) <= budget:
            return bits
    return -1
