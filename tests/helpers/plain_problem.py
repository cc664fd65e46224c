"""Problems without data, for ranks: all memory is the algorithm's and the link's."""

from __future__ import annotations

import weakref

import numpy as np

from psmpi.base import Problem

WHOLE: list[weakref.ref] = []


class Plain(Problem):
    """f(x) = ||x||^2 / 2, computed without any temporary."""

    def __init__(self, dim: int = 1000) -> None:
        self.dim, self.bounds, self.samples = dim, (0, dim), 64

    def start(self, seed):
        return np.ones(self.dim, np.float32)

    def loss(self, x):
        return 0.5 * float(np.dot(x, x))

    def grad(self, x, out, batch=None):
        out[:] = x
        return self.loss(x)

    def shard(self, worker, workers):
        return Plain(self.dim)

    def digest(self):
        return f"plain {self.dim}"


class Alone(Plain):
    """Its shards fail if the whole problem is still there when they compute."""

    def __init__(self, dim: int = 1000) -> None:
        super().__init__(dim)
        WHOLE.append(weakref.ref(self))

    def shard(self, worker, workers):
        return Shard(self.dim)


class Shard(Plain):
    def grad(self, x, out, batch=None):
        if any(whole() is not None for whole in WHOLE):
            raise RuntimeError("the whole problem is still in memory")
        return super().grad(x, out, batch)
