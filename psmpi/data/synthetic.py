"""Generates synthetic data, equal on every rank and on every machine.

Each kind is one function and one line of ``KINDS``. Only operations whose results are
the same on all processors are used: no BLAS, and no logarithms by NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from psmpi.base import ConfigError
from psmpi.data import memory, targets
from psmpi.data.dataset import Dataset, Features, assemble
from psmpi.data.spec import Defaults
from psmpi.random import DATA, generator

GAUSSIAN: dict[str, int | float] = {
    "samples": 1000,
    "features": 20,
    "classes": 5,
    "test": 200,
    "separation": 1.0,
    "density": 1.0,
    "seed": 0,
}
TEXT: dict[str, int | float] = {
    "samples": 2000,
    "features": 5000,
    "test": 400,
    "separation": 0.5,
    "density": 0.005,
    "seed": 0,
}
LINEAR: dict[str, int | float] = {
    "samples": 1000,
    "features": 20,
    "outputs": 1,
    "noise": 0.1,
    "density": 1.0,
    "seed": 0,
}
_FLAT = 50  # words that are about as frequent as the first one: there are no stop words


@dataclass(frozen=True)
class SyntheticKind:
    """A kind of synthetic data: its keys with defaults, and how it is generated."""

    defaults: Defaults
    make: Callable[[str, dict[str, Any], Any], Dataset]  # (kind, values, dtype)

    @property
    def summary(self) -> str:
        """What is generated: the first line of the function's docstring."""
        return (self.make.__doc__ or "").partition("\n")[0].removeprefix("Return ")


def gaussian(kind: str, values: dict[str, Any], dtype: Any) -> Dataset:
    """Return points around one Gaussian centre for each class.

    A point is centre + N(0, I) noise, both divided by sqrt(features) so that points
    have length about 1; centres lie ``separation`` noise widths from the origin per
    coordinate. Classes are as equal in size as can be, in random order. With
    ``density`` below 1 only that share of the entries is kept, in CSR.
    """
    name = f"synthetic:{kind}"
    _check_sizes(name, values, "samples", "features", "classes")
    samples, test, classes = values["samples"], values["test"], values["classes"]
    if samples < classes or classes < 2:
        raise ConfigError(
            f"{name}: needs at least 2 classes and a sample of each, got {classes} "
            f"classes and {samples} samples"
        )
    if test < 0 or not 0 < values["density"] <= 1:
        raise ConfigError(
            f"{name}: test must be at least 0 and density in (0, 1], got {test} and "
            f"{values['density']}"
        )
    _check_memory(name, values, (samples + test) * values["features"])
    draw = generator(values["seed"], DATA)
    centres = values["separation"] * draw.standard_normal((classes, values["features"]))
    y = np.concatenate(
        [draw.permutation(np.arange(n) % classes) for n in (samples, test)]
    )
    x = centres[y] + draw.standard_normal((samples + test, values["features"]))
    x /= np.sqrt(values["features"])
    return _assemble(name, values, _thinned(x, values["density"], draw), y, dtype)


def linear(kind: str, values: dict[str, Any], dtype: Any) -> Dataset:
    """Return real targets that are linear in Gaussian features, plus noise.

    Features are N(0, I) / sqrt(features), so that points have length about 1, and
    y = a^T w + b + ``noise`` N(0, 1) with w and b from N(0, I), for each of
    ``outputs`` targets. With ``density`` below 1 only that share of the entries of
    the features is kept, in CSR. There is no test set.
    """
    name = f"synthetic:{kind}"
    _check_sizes(name, values, "samples", "features", "outputs")
    if not 0 < values["density"] <= 1 or not 0 <= values["noise"] < math.inf:
        raise ConfigError(
            f"{name}: noise must be at least 0 and density in (0, 1], got "
            f"{values['noise']} and {values['density']}"
        )
    samples, features, outputs = (
        values[key] for key in ("samples", "features", "outputs")
    )
    _check_memory(name, values, samples * (features + outputs))
    draw = generator(values["seed"], DATA)
    weights = draw.standard_normal((features, outputs))
    y = values["noise"] * draw.standard_normal((samples, outputs))
    y += draw.standard_normal(outputs)
    x = draw.standard_normal((samples, features)) / np.sqrt(features)
    thinned = _thinned(x, values["density"], draw)
    dense = x if thinned is x else thinned.toarray()
    for column, weight in zip(dense.T, weights, strict=True):
        y += column[:, None] * weight
    return _assemble(name, values, thinned, y, dtype, kind=targets.REAL)


