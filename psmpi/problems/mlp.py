"""Multi-layer perceptrons with a ridge, on dense and on CSR features.

x holds, for one layer after the other, its weights (inputs x outputs, row-major), then
its bias.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Indices, Vector
from psmpi.data import memory
from psmpi.data.dataset import Dataset
from psmpi.data.spec import hint
from psmpi.problems.linear_layer import Array, Model
from psmpi.problems.losses import LOSSES
from psmpi.problems.mlp_layers import ACTIVATIONS, MlpLayers
from psmpi.problems.supervised import Supervised


class Mlp(Supervised):
    """A perceptron with hidden layers and one score per class; f is not convex.

    Parameters
    ----------
    hidden
        Number of units of each hidden layer, from the input on; at least one layer.
    activation
        Activation of hidden units: ``relu`` (slope 0 at 0), ``tanh`` or ``sigmoid``.
    loss
        ``softmax``: l_i = logsumexp(z_i) - z_i[y_i]. ``logistic``: every class against
        the rest, l_i = sum_c log(1 + exp(-s_ic z_ic)), s_ic = 1 for c = y_i, else -1.
    options
        The options of ``Supervised``: l2, partition, init, seed, ...
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
        self.criterion = _known("loss", loss, LOSSES)  # ``loss`` is a method
        if data.is_regression:
            raise ConfigError(
                f"hidden: the targets of {data.name} are real numbers, but perceptrons "
                "take classes; leave hidden out for least squares"
            )
        sizes = (data.features, *self.hidden, data.classes)
        self._fans = tuple(itertools.pairwise(sizes))
        tensors = ((i * outputs, outputs) for i, outputs in self._fans)
        self.bounds = (0, *itertools.accumulate(itertools.chain(*tensors)))
        self.dim = self.bounds[-1]
        self.width = sum(sizes[1:])
        memory.require(
            f"hidden: training layers of {', '.join(map(str, self.hidden))} units "
            f"({self.dim} parameters)",
            2 * self.dim * data.dtype.itemsize,  # the parameters and their gradient
            "use fewer units",
        )
        super().__init__(data, **options)

    @property
    def fans(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the hidden layers, then of the output layer."""
        return self._fans

    def _make_model(self, rows: int, dtype: np.dtype[Any]) -> Model:
        return MlpLayers(self._fans, ACTIVATIONS[self.activation], rows, dtype)

    def _residual(self, z: Array, y: Indices, derivative: bool) -> float:
        return LOSSES[self.criterion](z, y, derivative)

    def _ridge(self, x: Vector, out: Vector | None) -> float:
        if self.l2 == 0:
            return 0.0
        # Here x is larger than a batch and its activations: NumPy's temporaries would
        # cost half as much as all products at 32 samples of 784-200-10. These imports
        # are late because importing numba takes long.
        from psmpi.kernels.reduce import sum_squares
        from psmpi.kernels.vector import add_scaled

        if out is not None:
            add_scaled(out, x, self.l2)
        return 0.5 * self.l2 * sum_squares(x, 1.0)

    def _hash(self, *more: object) -> str:
        return super()._hash(self.activation, self.criterion, *more)


def _checked(hidden: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(hidden)
    valid = all(
        isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 1
        for size in sizes
    )
    if not sizes or not valid:
        raise ConfigError(
            f"hidden: needs one or more layers of at least 1 unit, got {hidden!r}; "
            "give sizes like (200, 100)"
        )
    return tuple(int(size) for size in sizes)


def _known(what: str, name: str, table: dict[str, Any]) -> str:
    if name not in table:
        raise ConfigError(f"{what}: there is no {name!r}; {hint(name, table)}")
    return name
