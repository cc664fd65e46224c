"""Least squares with a ridge, for real targets, on dense and on CSR features."""

from __future__ import annotations

import numpy as np

from psmpi.base import ConfigError, Vector
from psmpi.data.dataset import Dataset
from psmpi.data.targets import Targets
from psmpi.problems import curvature, losses, optimum
from psmpi.problems.linear import Linear
from psmpi.problems.linear_layer import Array
from psmpi.problems.optimum import Optimum

# With up to this many features, the optimum comes from the normal equations.
_DIRECT = 1024
# Least ratio of the Hessian's extreme eigenvalues at which the smallest one is still
# computed to several digits.
_FULL_RANK = 1e-10


class LeastSquares(Linear):
    """Linear regression: l_i = (1/2) sum_c (z_ic - y_ic)^2, over the outputs c.

    f(x) = (1/2N) sum_i (a_i^T w + b - y_i)^2 + (l2/2) ||x||^2 + l1 ||x||_1. Neither
    features nor targets are scaled. There is no accuracy.
    """

    loss_curvature = 1.0  # the Hessian of l_i in the scores is the identity

    def _count_columns(self, data: Dataset) -> int:
        if not data.is_regression:
            raise ConfigError(
                f"least squares: {data.name} has {data.classes} classes, but least "
                "squares takes real targets; use Softmax, or targets=real in the name "
                "of the data"
            )
        return 1 if data.y.ndim == 1 else int(data.y.shape[1])

    def optimum(self) -> float | None:
        """Return min f, at most 1e-10 too high; cached.

        With up to 1024 features the normal equations are solved, also for ``l2 = 0``
        if the features are linearly independent; with more, see ``Linear.optimum``.
        None with an ``l1``, and where no such value could be certified.
        """
        if self.l1 > 0:
            return None
        if self.data.features > _DIRECT:
            return super().optimum()
        return optimum.minimum(self, self._hash(), self.data.name, self._solve)

    def _solve(self) -> Optimum | None:
        """Solve the normal equations in float64, with refinement by the true gradient.

        f is quadratic with Hessian H, so f(x) - min f = (1/2) g^T H^{-1} g exactly, g
        being the gradient at x: that is the gap, doubled for rounding in H. Returns
        None if H is singular to working precision.
        """
        gram = curvature.gram(self._train, self.data.features)
        hessian = self.sample_weight * gram + self.l2 * np.eye(len(gram))
        values, vectors = np.linalg.eigh(hessian)
        values = np.maximum(values, self.l2)
        if not values[0] > (0 if self.l2 else _FULL_RANK * values[-1]):
            return None
        x: Vector = np.zeros(self.dim)
        out: Vector = np.empty(self.dim)
        best = Optimum(x, np.inf, np.inf)
        for _ in range(5):
            value = self.grad(x, out)
            along = vectors.T @ out.reshape(-1, self.columns)
            newton = along / values[:, None]
            gap = float(np.sum(along * newton))
            if not gap < best.gap:
                break
            best = Optimum(x, value, gap)
            x = x - (vectors @ newton).reshape(-1)
        return best

    def _residual(self, z: Array, y: Targets, derivative: bool) -> float:
        return losses.squared(z, y, derivative)

    def accuracy(self, x: Vector) -> None:
        """Return None: there are no classes to predict."""
