"""Arithmetic on whole vectors that NumPy would need a temporary for."""

from __future__ import annotations

from psmpi.base import Vector
from psmpi.kernels.jit import kernel


@kernel
def add_scaled(out: Vector, x: Vector, scale: float) -> None:
    """``out += scale * x``, with each product rounded once to ``out``'s dtype."""
    for i in range(out.size):
        out[i] += out.dtype.type(scale * x[i])
