"""The base class of problems with a data set: loss, gradient, shards, start, digest."""

from __future__ import annotations

import abc
import copy
import hashlib
from dataclasses import replace
from typing import Any, Self

import numpy as np

from psmpi.base import ConfigError, Indices, Problem, Vector
from psmpi.data.dataset import Dataset
from psmpi.data.partition import ALL, split
from psmpi.data.spec import hint
from psmpi.data.targets import Targets
from psmpi.problems.linear_layer import Array, Model
from psmpi.problems.row_blocks import Blocks
from psmpi.random import START, generator

INITS = ("glorot", "zeros")


class Supervised(Problem):
    """f(x) = (1/N) sum_i l_i(x) + (l2/2) ||x||^2 + l1 ||x||_1 over N samples.

    Ridge and l1 are over *all* parameters, including biases, as in the released LAQ
    code. Losses include both; gradients leave out l1, which is not differentiable.

    A shard with n_m of the N samples is f_m(x) = (M/N) sum_{i in shard} l_i(x)
    + (l2/2) ||x||^2 + l1 ||x||_1, so that (1/M) sum_m f_m = f for every partition; with
    equal shards, that is the mean over the shard. The sum over a batch of B samples is
    scaled by (M n_m / N) / B, so that the minibatch gradient is unbiased. With the
    partition ``all``, every f_m is f, with 1/N in place of M/N.

    An object keeps scratch buffers: use it from one thread at a time.
    """

    width = 0  # numbers per sample that a model keeps, if they may be many
    # The array that ``difference`` last filled sparsely, and the indices it wrote.
    _filled: tuple[Vector, Indices] | None = None

    def __init__(
        self,
        data: Dataset,
        *,
        l2: float = 0.01,
        l1: float = 0.0,
        partition: str = "contiguous",
        dirichlet_alpha: float = 0.5,
        init: str = "glorot",
        seed: int = 0,
    ) -> None:
        for name, value in (("l2", l2), ("l1", l1)):
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: must be finite and at least 0, got {value}")
        if init not in INITS:
            raise ConfigError(f"init: no start is called {init!r}; {hint(init, INITS)}")
        # Splitting one sample checks partition and alpha now, on every rank, instead of
        # later in ``shard``.
        split(partition, data.y[:1], 1, alpha=dirichlet_alpha, seed=seed)
        self.data = data
        self.l2, self.l1 = float(l2), float(l1)
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
        self._second = self._filled = None  # every shard has its own scratch
        self._train = Blocks(data.x, data.divisor, self.width)
        self._test = (
            None
            if data.x_test is None
            else Blocks(data.x_test, data.divisor, self.width)
        )

    @property
    def sample_weight(self) -> float:
        """Weight of a sample's loss in f_m: M/N, or 1/N with the partition ``all``."""
        return (1 if self.partition == ALL else self.workers) / self._whole

    def own_part(self) -> Indices | None:
        """Return this worker's part of the samples that all workers hold, or None."""
        if self.partition != ALL or self.workers == 1:
            return None
        return split("contiguous", self.data.y, self.workers)[self.worker]

    @abc.abstractmethod
    def _make_model(self, rows: int, dtype: np.dtype[Any]) -> Model:
        """Return a model for blocks of at most ``rows`` rows, not yet loaded."""

    @abc.abstractmethod
    def _residual(self, z: Array, y: Targets, derivative: bool) -> float:
        """Return sum_i l_i of scores ``z``, shape (columns, samples), in float64.

        With ``derivative``, overwrite ``z`` with dl_i/dz; without, its content is lost.
        """

    def _predict(self, z: Array) -> Indices:
        """Return the class index that each sample's scores predict."""
        guess: Indices = np.argmax(z, axis=0)
        return guess

    @property
    @abc.abstractmethod
    def fans(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer, which has a weight matrix and a bias."""

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

    def loss(self, x: Vector) -> float:
        """Return f_m(x) over all samples of the shard, summed in float64."""
        return self._evaluate(x, None, None)

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient at ``x`` into ``out``; return the loss it belongs to.

        ``x`` and ``out`` have shape (dim,) and the same dtype, float32 or float64, in
        which the products are computed; they share no memory. ``batch`` holds indices
        into the shard's samples and may repeat them; None stands for all samples.
        Raises ``ConfigError`` for vectors of another shape or dtype and for indices out
        of range.
        """
        check_alike(x, out=out)
        return self._evaluate(x, out, batch)

    def accuracy(self, x: Vector) -> float | None:
        """Return the share of test samples that ``x`` classifies correctly, or None."""
        if self._test is None or self.data.y_test is None:
            return None
        model = self._model(x, self._test)
        model.load(x)
        correct = 0
        for where, block in self._test.walk(x.dtype):
            guess = self._predict(model.scores(block))
            correct += int(np.count_nonzero(guess == self.data.y_test[where]))
        return correct / self.data.y_test.size

    def _evaluate(self, x: Vector, out: Vector | None, batch: Indices | None) -> float:
        weight = self._weight(batch)
        model = self._model(x, self._train)
        model.load(x, out, weight)
        total = 0.0
        for where, block in self._train.walk(x.dtype, batch):
            z = model.scores(block)
            y = self.data.y[where if batch is None else batch[where]]
            total += self._residual(z, y, out is not None)
            if out is not None:
                model.add(block, z)
        model.store()
        value = weight * total + self._ridge(x, out)
        if self.l1:
            value += self.l1 * float(np.sum(np.abs(x), dtype=np.float64))
        return value

    def _weight(self, batch: Indices | None) -> float:
        """Return the weight of one sample's loss in the sum over ``batch``."""
        if batch is None:
            return self.sample_weight
        return self.sample_weight * (self.samples / max(batch.size, 1))

    def _ridge(self, x: Vector, out: Vector | None) -> float:
        """Return (l2/2) ||x||^2, in float64, and add its gradient to ``out``."""
        if self.l2 == 0:
            return 0.0
        if out is not None:
            out += x.dtype.type(self.l2) * x
        return 0.5 * self.l2 * float(np.sum(np.square(x, dtype=np.float64)))

    def _model(self, x: Vector, blocks: Blocks) -> Model:
        """Return the model for parameters of this dtype; its buffers are reused."""
        if x.shape != (self.dim,) or x.dtype not in (np.float32, np.float64):
            raise ConfigError(
                f"x: must be a float32 or float64 vector of {self.dim}, got {x.shape} "
                f"of {x.dtype}"
            )
        model: Model | None = blocks.scratch.get(x.dtype)
        if model is None:
            model = self._make_model(blocks.rows(x.dtype), x.dtype)
            blocks.scratch[x.dtype] = model
        return model

    def without_ridge(self) -> Self:
        """Return this problem with l2 = 0; data and scratch buffers are shared."""
        own = copy.copy(self)
        own.l2 = 0.0
        own._filled = None
        return own

    def shard(self, worker: int, workers: int) -> Self:
        """Return f_m of worker ``worker`` (0-based) of ``workers``.

        The shard holds a copy of its samples' features, as floats, and does not keep
        the whole data set in memory. The partition ``all`` copies nothing. Raises
        ``ConfigError`` for more workers than samples, and for a shard of a shard.
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
        if self.partition == ALL:
            own._take(self.data)
            return own
        rows = self.data.rows(_as_slice(part))
        own._take(replace(self.data, x=rows, y=self.data.y[part]))
        return own

    def digest(self) -> str:
        """Return a sha256 hex digest of the data, the options and the shard's number.

        ``Dataset.digest`` says what it covers of the data. The whole problem's digest
        is the same on every rank that loaded the same numbers.
        """
        return self._hash(
            self.partition,
            self.dirichlet_alpha if self.partition == "dirichlet" else None,
            self.init,
            self.seed,
            str(self.dtype),
        )

    def _hash(self, *more: object) -> str:
        """Return the digest of the objective itself and of ``more``."""
        data = self._digest_of_data or self.data.digest()
        shard = (self.worker, self.workers)
        parts = (type(self).__name__, self.fans, self.l2, data, shard, *more)
        if self.l1:
            parts += ("l1", self.l1)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def check_alike(x: Vector, **others: Vector) -> None:
    """Raise ``ConfigError`` for a vector of another shape or dtype than ``x``."""
    for name, other in others.items():
        if other.shape != x.shape or other.dtype != x.dtype:
            raise ConfigError(
                f"{name}: must match x, {x.shape} of {x.dtype}, got {other.shape} of "
                f"{other.dtype}"
            )


def _as_slice(part: np.ndarray) -> np.ndarray | slice:
    """Return contiguous indices as a slice, which is faster to read than an array."""
    first, last = int(part[0]), int(part[-1])
    if last - first + 1 == part.size and bool((np.diff(part) == 1).all()):
        return slice(first, last + 1)
    return part
