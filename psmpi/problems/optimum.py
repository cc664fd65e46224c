"""The minimum that residuals are measured against, with a certificate, cached on disk.

f is strongly convex with modulus l2, so f(x) - min f <= ||grad f(x)||^2 / (2 l2) at any
x: whatever the solver did, its gradient in float64 proves how good it was.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from psmpi.base import Indices, Vector
from psmpi.data import cache

GAP = 1e-10  # the certificate that is asked for
_LAYOUT = "psmpi-optimum-1"
_PAIRS = 30  # that L-BFGS remembers
_WARM = 2**22  # samples * dim from which float32 goes ahead
_HANDOVER = 10  # to float64, at this many times the gradient norm aimed at


class Objective(Protocol):
    """What is minimised: a problem whose gradient takes float32 and float64."""

    dim: int
    samples: int
    l2: float

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient and return the loss."""


@dataclass(frozen=True)
class Optimum:
    """A point, f there in float64, and ``gap``: a proven bound on f(x) - min f."""

    x: Vector
    value: float
    gap: float


def minimum(problem: Objective, key: str) -> float | None:
    """Return min f of the objective that ``key`` identifies, from cache or solved.

    None, with a warning, if no point with a gap of ``GAP`` could be found. A cache file
    that can't be read is replaced; a folder that can't be written to is left alone.
    """
    path = cache.folder() / f"optimum-{key[:40]}.json"
    known = _read(path, key)
    if known is not None:
        return known
    found = solve(problem)
    if not found.gap <= GAP:
        warnings.warn(
            f"optimum: the best point found is only proven to {found.gap:.1e}, not "
            f"{GAP:.0e} (l2={problem.l2}); residuals are not known",
            stacklevel=3,
        )
        return None
    entry = {"layout": _LAYOUT, "key": key, "value": found.value, "gap": found.gap}
    cache.write(path, lambda file: file.write(json.dumps(entry).encode()))
    return found.value


def solve(problem: Objective) -> Optimum:
    """Minimise by L-BFGS in float64; large problems first in float32, at half the cost.

    Starts at zero, so the result depends on nothing but the objective. Gives up when a
    restart no longer improves the certificate.
    """
    x: Vector = np.zeros(problem.dim)
    target = float(np.sqrt(2 * problem.l2 * GAP))
    if problem.samples * problem.dim >= _WARM:
        x = _descend(problem, x, np.float32, _HANDOVER * target)
    best = _certified(problem, x)
    for _ in range(5):
        if best.gap <= GAP:
            break
        now = _certified(problem, _descend(problem, best.x, np.float64, target / 2))
        if not now.gap < best.gap:
            break
        best = now
    return best


def _descend(problem: Objective, x: Vector, dtype: Any, target: float) -> Vector:
    """Return where L-BFGS from ``x``, with gradients in ``dtype``, has ||g|| <= target.

    Or, if rounding stops it before, the point of smallest ||g|| that it came by.
    """
    from scipy.optimize import minimize

    out: Vector = np.empty(problem.dim, dtype)
    best, best_norm = x, np.inf

    def evaluate(point: Vector) -> tuple[float, Vector]:
        nonlocal best, best_norm
        value = problem.grad(point.astype(dtype), out)
        gradient = out.astype(np.float64)
        norm = float(np.linalg.norm(gradient))
        if norm < best_norm:
            best, best_norm = point.copy(), norm
        return value, gradient

    def stop(intermediate_result: Any) -> None:
        if best_norm <= target:
            raise StopIteration

    options = {
        "maxcor": _PAIRS,
        "maxiter": 20000,
        "maxfun": 40000,
        "ftol": 0.0,
        "gtol": 0.0,
    }
    minimize(evaluate, x, jac=True, method="L-BFGS-B", callback=stop, options=options)
    return best


def _certified(problem: Objective, x: Vector) -> Optimum:
    out: Vector = np.empty_like(x)
    value = problem.grad(x, out)
    return Optimum(x, value, float(out @ out) / (2 * problem.l2))


def _read(path: Path, key: str) -> float | None:
    try:
        entry = json.loads(path.read_text())
        whole = entry["layout"] == _LAYOUT and entry["key"] == key
        value, gap = float(entry["value"]), float(entry["gap"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if whole and np.isfinite(value) and 0 <= gap <= GAP else None
