"""A quadratic with known optimum and adjustable condition, noise and heterogeneity."""

from __future__ import annotations

import copy
import hashlib
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError, Indices, Problem, Vector
from psmpi.data import memory
from psmpi.random import DATA, NOISE, START, WORKERS, generator

Array = NDArray[np.float64]

QUADRATIC: dict[str, int | float] = {
    "dim": 100,
    "condition": 100.0,
    "heterogeneity": 1.0,
    "spread": 0.5,
    "noise": 0.0,
    "samples": 1000,
    "seed": 0,
}


class Quadratic(Problem):
    """A quadratic f(x) = 1/2 (x - x*)^T H (x - x*), with minimiser x* ~ N(0, I).

    H = Q diag(h) Q has eigenvalues h spaced evenly in logarithm from 1/``condition`` to
    1; Q = I - 2 v v^T mixes coordinates in O(dim). Worker m of M has

        f_m(x) = 1/2 (x - x*)^T H_m (x - x*) + b_m^T (x - x*)

    with sum_m b_m = 0 and (1/M) sum_m H_m = H, so (1/M) sum_m f_m = f for every M.
    Before centring, b_m has length ``heterogeneity`` (root mean square); H_m has the
    eigenvalues h (1 + ``spread`` w), with w in [-1, 1] drawn for each worker and
    eigenvector. The minimiser of f_m is x* - H_m^{-1} b_m.

    The whole problem and every shard have ``samples`` samples (an even number). Sample
    i adds ``noise`` xi_i^T (x - x*) with E||xi_i||^2 = 1, drawn by (seed, worker, i),
    and xi_{2j+1} = -xi_{2j}: the full batch has no noise, minibatches are unbiased.

    Constants are float64; ``grad`` and ``loss`` compute in float64 whatever ``x`` is.
    """

    def __init__(
        self,
        *,
        dim: int = 100,
        condition: float = 100.0,
        heterogeneity: float = 1.0,
        spread: float = 0.5,
        noise: float = 0.0,
        samples: int = 1000,
        seed: int = 0,
        init: str = "normal",
        dtype: Any = np.float32,
    ) -> None:
        """Build the whole problem. ``init``: ``normal`` (x* + N(0, I)) or ``zeros``."""
        _check(dim, condition, heterogeneity, spread, noise, samples, init)
        self.dim, self.bounds, self.samples = dim, (0, dim), samples
        self.condition, self.heterogeneity = float(condition), float(heterogeneity)
        self.spread, self.noise = float(spread), float(noise)
        self.seed, self.init, self.dtype = seed, init, np.dtype(dtype)
        self.worker, self.workers = 0, 1
        draw = generator(seed, DATA)
        self._centre = draw.standard_normal(dim)
        axis = draw.standard_normal(dim)
        self._axis = axis / np.linalg.norm(axis)
        self._h = np.logspace(-np.log10(condition), 0, dim) if dim > 1 else np.ones(1)
        self._b = np.zeros(dim)  # in the eigenbasis of H, like _h

    @property
    def minimiser(self) -> Array:
        """The minimiser of f_m (of f, if not sharded), shape (dim,), float64."""
        return self._centre - self._mix(self._b / self._h)

    def start(self, seed: int) -> Vector:
        """Return x* + N(0, I), or zeros: shape (dim,), of the problem's dtype."""
        if self.init == "zeros":
            return np.zeros(self.dim, self.dtype)
        offset = generator(seed, START).standard_normal(self.dim)
        return (self._centre + offset).astype(self.dtype)

    def loss(self, x: Vector) -> float:
        """Return f_m(x)."""
        r = self._mix(x - self._centre)
        return float(r @ (0.5 * self._h * r + self._b))

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient at ``x`` into ``out``; return the loss it belongs to.

        ``batch`` holds sample indices; with ``noise`` 0 all samples are equal.
        """
        away = x - self._centre
        r = self._mix(away)
        curved = self._h * r
        value = float(r @ (0.5 * curved + self._b))
        gradient = self._mix(curved + self._b)
        if batch is not None:
            noise = self._noise_of(batch)
            gradient += noise
            value += float(noise @ away)
        out[:] = gradient
        return value

    def shard(self, worker: int, workers: int) -> Self:
        """Return f_m of worker ``worker`` (0-based) of ``workers``."""
        if self.workers > 1:
            raise ConfigError(
                f"shard: this is already the shard of worker {self.worker} of "
                f"{self.workers}; shard the whole problem"
            )
        if not 0 <= worker < workers:
            raise ConfigError(f"worker: must lie in 0 .. {workers - 1}, got {worker}")
        # All workers' draws are needed: b and w sum to zero after their mean is taken
        # off.
        draw = generator(self.seed, WORKERS)
        mean_b = np.zeros(self.dim)
        mean_w = np.zeros(self.dim)
        for m in range(workers):
            b = draw.standard_normal(self.dim)
            w = draw.uniform(-0.5, 0.5, self.dim)
            mean_b += b / workers
            mean_w += w / workers
            if m == worker:
                own_b, own_w = b, w
        own = copy.copy(self)
        own.worker, own.workers = worker, workers
        own._second = None  # scratch is a shard's own
        own._b = self.heterogeneity / np.sqrt(self.dim) * (own_b - mean_b)
        own._h = self._h * (1 + self.spread * (own_w - mean_w))
        return own

    def digest(self) -> str:
        """Return a sha256 hex digest of the parameters and which shard it is."""
        names = (*QUADRATIC, "init", "worker", "workers")
        parts = ("Quadratic", str(self.dtype), *(getattr(self, n) for n in names))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def optimum(self) -> float:
        """Return min f_m, exact up to float64 rounding; 0 for the whole problem."""
        return float(-0.5 * np.sum(self._b**2 / self._h))

    def smoothness(self) -> float:
        """Return the largest eigenvalue of H_m, exactly; 1 for the whole problem."""
        return float(self._h.max())

    def _mix(self, r: Any) -> Array:
        """Return Q r; Q is its own inverse."""
        along = 2 * float(self._axis @ r)
        mixed: Array = r - along * self._axis
        return mixed

    def _noise_of(self, batch: Indices) -> Array:
        """Return the mean of ``noise`` xi_i over the batch."""
        if batch.size == 0 or batch.min() < 0 or batch.max() >= self.samples:
            raise ConfigError(
                f"batch: needs sample indices in 0 .. {self.samples - 1}, got "
                f"{batch.size} of them"
                + (f" in {batch.min()} .. {batch.max()}" if batch.size else "")
            )
        total: Array = np.zeros(self.dim)
        if self.noise == 0:
            return total
        stream = (self.worker * self.samples + batch // 2 * 2).tolist()
        for index, position in zip(batch.tolist(), stream, strict=True):
            key = np.array([self.seed, NOISE], np.uint64)
            # The counter's high words select the sample, so that samples are 2^128
            # draws apart.
            counter = np.array([0, 0, position, self.workers], np.uint64)
            draw = np.random.Generator(np.random.Philox(key=key, counter=counter))
            total += (1 - 2 * (index % 2)) * draw.standard_normal(self.dim)
        total *= self.noise / np.sqrt(self.dim) / batch.size
        return total


def _check(
    dim: int,
    condition: float,
    heterogeneity: float,
    spread: float,
    noise: float,
    samples: int,
    init: str,
) -> None:
    wrong = (
        (dim < 1, "dim", "at least 1", dim),
        (not 1 <= condition < np.inf, "condition", "finite, at least 1", condition),
        (
            not 0 <= heterogeneity < np.inf,
            "heterogeneity",
            "finite, at least 0",
            heterogeneity,
        ),
        (not 0 <= spread < 1, "spread", "in [0, 1)", spread),
        (not 0 <= noise < np.inf, "noise", "finite, at least 0", noise),
        (samples < 2 or samples % 2, "samples", "even, at least 2", samples),
        (init not in ("normal", "zeros"), "init", "normal or zeros", init),
    )
    for fails, name, requirement, value in wrong:
        if fails:
            raise ConfigError(f"quadratic: {name} must be {requirement}, got {value}")
    # Four constants and two temporaries of float64.
    memory.require(f"quadratic: dim={dim}", 6 * 8 * dim, "use a smaller dim")
