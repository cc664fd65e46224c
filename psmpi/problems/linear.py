"""Linear models with a convex loss and a ridge, on dense and on CSR features.

x holds the weights (features x columns, row-major), then the bias (columns).
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np

from psmpi.base import ConfigError, Indices, Vector
from psmpi.data.dataset import Dataset, is_sparse
from psmpi.problems import curvature, losses, optimum
from psmpi.problems.linear_layer import (
    Array,
    DenseLayer,
    Model,
    SparseLayer,
    add_sparse_gradient,
)
from psmpi.problems.supervised import Supervised, check_alike


class Linear(Supervised):
    """One layer with a bias, and a convex loss of its scores, defined by subclasses."""

    # Upper bound on the eigenvalues of the Hessian of l_i with respect to the scores.
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

    @property
    def fans(self) -> tuple[tuple[int, int], ...]:
        """The one layer."""
        return ((self.data.features, self.columns),)

    def optimum(self) -> float | None:
        """Return min f, at most 1e-10 too high (certified, see ``optimum``); cached.

        None for ``l2 = 0``, where the minimum may not be attained and no certificate
        exists, and with an ``l1``, where f has no gradient to certify it.
        """
        if not self._has_certificate():
            return None
        return optimum.minimum(
            self, self._hash(), self.data.name, lambda: optimum.solve(self)
        )

    def optimum_nbytes(self) -> int:
        """Return the bytes of the search for the optimum; 0 if it is known."""
        if not self._has_certificate() or optimum.is_known(self._hash()):
            return 0
        return optimum.solver_nbytes(self.dim)

    def _has_certificate(self) -> bool:
        """Return whether a gradient can certify that a point is the optimum."""
        return self.l2 > 0 and self.l1 == 0

    def smoothness(self) -> float:
        """Return c (M/N) lambda_max(X~^T X~) + l2, a bound on the Lipschitz constant.

        X~ is the shard's X with a column of ones for the bias. c is ``loss_curvature``:
        1/2 for softmax, 1/4 for logistic, 1 for least squares. ``curvature.largest``
        gives the probability that the bound holds.
        """
        top = curvature.largest(self._train, self.data.features, self.dtype)
        return self.loss_curvature * self.sample_weight * top + self.l2

    def difference(
        self, x: Vector, reference: Vector, out: Vector, batch: Indices | None = None
    ) -> Indices | None:
        """Write grad f_B(x) - grad f_B(reference) into ``out``: see ``Problem``.

        A batch of CSR rows without a ridge costs O(non-zeros of the batch), whatever
        dim is: derivatives with respect to the scores are subtracted, then multiplied
        by the rows. Returned are the indices of the parameters that these rows reach,
        which include the bias.
        """
        check_alike(x, reference=reference, out=out)
        filled, self._filled = self._filled, None
        if self.l2 or batch is None or not is_sparse(self.data.x):
            return super().difference(x, reference, out, batch)
        model = self._model(x, self._train)
        ((_, rows),) = self._train.walk(x.dtype, batch)
        slopes = []
        for point in (x, reference):
            model.load(point)
            slopes.append(model.scores(rows))
            self._residual(slopes[-1], self.data.y[batch], True)
        change = slopes[0] - slopes[1]
        change *= self._weight(batch)
        if filled is not None and filled[0] is out:
            out[filled[1]] = 0
        else:
            out[:] = 0
        support = add_sparse_gradient(rows, change, out)
        self._filled = out, support
        return support

    def _make_model(self, rows: int, dtype: np.dtype[Any]) -> Model:
        if is_sparse(self.data.x):
            return SparseLayer(self.columns)
        return DenseLayer(self.data.features, self.columns, rows, dtype)


class Softmax(Linear):
    """Multinomial logistic regression: l_i = logsumexp(z_i) - z_i[y_i].

    On MNIST it has 7850 parameters; the LAQ paper calls it logistic regression.
    """

    loss_curvature = 0.5  # diag(p) - p p^T has no eigenvalue above 1/2

    def _count_columns(self, data: Dataset) -> int:
        if data.is_regression:
            raise ConfigError(
                f"softmax: the targets of {data.name} are real numbers, but softmax "
                "takes classes; use LeastSquares"
            )
        return data.classes

    def _residual(self, z: Array, y: Indices, derivative: bool) -> float:
        return losses.softmax(z, y, derivative)


class Logistic(Linear):
    """Two-class logistic regression: l_i = log(1 + exp(-s_i z_i)), s_i = -1 or 1."""

    loss_curvature = 0.25

    def _count_columns(self, data: Dataset) -> int:
        if data.classes != 2:
            raise ConfigError(
                f"logistic: {data.name} has {data.classes} classes, but "
                "logistic regression takes 2; use "
                + ("LeastSquares" if data.is_regression else "Softmax")
            )
        return 1

    def _residual(self, z: Array, y: Indices, derivative: bool) -> float:
        return losses.signed(z, (2 * y - 1).astype(z.dtype), derivative)

    def _predict(self, z: Array) -> Indices:
        guess: Indices = (z[0] > 0).astype(np.int64)
        return guess
