"""Softmax and logistic regression with a ridge, on dense and on CSR features.

x holds the weights (features x columns, row-major), then the bias (columns).
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np

from psmpi.base import ConfigError, Indices, Vector
from psmpi.problems import curvature, reference
from psmpi.problems.blocks import Blocks
from psmpi.problems.dataset import Dataset, is_sparse
from psmpi.problems.layer import Array, DenseLayer, SparseLayer
from psmpi.problems.supervised import Supervised


class Linear(Supervised):
    """One layer with bias and a convex loss of its scores, which subclasses give."""

    # Largest eigenvalue that the Hessian of l_i in the scores can have.
    loss_curvature: ClassVar[float]

    def __init__(self, data: Dataset, **options: Any) -> None:
        """Take the options of ``Supervised``: l2, partition, init, seed, ..."""
        self.columns = self._count_columns(data)
        self.dim = (data.features + 1) * self.columns
        self.bounds = (0, data.features * self.columns, self.dim)
        super().__init__(data, **options)

    @abc.abstractmethod
    def _count_columns(self, data: Dataset) -> int:
        """Number of scores per sample; raises ``ConfigError`` for unfit data."""

    @abc.abstractmethod
    def _residual(self, z: Array, y: Indices, derivative: bool) -> float:
        """Return sum_i l_i of scores ``z``, shape (columns, samples), in float64.

        With ``derivative``, overwrite ``z`` with dl_i/dz; without, it is scratch.
        """

    @abc.abstractmethod
    def _predict(self, z: Array) -> Indices:
        """Return the class indices that scores ``z`` stand for."""

    @property
    def fans(self) -> tuple[tuple[int, int], ...]:
        """The one layer."""
        return ((self.data.features, self.columns),)

    def loss(self, x: Vector) -> float:
        """Return f_m(x) over all samples of the shard, summed in float64."""
        return self._evaluate(x, None, None)

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient at ``x`` into ``out``; return the loss it belongs to.

        ``x`` and ``out`` have shape (dim,) and one dtype, float32 or float64, in which
        the products are done; they share no memory. ``batch`` holds indices into the
        shard's samples, repeats allowed; None takes them all. Raises ``ConfigError``
        for vectors of another shape or dtype and for indices out of range.
        """
        if out.shape != x.shape or out.dtype != x.dtype:
            raise ConfigError(
                f"out: must match x, {x.shape} of {x.dtype}, got {out.shape} of "
                f"{out.dtype}"
            )
        return self._evaluate(x, out, batch)

    def _evaluate(self, x: Vector, out: Vector | None, batch: Indices | None) -> float:
        layer = self._layer(x)
        weight = self.sample_weight
        if batch is not None:
            weight *= self.samples / max(batch.size, 1)
        total = 0.0
        for where, block in self._train.walk(x.dtype, batch):
            z = layer.scores(block)
            y = self.data.y[where if batch is None else batch[where]]
            total += self._residual(z, y, out is not None)
            if out is not None:
                layer.add(block, z)
        if out is not None:
            layer.store(out, weight)
            if self.l2:
                out += x.dtype.type(self.l2) * x
        ridge = 0.5 * self.l2 * float(np.sum(np.square(x, dtype=np.float64)))
        return weight * total + ridge

    def accuracy(self, x: Vector) -> float | None:
        """Return the share of test samples that ``x`` predicts right; None without."""
        if self._test is None or self.data.y_test is None:
            return None
        layer = self._layer(x, self._test)
        right = 0
        for where, block in self._test.walk(x.dtype):
            guess = self._predict(layer.scores(block))
            right += int(np.count_nonzero(guess == self.data.y_test[where]))
        return right / self.data.y_test.size

    def optimum(self) -> float | None:
        """Return min f, at most 1e-10 too high (certified, ``reference``); cached.

        None for ``l2 = 0``, where nothing certifies the value or it isn't attained.
        """
        if self.l2 == 0:
            return None
        return reference.minimum(self, self._hash())

    def smoothness(self) -> float:
        """Return c (M/N) lambda_max(X~^T X~) + l2: bounds the gradient's Lipschitz L.

        X~ is the shard's X with a column of ones for the bias, and c is 1/2 for softmax
        and 1/4 for logistic. ``curvature.largest`` says how sure the bound is.
        """
        top = curvature.largest(self._train, self.data.features, self.dtype)
        return self.loss_curvature * self.sample_weight * top + self.l2

    def _layer(self, x: Vector, blocks: Blocks | None = None) -> Any:
        """Return the layer with parameters ``x``; its buffers are kept per dtype."""
        if x.shape != (self.dim,) or x.dtype not in (np.float32, np.float64):
            raise ConfigError(
                f"x: must be a float32 or float64 vector of {self.dim}, got {x.shape} "
                f"of {x.dtype}"
            )
        blocks = blocks or self._train
        layer = blocks.scratch.get(x.dtype)
        if layer is None:
            if is_sparse(self.data.x):
                layer = SparseLayer(self.columns)
            else:
                rows = blocks.rows(x.dtype)
                layer = DenseLayer(self.data.features, self.columns, rows, x.dtype)
            blocks.scratch[x.dtype] = layer
        layer.load(x)
        return layer


class Softmax(Linear):
    """Multinomial logistic regression: l_i = logsumexp(z_i) - z_i[y_i].

    7850 parameters on MNIST: the model that the LAQ paper calls logistic regression.
    """

    loss_curvature = 0.5  # diag(p) - p p^T has no eigenvalue above 1/2

    def _count_columns(self, data: Dataset) -> int:
        return data.classes

    def _residual(self, z: Array, y: Indices, derivative: bool) -> float:
        z -= z.max(axis=0)
        flat = z.reshape(-1)
        at = y * z.shape[1]
        at += np.arange(y.size)
        picked = flat[at]
        np.exp(z, out=z)
        norm = z.sum(axis=0)
        if derivative:
            z /= norm
            flat[at] -= 1
        return float(np.sum(np.log(norm) - picked, dtype=np.float64))

    def _predict(self, z: Array) -> Indices:
        guess: Indices = np.argmax(z, axis=0)
        return guess


class Logistic(Linear):
    """Two-class logistic regression: l_i = log(1 + exp(-s_i z_i)), s_i = -1 or 1."""

    loss_curvature = 0.25

    def _count_columns(self, data: Dataset) -> int:
        if data.classes != 2:
            raise ConfigError(
                f"logistic: {data.name} has {data.classes} classes, but "
                "logistic regression takes 2; use Softmax"
            )
        return 1

    def _residual(self, z: Array, y: Indices, derivative: bool) -> float:
        sign = (2 * y - 1).astype(z.dtype)
        z *= sign
        decay = np.exp(-np.abs(z))  # never overflows
        losses = np.log1p(decay) - np.minimum(z[0], 0)
        if derivative:
            z[:] = np.where(z > 0, decay, 1) / (1 + decay)
            z *= -sign
        return float(np.sum(losses, dtype=np.float64))

    def _predict(self, z: Array) -> Indices:
        guess: Indices = (z[0] > 0).astype(np.int64)
        return guess
