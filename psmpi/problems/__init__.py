"""Problems: objectives with their gradients, over the data sets of ``psmpi.data``.

May import ``data``, kernels, ``base``, ``errors`` and ``random``; a problem knows no
algorithm. A further objective takes one class and one line of ``PROBLEMS``, and a line
in ``make_problem`` that says when it is chosen.

>>> problem = make_problem("synthetic:logistic,samples=100,features=3", l2=0.1)
>>> problem.dim, problem.samples
(4, 100)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Problem
from psmpi.data import memory, registry, spec
from psmpi.data.dataset import Dataset
from psmpi.data.partition import PARTITIONS
from psmpi.data.registry import DATASETS, SYNTHETIC, load
from psmpi.problems.least_squares import LeastSquares
from psmpi.problems.linear import Linear, Logistic, Softmax
from psmpi.problems.mlp import Mlp
from psmpi.problems.own import check_own, file_digest, make_own, registered
from psmpi.problems.quadratic import QUADRATIC, Quadratic
from psmpi.problems.supervised import INITS, Supervised

PROBLEMS: dict[str, type[Problem]] = {
    "quadratic": Quadratic,
    "softmax": Softmax,
    "logistic": Logistic,
    "least-squares": LeastSquares,
    "mlp": Mlp,
}

__all__ = [
    "DATASETS",
    "INITS",
    "PARTITIONS",
    "PROBLEMS",
    "SYNTHETIC",
    "Dataset",
    "LeastSquares",
    "Linear",
    "Logistic",
    "Mlp",
    "Quadratic",
    "Softmax",
    "Supervised",
    "check_own",
    "file_digest",
    "load",
    "make_own",
    "make_problem",
    "registered",
    "schemes",
]


def schemes() -> dict[str, str]:
    """Return ``psmpi.data.schemes()`` and the synthetic problems without data."""
    summary = (Quadratic.__doc__ or "").partition("\n")[0]
    return {**registry.schemes(), spec.write("quadratic", QUADRATIC): summary}


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
    ``loss``. Without, real targets make it ``LeastSquares``, two classes ``Logistic``,
    and more classes ``Softmax``.

    ``synthetic:quadratic,...`` is a ``Quadratic``, which has neither layers nor ridge
    nor partition and starts at x* + N(0, I) unless ``init`` is ``zeros``. The name of a
    problem of another package (``registered``) makes that problem, which takes none of
    the options.

    ``l2`` is the factor of the ridge in f, ``l1`` the factor of ||x||_1; ``partition``
    is one of ``PARTITIONS``, ``dirichlet_alpha`` its concentration and ``seed`` its
    seed; ``init`` is one of ``INITS``; ``loader`` replaces ``load``. Raises
    ``ConfigError`` for whatever doesn't fit.
    """
    options: dict[str, Any] = {
        "l2": l2,
        "l1": l1,
        "partition": partition,
        "dirichlet_alpha": dirichlet_alpha,
        "init": init,
    }
    layers: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "loss": loss,
    }
    kinds = {**SYNTHETIC, "quadratic": QUADRATIC}
    if not hidden and (activation, loss) != ("relu", "softmax"):
        raise ConfigError(
            f"hidden: no layers, but activation {activation} and loss {loss}, which "
            "are choices for perceptrons; give sizes like (200, 100), or leave both out"
        )
    if data.startswith("synthetic:"):
        kind, values = spec.parse(data.removeprefix("synthetic:"), kinds)
        if kind == "quadratic":
            return _quadratic(values, hidden, l1, init, dtype)
    if not registry.is_known(data):
        return _plugin(data, {**options, **layers}, dtype, seed)
    options["seed"] = seed
    try:
        whole = loader(data, dtype)
        if hidden:
            return Mlp(whole, **layers, **options)
        return _linear_model(whole, data)(whole, **options)
    except MemoryError as error:
        raise memory.shortage(f"data: {data}", error) from error


def _linear_model(whole: Dataset, data: str) -> type[Linear]:
    if whole.is_regression:
        return LeastSquares
    # A user who writes synthetic:softmax gets a softmax also for two classes.
    two = whole.classes == 2 and not data.startswith("synthetic:softmax")
    return Logistic if two else Softmax


def _plugin(name: str, options: Mapping[str, Any], dtype: Any, seed: int) -> Problem:
    """Return the problem of another package; it takes none of ``options``."""
    names = registered()
    if name not in names:
        raise registry.unknown(name, names)
    defaults = inspect.signature(make_problem).parameters
    changed = [
        option
        for option, value in options.items()
        if value != defaults[option].default and value != []
    ]
    if changed:
        raise ConfigError(
            f"{changed[0]}: {name} is a problem of another package, which takes no "
            f"{', '.join(changed)}; leave "
            + ("it out" if len(changed) == 1 else "them out")
        )
    return make_own(name, {}, dtype, seed)


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
