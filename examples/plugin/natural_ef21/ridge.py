"""A ridge regression on data drawn by a seed, every worker with its own rows."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from psmpi.base import Indices, Problem, Vector

_ROWS, _FEATURES, _RIDGE = 240, 12, 0.1


class Ridge(Problem):
    """f(x) = ||A x - y||^2 / (2 N) + (l2 / 2) ||x||^2 with N rows of A.

    ``psmpi run ALGORITHM --data ridge`` calls ``Ridge(dtype=..., seed=...)`` on every
    rank; rows are split over the workers, and every f_m is scaled so that the mean of
    all f_m is f.
    """

    def __init__(self, *, dtype: Any = np.float32, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.a = rng.standard_normal((_ROWS, _FEATURES)).astype(dtype)
        noise = 0.1 * rng.standard_normal(_ROWS)
        self.y = (self.a @ rng.standard_normal(_FEATURES) + noise).astype(dtype)
        self.dim, self.bounds = _FEATURES, (0, _FEATURES)
        self.samples, self.l2 = _ROWS, _RIDGE
        self.share = 1.0  # M times the share of the rows that are here

    def start(self, seed: int) -> Vector:
        return np.zeros(self.dim, self.a.dtype)

    def loss(self, x: Vector) -> float:
        return self.grad(x, np.empty_like(x))

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        a, y = (self.a, self.y) if batch is None else (self.a[batch], self.y[batch])
        error = a @ x - y
        out[:] = a.T @ error * (self.share / y.size) + self.l2 * x
        squares = self.share * float(error @ error) / (2 * y.size)
        return squares + self.l2 / 2 * float(x @ x)

    def shard(self, worker: int, workers: int) -> Problem:
        own = Ridge.__new__(Ridge)
        own.__dict__.update(self.__dict__)
        own.a, own.y = self.a[worker::workers], self.y[worker::workers]
        own.samples = own.y.size
        own.share = workers * own.samples / self.samples
        return own

    def optimum(self) -> float:
        """Return min f, to the rounding of float64."""
        a, y = self.a.astype(float), self.y.astype(float)
        hessian = a.T @ a / y.size + self.l2 * np.eye(self.dim)
        x = np.linalg.solve(hessian, a.T @ y / y.size)
        error = a @ x - y
        return float(error @ error / (2 * y.size) + self.l2 / 2 * (x @ x))

    def digest(self) -> str:
        parts = self.a.tobytes() + self.y.tobytes() + repr(self.share).encode()
        return hashlib.sha256(parts).hexdigest()
