"""Small data in every storage, and a problem of every kind, for all problem tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from psmpi.data.dataset import assemble
from psmpi.problems import LeastSquares, Logistic, Quadratic, Softmax

L2 = 0.05
REAL = 0  # in place of a number of classes: real targets
CLASSIFIERS = [(Softmax, 3), (Softmax, 10), (Logistic, 2)]
MODELS = [*CLASSIFIERS, (LeastSquares, REAL)]
STORAGE = ["float", "bytes", "csr"]


def dataset(storage="float", classes=3, samples=41, features=6, dtype=np.float64):
    """Return small data whose feature values are the same numbers in every storage.

    With ``classes`` = ``REAL``, targets are real numbers.
    """
    draw = np.random.Generator(np.random.Philox(key=7))
    raw = draw.integers(0, 256, (samples + 9, features)).astype(np.uint8)
    raw[draw.random(raw.shape) < 0.5] = 0
    y = draw.permutation(np.arange(samples + 9))
    y = y % classes if classes != REAL else y / 8 - 3
    x = {
        "bytes": lambda: raw,
        "float": lambda: raw / 255,
        "csr": lambda: csr_array(raw / 255),
    }[storage]()
    train, test = (x[:samples], y[:samples]), (x[samples:], y[samples:])
    divisor = 255 if storage == "bytes" else 1
    return assemble(
        "made", "test", train, test, divisor=divisor, dtype=dtype, kind="auto"
    )


def point(problem, scale=0.7):
    """Return a fixed random point of the problem's dimension and dtype."""
    draw = np.random.Generator(np.random.Philox(key=11))
    return (scale * draw.standard_normal(problem.dim)).astype(problem.dtype)


def gradient(problem, x, batch=None):
    """Return the loss and the gradient at ``x``, in an array that held NaN before."""
    out = np.full_like(x, np.nan)
    return problem.grad(x, out, batch), out


QUADRATIC = {"dim": 6, "condition": 50.0, "noise": 0.3, "samples": 4}
EVERY = [
    pytest.param(lambda: Softmax(dataset(), l2=L2), id="softmax"),
    pytest.param(lambda: Softmax(dataset("csr"), l2=L2), id="softmax-csr"),
    pytest.param(lambda: Logistic(dataset(classes=2), l2=0.0), id="logistic"),
    pytest.param(
        lambda: LeastSquares(dataset(classes=REAL), l2=L2), id="least-squares"
    ),
    pytest.param(lambda: Quadratic(**QUADRATIC, dtype=np.float64), id="quadratic"),
]
