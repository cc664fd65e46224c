"""Multi-layer perceptrons with a ridge, on dense and on CSR features.

x holds layer after layer its weights (inputs x outputs, row-major), then its bias.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Indices, Vector
from psmpi.data.dataset import Dataset
from psmpi.data.spec import nearest
from psmpi.problems.linear_layer import Array, Model
from psmpi.problems.losses import LOSSES
from psmpi.problems.mlp_layers import ACTIVATIONS, Network
from psmpi.problems.supervised import Supervised


class Mlp(Supervised):
    """A perceptron with hidden layers and one score per class: not convex.

    Parameters
    ----------
    hidden
        Units of each hidden layer, from the input on; at least one layer.
    activation
        Of the hidden units: ``relu`` (with slope 0 at 0), ``tanh`` or ``sigmoid``.
    loss
        ``softmax``: l_i = logsumexp(z_i) - z_i[y_i]. ``logistic``: every class against
        the rest, l_i = sum_c log(1 + exp(-s_ic z_ic)), s_ic = 1 for c = y_i, else -1.
    options
        Those of ``Supervised``: l2, partition, init, seed, ...
    """

    def __init__(
        self,
        data: Dataset,
        *,
        hidden: Sequence[int],
        activation: str = "relu",
        loss: str = "softmax",
        **options: Any,
    ) -> None:
        self.hidden = _checked(hidden)
        self.activation = _known("activation", activation, ACTIVATIONS)
        self.criterion = _known("loss", loss, LOSSES)  # loss is a method
        sizes = (data.features, *self.hidden, data.classes)
        self._fans = tuple(itertools.pairwise(sizes))
        tensors = ((i * outputs, outputs) for i, outputs in self._fans)
        self.bounds = (0, *itertools.accumulate(itertools.chain(*tensors)))
        self.dim = self.bounds[-1]
        self.width = sum(sizes[1:])
        super().__init__(data, **options)

    @property
    def fans(self) -> tuple[tuple[int, int], ...]:
        """Hidden layers, then the output layer."""
        return self._fans

    def _make_model(self, rows: int, dtype: np.dtype[Any]) -> Model:
        return Network(self._fans, ACTIVATIONS[self.activation], rows, dtype)

    def _residual(self, z: Array, y: Indices, derivative: bool) -> float:
        return LOSSES[self.criterion](z, y, derivative)

    def _ridge(self, x: Vector, out: Vector | None) -> float:
        if self.l2 == 0:
            return 0.0
        # Here x is larger than a batch and what comes of it: NumPy's temporaries would
        # cost half as much as all products at 32 samples of 784-200-10. The imports
        # wait until now, as numba takes long to import.
        from psmpi.kernels.reduce import sum_squares
        from psmpi.kernels.vector import add_scaled

        if out is not None:
            add_scaled(out, x, self.l2)
        return 0.5 * self.l2 * sum_squares(x, 1.0)

    def _hash(self, *more: object) -> str:
        return super()._hash(self.activation, self.criterion, *more)


def _checked(hidden: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(hidden)
    whole = all(
        isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 1
        for size in sizes
    )
    if not sizes or not whole:
        raise ConfigError(
            f"hidden: needs one or more layers of at least 1 unit, got {hidden!r}; "
            "give sizes like (200, 100)"
        )
    return tuple(int(size) for size in sizes)


def _known(what: str, name: str, table: dict[str, Any]) -> str:
    if name not in table:
        raise ConfigError(
            f"{what}: there is no {name!r}; {nearest(name, table)}use one of "
            f"{', '.join(table)}"
        )
    return name
