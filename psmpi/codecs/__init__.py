"""Codecs: a vector into one frame of packed bytes, and back."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from psmpi.base import Codec, ConfigError
from psmpi.codecs.bernoulli import Bernoulli
from psmpi.codecs.dense import Dense
from psmpi.codecs.plane import Majority, Plane
from psmpi.codecs.sign import Sign
from psmpi.codecs.stochastic import Stochastic
from psmpi.codecs.ternary import Ternary
from psmpi.codecs.topk import TopK
from psmpi.codecs.uniform import Uniform
from psmpi.codecs.wangni import Wangni

CODECS: dict[str, type[Codec]] = {
    "bernoulli": Bernoulli,
    "dense": Dense,
    "plane": Plane,
    "sign": Sign,
    "stochastic": Stochastic,
    "ternary": Ternary,
    "topk": TopK,
    "uniform": Uniform,
    "wangni": Wangni,
}

__all__ = [
    "CODECS",
    "Bernoulli",
    "Codec",
    "Dense",
    "Majority",
    "Plane",
    "Sign",
    "Stochastic",
    "Ternary",
    "TopK",
    "Uniform",
    "Wangni",
    "make",
]


def make(id: str, **options: Any) -> Codec:
    """Return the codec of this name with these options.

    >>> make("uniform", bits=3)
    Uniform(bits=3)
    """
    if id not in CODECS:
        near = difflib.get_close_matches(str(id), CODECS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(CODECS)}"
        raise ConfigError(f"codec: there is none called {id!r}; {hint}")
    cls = CODECS[id]
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise ConfigError(
                f"{id}: there is no option {name!r}; its options are {', '.join(known)}"
            )
    return cls(**options)
