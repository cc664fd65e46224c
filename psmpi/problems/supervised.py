"""What every problem with data shares: shards, scaling, start, ridge, digest."""

from __future__ import annotations

import abc
import copy
import hashlib
from dataclasses import replace
from typing import Self

import numpy as np

from psmpi.base import ConfigError, Problem, Vector
from psmpi.problems.blocks import Blocks
from psmpi.problems.dataset import Dataset
from psmpi.problems.draws import START, generator
from psmpi.problems.partition import split
from psmpi.problems.spec import nearest

INITS = ("glorot", "zeros")


class Supervised(Problem):
    """f(x) = (1/N) sum_i l_i(x) + (l2/2) ||x||^2 over N samples, to be sharded.

    The ridge is over *all* parameters, biases included, as in the released LAQ code. A
    shard with n_m of the N samples is f_m(x) = (M/N) sum_{i in shard} l_i(x) +
    (l2/2) ||x||^2, so that (1/M) sum_m f_m = f for every partition; with equal shards
    that is the mean over the shard. A batch of B samples stands for its shard: its sum
    is scaled by (M n_m / N) / B, which keeps the minibatch gradient unbiased.

    An object keeps scratch buffers: use it from one thread at a time.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        l2: float = 0.01,
        partition: str = "contiguous",
        dirichlet_alpha: float = 0.5,
        init: str = "glorot",
        seed: int = 0,
    ) -> None:
        if not (np.isfinite(l2) and l2 >= 0):
            raise ConfigError(f"l2: must be finite and at least 0, got {l2}")
        if init not in INITS:
            raise ConfigError(
                f"init: no start is called {init!r}; {nearest(init, INITS)}"
                f"use one of {', '.join(INITS)}"
            )
        # Splitting one sample checks these two now, on every rank, not at a shard.
        split(partition, data.y[:1], 1, alpha=dirichlet_alpha, seed=seed)
        self.data = data
        self.l2 = float(l2)
        self.partition = partition
        self.dirichlet_alpha = float(dirichlet_alpha)
        self.init = init
        self.seed = seed
        self.dtype = data.dtype
        self.worker, self.workers = 0, 1
        self._whole = data.samples  # N, also in a shard
        self._digest_of_data: str | None = None
        self._take(data)

    def _take(self, data: Dataset) -> None:
        self.data = data
        self.samples = data.samples
        self._train = Blocks(data.x, data.divisor)
        self._test = None if data.x_test is None else Blocks(data.x_test, data.divisor)

    @property
    def sample_weight(self) -> float:
        """What one sample's loss counts in f_m: M/N."""
        return self.workers / self._whole

    @property
    @abc.abstractmethod
    def fans(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer: a weight matrix, then its bias."""

    def start(self, seed: int) -> Vector:
        """Return the initial point, shape (dim,), of the problem's dtype.

        ``glorot``: each layer's weights uniform in +-sqrt(6 / (inputs + outputs)), its
        bias zero. ``zeros``: all zero.
        """
        x = np.zeros(self.dim, self.dtype)
        if self.init == "zeros":
            return x
        draw = generator(seed, START)
        at = 0
        for inputs, outputs in self.fans:
            limit = np.sqrt(6 / (inputs + outputs))
            size = inputs * outputs
            x[at : at + size] = draw.uniform(-limit, limit, size)
            at += size + outputs
        return x

    def shard(self, worker: int, workers: int) -> Self:
        """Return f_m of worker ``worker`` (0-based) of ``workers``.

        Its features are its own copy, as floats: drop the whole problem and the rest
        of the training data is freed. Raises ``ConfigError`` for more workers than
        samples, and for a shard of a shard.
        """
        if self.workers > 1:
            raise ConfigError(
                f"shard: this is already the shard of worker {self.worker} of "
                f"{self.workers}; shard the whole problem"
            )
        if not 0 <= worker < workers:
            raise ConfigError(f"worker: must lie in 0 .. {workers - 1}, got {worker}")
        part = split(
            self.partition,
            self.data.y,
            workers,
            alpha=self.dirichlet_alpha,
            seed=self.seed,
        )[worker]
        own = copy.copy(self)
        own._digest_of_data = self.data.digest()
        own.worker, own.workers = worker, workers
        own._take(
            replace(
                self.data,
                x=self.data.rows(_as_slice(part)),
                y=self.data.y[part],
            )
        )
        return own

    def digest(self) -> str:
        """Return a sha256 hex digest of the data, the parameters and which shard it is.

        What it covers of the data: ``Dataset.digest``. The whole problem's digest is
        the same on every rank that loaded the same numbers.
        """
        return self._hash(
            self.partition,
            self.dirichlet_alpha if self.partition == "dirichlet" else None,
            self.init,
            self.seed,
            str(self.dtype),
        )

    def _hash(self, *more: object) -> str:
        """Digest of the objective itself and of ``more``."""
        data = self._digest_of_data or self.data.digest()
        shard = (self.worker, self.workers)
        parts = (type(self).__name__, self.fans, self.l2, data, shard, *more)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def _as_slice(part: np.ndarray) -> np.ndarray | slice:
    """A contiguous part as a slice, which is read without gathering rows."""
    first, last = int(part[0]), int(part[-1])
    if last - first + 1 == part.size and bool((np.diff(part) == 1).all()):
        return slice(first, last + 1)
    return part