def text(kind: str, values: dict[str, Any], dtype: Any) -> Dataset:
    """Return made-up documents of two topics as rows of word weights, in CSR.

    The frequency of the i-th most frequent of ``features`` words is proportional to
    (i + 50)^-1, times 1 + ``separation`` u_i in one topic and 1 - ``separation`` u_i in
    the other, with u_i uniform in -1 .. 1; words have their columns in random order. A
    document is a Poisson number of words, so many that a share ``density`` of a row's
    entries is not zero on average. Its entries are (1 + log count) log((1 + n) / n_i),
    where n_i of all n documents contain word i, scaled so that the row has length 1.
    Topics are as equal in size as can be, in random order.
    """
    name = f"synthetic:{kind}"
    samples, test, features = values["samples"], values["test"], values["features"]
    if samples < 2 or features < 1 or test < 0:
        raise ConfigError(
            f"{name}: needs at least 2 samples, 1 feature and 0 test samples, got "
            f"{samples}, {features} and {test}"
        )
    if not 0 < values["density"] <= 0.5 or not 0 <= values["separation"] <= 1:
        raise ConfigError(
            f"{name}: density must be in (0, 0.5] and separation in [0, 1], got "
            f"{values['density']} and {values['separation']}"
        )
    words = (samples + test) * features * values["density"]
    _check_memory(name, values, words + samples + test + features)
    from scipy.sparse import csr_array

    draw = generator(values["seed"], DATA)
    total = samples + test
    y = np.concatenate([draw.permutation(np.arange(n) % 2) for n in (samples, test)])
    tilt = values["separation"] * draw.uniform(-1, 1, features)
    chances = np.stack([1 + tilt, 1 - tilt]) / (_FLAT + 1 + np.arange(features))
    ends = np.cumsum(chances, axis=1)
    lengths = draw.poisson(_words(chances / ends[:, -1:], values["density"]), total)
    lengths[lengths == 0] = 1
    document = np.repeat(np.arange(total), lengths)
    place = draw.random(document.size)
    word = np.empty_like(document)
    for topic, end in enumerate(ends):
        own = y[document] == topic
        word[own] = np.searchsorted(end, place[own] * end[-1], side="right")
    word = draw.permutation(features)[np.minimum(word, features - 1)]
    cells, counts = np.unique(document * features + word, return_counts=True)
    document, word = np.divmod(cells, features)
    # Logarithms come from math, in tables: NumPy's differ between processors.
    size = np.array([0.0] + [1 + math.log(n) for n in range(1, counts.max() + 1)])
    rare = np.array([math.log((1 + total) / max(n, 1)) for n in range(total + 1)])
    entries = size[counts] * rare[np.bincount(word, minlength=features)][word]
    entries /= np.sqrt(np.bincount(document, entries**2))[document]
    x = csr_array((entries, (document, word)), shape=(total, features))
    return _assemble(name, values, x, y, dtype)


def _words(chances: Any, density: float) -> int:
    """Return the length of documents in which a share ``density`` of words occurs."""

    def share(words: int) -> float:
        return float(-np.expm1(-words * chances).mean())

    low, high = 0, 1
    while share(high) < density:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share(middle) < density else (low, middle)
    return high


def _thinned(x: Any, density: float, draw: np.random.Generator) -> Features:
    """Return ``x``, or a CSR matrix with a share ``density`` of its entries."""
    if density == 1:
        return x
    from scipy.sparse import csr_array

    return csr_array(x * (draw.random(x.shape) < density))


def _assemble(
    name: str,
    values: dict[str, Any],
    x: Features,
    y: Any,
    dtype: Any,
    kind: str = targets.CLASSES,
) -> Dataset:
    """Return the data set of these rows; those after ``samples`` are the test set."""
    samples = values["samples"]
    return assemble(
        name,
        "made here from " + ",".join(f"{key}={val}" for key, val in values.items()),
        (x[:samples], y[:samples]),
        (x[samples:], y[samples:]) if values.get("test") else None,
        dtype=dtype,
        kind=kind,
    )


def _check_sizes(name: str, values: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if values[key] < 1:
            raise ConfigError(f"{name}: {key} must be at least 1, got {values[key]}")


def _check_memory(name: str, values: dict[str, Any], entries: float) -> None:
    """Refuse sizes that this machine can't hold, at 8 bytes for each entry."""
    sizes = ", ".join(
        f"{key}={values[key]}" for key in ("samples", "features") if key in values
    )
    memory.require(f"{name}: {sizes}", int(8 * entries), "use smaller sizes")


KINDS: dict[str, SyntheticKind] = {
    "softmax": SyntheticKind(GAUSSIAN, gaussian),
    "logistic": SyntheticKind({**GAUSSIAN, "classes": 2}, gaussian),
    "text": SyntheticKind(TEXT, text),
    "linear": SyntheticKind(LINEAR, linear),
}
