"""Problems: objectives with their gradients, over the data sets of ``psmpi.data``.

May import ``data``, kernels, ``base``, ``errors`` and ``random``; a problem knows no
algorithm.

>>> problem = make_problem("synthetic:logistic,samples=100,features=3", l2=0.1)
>>> problem.dim, problem.samples
(4, 100)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Problem
from psmpi.data import spec
from psmpi.data.dataset import Dataset
from psmpi.data.partition import PARTITIONS
from psmpi.data.registry import DATASETS, SYNTHETIC, load
from psmpi.problems.linear import Linear, Logistic, Softmax
from psmpi.problems.mlp import Mlp
from psmpi.problems.quadratic import QUADRATIC, Quadratic
from psmpi.problems.supervised import INITS, Supervised

PROBLEMS: dict[str, type[Problem]] = {
    "quadratic": Quadratic,
    "softmax": Softmax,
    "logistic": Logistic,
    "mlp": Mlp,
}

__all__ = [
    "DATASETS",
    "INITS",
    "PARTITIONS",
    "PROBLEMS",
    "Dataset",
    "Linear",
    "Logistic",
    "Mlp",
    "Quadratic",
    "Softmax",
    "Supervised",
    "load",
    "make_problem",
]


def make_problem(
    data: str = "digits",
    *,
    l2: float = 0.01,
    l1: float = 0.0,
    hidden: Sequence[int] = (),
    activation: str = "relu",
    loss: str = "softmax",
    partition: str = "contiguous",
    dirichlet_alpha: float = 0.5,
    init: str = "glorot",
    dtype: Any = np.float32,
    seed: int = 0,
    loader: Callable[[str, Any], Dataset] = load,
) -> Problem:
    """Return the whole, unsharded problem on the data called ``data`` (see ``load``).

    ``hidden`` makes it an ``Mlp`` with these hidden layers, this ``activation`` and
    ``loss``. Without, two classes make it ``Logistic``, more ``Softmax``;
    ``synthetic:quadratic,...`` is a ``Quadratic``, which has neither layers nor ridge
    nor partition and starts at x* + N(0, I) unless ``init`` is ``zeros``. ``l2`` is the
    ridge of f, ``l1`` the factor of ||x||_1 in it; ``partition`` one of ``PARTITIONS``,
    ``dirichlet_alpha`` its concentration, ``seed`` its seed; ``init`` one of ``INITS``;
    ``loader`` does as ``load`` does, and may keep what it loaded. Raises
    ``ConfigError`` for whatever doesn't fit.
    """
    if not hidden and (activation, loss) != ("relu", "softmax"):
        raise ConfigError(
            f"hidden: no layers, but activation {activation} and loss {loss}, which "
            "are choices for perceptrons; give sizes like (200, 100), or leave both out"
        )
    if data.startswith("synthetic:"):
        kinds = {**SYNTHETIC, "quadratic": QUADRATIC}
        kind, values = spec.parse(data.removeprefix("synthetic:"), kinds)
        if kind == "quadratic":
            return _quadratic(values, hidden, l1, init, dtype)
    options: dict[str, Any] = {
        "l2": l2,
        "l1": l1,
        "partition": partition,
        "dirichlet_alpha": dirichlet_alpha,
        "init": init,
        "seed": seed,
    }
    whole = loader(data, dtype)
    if hidden:
        return Mlp(whole, hidden=hidden, activation=activation, loss=loss, **options)
    # A softmax over two synthetic classes was asked for by name.
    two = whole.classes == 2 and not data.startswith("synthetic:softmax")
    return Logistic(whole, **options) if two else Softmax(whole, **options)


def _quadratic(
    values: dict[str, Any], hidden: Sequence[int], l1: float, init: str, dtype: Any
) -> Quadratic:
    if l1:
        raise ConfigError(
            f"l1: a quadratic has no l1 term, got {l1}; take other data, or leave --l1 "
            "out"
        )
    if hidden:
        raise ConfigError(
            f"hidden: a quadratic has no layers, got {hidden!r}; take other data, or "
            "leave hidden out"
        )
    chosen = "zeros" if init == "zeros" else "normal"
    return Quadratic(**values, init=chosen, dtype=dtype)
