"""A robust regression of one's own: Huber's loss, and a metric beside it.

    psmpi run laq --problem huber.py:Huber --problem-option delta=0.5 --lr 0.1

Every rank makes the problem itself, so nothing here is sent or pickled.
"""

from __future__ import annotations

import hashlib

import numpy as np

from psmpi.base import Problem


class Huber(Problem):
    """f(w) = (1/N) sum_i h(a_i w - b_i), h(r) = r^2 / 2 up to delta, linear beyond.

    The targets are real numbers, a tenth of them far off.
    """

    def __init__(self, *, dtype, seed, delta: float = 1.0, samples: int = 400):
        draw = np.random.default_rng(seed)
        self.a = draw.normal(size=(samples, 8)).astype(dtype)
        self.b = (self.a @ np.arange(1, 9)).astype(dtype)
        self.b[::10] += 100
        self.delta, self.share = delta, 1.0
        self._describe()

    def _describe(self):
        self.samples, self.dim = self.a.shape
        self.bounds = (0, self.dim)

    def start(self, seed):
        return np.zeros(self.dim, self.a.dtype)

    def loss(self, x):
        r = np.abs(self.a @ x - self.b)
        far = self.delta * (r - self.delta / 2)
        return self.share * float(np.where(r <= self.delta, r**2 / 2, far).mean())

    def grad(self, x, out, batch=None):
        a, b = (self.a, self.b) if batch is None else (self.a[batch], self.b[batch])
        r = a @ x - b
        out[:] = self.share * (np.clip(r, -self.delta, self.delta) @ a) / len(b)
        return self.loss(x)

    def shard(self, worker, workers):
        part = object.__new__(Huber)
        part.a, part.b = self.a[worker::workers], self.b[worker::workers]
        # Scaled so that the mean over workers is f, also with unequal shards.
        part.delta, part.share = self.delta, workers * len(part.b) / len(self.b)
        part._describe()
        return part

    def digest(self):
        return hashlib.sha256(self.a.tobytes() + self.b.tobytes()).hexdigest()

    def metrics(self, x):
        return {"median_error": float(np.median(np.abs(self.a @ x - self.b)))}
