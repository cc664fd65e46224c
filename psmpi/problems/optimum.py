"""The minimum that residuals refer to: certified, and cached on disk.

f is strongly convex with modulus l2, so f(x) - min f <= ||grad f(x)||^2 / (2 l2) at any
x. The gradient in float64 therefore certifies a point, however it was found.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from psmpi.base import Indices, Vector
from psmpi.data import cache
from psmpi.data.announce import announce

GAP = 1e-10  # largest f(x) - min f that is accepted
_LAYOUT = "psmpi-optimum-1"
_PAIRS = 30  # correction pairs of L-BFGS
_WARM = 2**22  # samples * dim from which on iterations in float32 come first
_HANDOVER = 10  # multiple of the final gradient norm at which float64 takes over
_LIBRARY_NBYTES = 25_000_000  # of scipy.optimize, loaded
_SLOW = 2**18  # samples * dim from which on the computation takes noticeable time


class Objective(Protocol):
    """An objective whose gradient takes float32 and float64."""

    dim: int
    samples: int
    l2: float

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient and return the loss."""


@dataclass(frozen=True)
class Optimum:
    """A point, f(x) in float64, and ``gap``: a proven bound on f(x) - min f."""

    x: Vector
    value: float
    gap: float


def minimum(
    problem: Objective, key: str, name: str, solver: Callable[[], Optimum | None]
) -> float | None:
    """Return min f of the objective that ``key`` identifies, cached or from ``solver``.

    ``name`` is the name of the data, for the announcement. None if the solver returns
    None, and, with a warning, if its point has a gap above ``GAP``. A cache file that
    can't be read is replaced; a cache folder that can't be written to is not used.
    """
    path = _path(key)
    known = _read(path, key)
    if known is not None:
        return known
    if problem.samples * problem.dim >= _SLOW:
        announce(f"computing the optimum of {name} (cached afterwards)")
    best = solver()
    if best is None:
        return None
    if not best.gap <= GAP:
        warnings.warn(
            f"optimum: the best point found is only proven to {best.gap:.1e}, not "
            f"{GAP:.0e} (l2={problem.l2}); residuals are not known",
            stacklevel=3,
        )
        return None
    entry = {"layout": _LAYOUT, "key": key, "value": best.value, "gap": best.gap}
    cache.write(path, lambda file: file.write(json.dumps(entry).encode()))
    return best.value


def solve(problem: Objective) -> Optimum:
    """Minimise by L-BFGS in float64; large problems start in float32, which is faster.

    Starts at zero, so the result depends on the objective alone. Gives up when a
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


def is_known(key: str) -> bool:
    """Return whether the optimum of the objective ``key`` is cached."""
    return _read(_path(key), key) is not None


def solver_nbytes(dim: int) -> int:
    """Return about how many bytes ``solve`` takes for ``dim`` unknowns.

    SciPy's L-BFGS-B has 2 ``_PAIRS`` + 5 vectors of workspace; about eight more hold
    points, gradients and bounds.
    """
    return _LIBRARY_NBYTES + (2 * _PAIRS + 13) * 8 * dim


def _path(key: str) -> Path:
    return cache.folder() / f"optimum-{key[:40]}.json"


def _descend(problem: Objective, x: Vector, dtype: Any, target: float) -> Vector:
    """Run L-BFGS from ``x``, with gradients in ``dtype``, until ||g|| <= target.

    Returns the point with the smallest ||g||; rounding may stop the search earlier.
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
