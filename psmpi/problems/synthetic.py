"""Makes gaussian classification data, the same on every rank and machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from psmpi.base import ConfigError
from psmpi.problems.dataset import Dataset, assemble
from psmpi.problems.draws import DATA, generator

GAUSSIAN: dict[str, int | float] = {
    "samples": 1000,
    "features": 20,
    "classes": 5,
    "test": 200,
    "separation": 1.0,
    "density": 1.0,
    "seed": 0,
}


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
