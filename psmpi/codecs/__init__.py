"""Codecs: a vector into one frame of packed bytes, and back. One codec a file.

``CODECS`` has them by their ids; ``layout`` has the byte layouts that several of them
share, ``validation`` their checks. May import kernels, ``base`` and ``errors``.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from psmpi.base import Codec, ConfigError
from psmpi.codecs.adacomp import AdaComp
from psmpi.codecs.bernoulli import Bernoulli
from psmpi.codecs.choice import Choice
from psmpi.codecs.decimal import Decimal
from psmpi.codecs.dense import Dense
from psmpi.codecs.layout.blocks import Blockwise
from psmpi.codecs.piecewise import Piecewise
from psmpi.codecs.plane import Majority, Plane
from psmpi.codecs.qtopk import QTopK
from psmpi.codecs.scaled import Scaled
from psmpi.codecs.sign import Sign
from psmpi.codecs.signtopk import SignTopK
from psmpi.codecs.sparse import Sparse
from psmpi.codecs.sparsesign import SparseSign
from psmpi.codecs.stochastic import Stochastic
from psmpi.codecs.ternary import Ternary
from psmpi.codecs.topk import TopK
from psmpi.codecs.uniform import Uniform
from psmpi.codecs.wangni import Wangni

CODECS: dict[str, type[Codec]] = {
    "adacomp": AdaComp,
    "bernoulli": Bernoulli,
    "choice": Choice,
    "decimal": Decimal,
    "dense": Dense,
    "piecewise": Piecewise,
    "plane": Plane,
    "qtopk": QTopK,
    "scaled": Scaled,
    "sign": Sign,
    "signtopk": SignTopK,
    "sparse": Sparse,
    "sparsesign": SparseSign,
    "stochastic": Stochastic,
    "ternary": Ternary,
    "topk": TopK,
    "uniform": Uniform,
    "wangni": Wangni,
}

__all__ = [
    "CODECS",
    "AdaComp",
    "Bernoulli",
    "Choice",
    "Codec",
    "Decimal",
    "Dense",
    "Majority",
    "Piecewise",
    "Plane",
    "QTopK",
    "Scaled",
    "Sign",
    "SignTopK",
    "Sparse",
    "SparseSign",
    "Stochastic",
    "Ternary",
    "TopK",
    "Uniform",
    "Wangni",
    "build",
    "make",
]


def make(id: str, **options: Any) -> Codec:
    """Return the codec of this name with these options.

    ``scaled=True`` divides the output of an unbiased codec by 1 + omega.

    >>> make("uniform", bits=3)
    Uniform(bits=3)
    >>> make("stochastic", bits=3, scaled=True)
    Scaled(codec=Stochastic(bits=3, norm='l2'))
    """
    cls = find(id)
    known = option_names(cls)
    scaled = "scaled" not in known and options.pop("scaled", False)
    for name in options:
        if name not in known:
            raise ConfigError(
                f"{id}: there is no option {name!r}; its options are {', '.join(known)}"
            )
    codec = cls(**options)
    return Scaled(codec) if scaled else codec


def find(id: str) -> type[Codec]:
    """Return the codec class of this name; ``ConfigError`` suggests the nearest."""
    if id not in CODECS:
        near = difflib.get_close_matches(str(id), CODECS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(CODECS)}"
        raise ConfigError(f"codec: there is none called {id!r}; {hint}")
    return CODECS[id]


def option_names(cls: type[Codec]) -> list[str]:
    """Return the names of a codec's options."""
    return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]


def has_blocks(codec: Codec) -> bool:
    """Return whether a codec, or one inside of it, treats blocks by themselves."""
    match codec:
        case Piecewise() | Choice():
            return any(map(has_blocks, codec.parts))
        case Scaled():
            return has_blocks(codec.codec)
        case _:
            return isinstance(codec, Blockwise)


def build(
    spec: str,
    options: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    tensors: tuple[int, ...] | None = None,
    float_bits: int | None = None,
) -> Codec:
    """Return the codec of ``NAME``, ``NAME:OPTION=VALUE,...``, or several joined by +.

    What ``spec`` says goes before ``options``, of which each must fit a codec in it,
    and those before ``defaults``, which go where they fit. Several codecs become
    ``Piecewise`` over ``tensors``; without these the first of them is returned.
    ``float_bits`` is the width of floats that nothing else is said of.

    >>> build("sign:block=64", {})
    Sign(block=64, bounds=None)
    >>> build("sign+dense", {}, tensors=(0, 30, 33)).parts
    (Sign(block=None, bounds=None), Dense(bits=32))
    """
    pieces = [piece.strip().partition(":") for piece in str(spec).split("+")]
    unused = set(options)
    parts = []
    for name, _, text in pieces:
        if find(name) in (Choice, Piecewise, Scaled):
            raise ConfigError(
                f"codec: {name} is not written by its name; several codecs joined by + "
                "are piecewise, NAME:scaled divides an unbiased one, and a choice is "
                "for algorithms that choose"
            )
        known = {*option_names(find(name)), "scaled"}
        own = _values(name, text)
        shared = {**(defaults or {}), **options}
        if len(pieces) > 1:
            shared.pop("bounds", None)  # each has one tensor
        fitting = {key: value for key, value in shared.items() if key in known}
        if "block" in own or "bounds" in own:
            fitting.pop("block", None)
            fitting.pop("bounds", None)
        unused -= known
        if float_bits is not None and find(name) in (Dense, Sparse):
            own.setdefault("bits", fitting.pop("bits", float_bits))
        parts.append(make(name, **{**fitting, **own}))
    if unused:
        make(pieces[0][0], **{key: options[key] for key in unused})
    if len(parts) == 1 or tensors is None:
        return parts[0]
    return Piecewise(tuple(parts), tensors)


def _values(name: str, text: str) -> dict[str, Any]:
    """Read OPTION=VALUE,...; an option alone is true."""
    values: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        key, equals, word = pair.partition("=")
        if not equals:
            word = "true"
        elif not word:
            raise ConfigError(f"codec: {name}:{pair} has no value; give {key}=VALUE")
        values[key] = _value(word)
    return values


def _value(word: str) -> Any:
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word
