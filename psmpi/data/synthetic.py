"""Makes data to classify, the same on every rank and machine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from psmpi.base import ConfigError
from psmpi.data.dataset import Dataset, assemble
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
_FLAT = 50  # words that are about as frequent as the first one: no stop words


def gaussian(kind: str, values: dict[str, Any], dtype: Any) -> Dataset:
    """Return ``samples`` + ``test`` points around ``classes`` gaussian centres.

    A point is centre + N(0, I) noise, both divided by sqrt(features) so that points
    have length about 1; centres lie ``separation`` noise widths from the origin per
    coordinate. Classes are as equal in size as can be, in random order. With
    ``density`` below 1 that share of entries is kept, in CSR.
    """
    name = f"synthetic:{kind}"
    for key in ("samples", "features", "classes"):
        if values[key] < 1:
            raise ConfigError(f"{name}: {key} must be at least 1, got {values[key]}")
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
    draw = generator(values["seed"], DATA)
    centres = values["separation"] * draw.standard_normal((classes, values["features"]))
    y = np.concatenate(
        [draw.permutation(np.arange(n) % classes) for n in (samples, test)]
    )
    x: Any = centres[y] + draw.standard_normal((samples + test, values["features"]))
    x /= np.sqrt(values["features"])
    if values["density"] < 1:
        from scipy.sparse import csr_array

        x = csr_array(x * (draw.random(x.shape) < values["density"]))
    return assemble(
        name,
        "made here from " + ",".join(f"{key}={val}" for key, val in values.items()),
        (x[:samples], y[:samples]),
        (x[samples:], y[samples:]) if test else None,
        dtype=dtype,
    )


def text(values: dict[str, Any], dtype: Any) -> Dataset:
    """Return ``samples`` + ``test`` made-up documents of two topics, in CSR.

    The frequency of the i-th most frequent of ``features`` words is in proportion to
    (i + 50)^-1, times 1 + ``separation`` u_i in the one topic and 1 - ``separation``
    u_i in the other, u_i uniform in -1 .. 1; words have their columns at random. A
    document is a Poisson number of words, so many that ``density`` of a row's entries
    are not zero on average. Its entries are (1 + log count) log((1 + n) / n_i), n_i of
    all n documents having the word, and its row has length 1. Topics are as equal in
    size as can be, in random order.
    """
    name = "synthetic:text"
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
    # Logarithms by math, from tables: NumPy's differ between processors.
    size = np.array([0.0] + [1 + math.log(n) for n in range(1, counts.max() + 1)])
    rare = np.array([math.log((1 + total) / max(n, 1)) for n in range(total + 1)])
    entries = size[counts] * rare[np.bincount(word, minlength=features)][word]
    entries /= np.sqrt(np.bincount(document, entries**2))[document]
    x = csr_array((entries, (document, word)), shape=(total, features))
    return assemble(
        name,
        "made here from " + ",".join(f"{key}={val}" for key, val in values.items()),
        (x[:samples], y[:samples]),
        (x[samples:], y[samples:]) if test else None,
        dtype=dtype,
    )


def _words(chances: Any, density: float) -> int:
    """Return the words of a document in which ``density`` of all words occur."""

    def share(words: int) -> float:
        return float(-np.expm1(-words * chances).mean())

    low, high = 0, 1
    while share(high) < density:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share(middle) < density else (low, middle)
    return high
