"""Codecs: a vector to one frame of packed bytes, and back. One codec a file.

``CODECS`` has psmpi's own by their ids, ``find`` and ``registered`` those of other
packages as well (see ``plugins``). ``build`` reads a codec written in words and
``describe`` writes it (see ``notation``). ``layout`` has the byte layouts that several
codecs share, ``validation`` their checks. May import kernels, ``base`` and ``errors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psmpi.base import Codec as Codec
from psmpi.base import ConfigError
from psmpi.codecs import plugins, validation
from psmpi.codecs.adacomp import AdaComp as AdaComp
from psmpi.codecs.bernoulli import Bernoulli as Bernoulli
from psmpi.codecs.choice import Choice as Choice
from psmpi.codecs.chunktopk import ChunkTopK as ChunkTopK
from psmpi.codecs.decimal import Decimal as Decimal
from psmpi.codecs.dense import Dense as Dense
from psmpi.codecs.layout.blocks import Blockwise
from psmpi.codecs.notation import describe as describe
from psmpi.codecs.notation import option_names as option_names
from psmpi.codecs.notation import parse
from psmpi.codecs.piecewise import Piecewise as Piecewise
from psmpi.codecs.plane import Majority as Majority
from psmpi.codecs.plane import Plane as Plane
from psmpi.codecs.qtopk import QTopK as QTopK
from psmpi.codecs.scaled import Scaled as Scaled
from psmpi.codecs.sign import Sign as Sign
from psmpi.codecs.signtopk import SignTopK as SignTopK
from psmpi.codecs.sparse import Sparse as Sparse
from psmpi.codecs.sparsesign import SparseSign as SparseSign
from psmpi.codecs.stochastic import Stochastic as Stochastic
from psmpi.codecs.ternary import Ternary as Ternary
from psmpi.codecs.topk import TopK as TopK
from psmpi.codecs.uniform import Uniform as Uniform
from psmpi.codecs.wangni import Wangni as Wangni
from psmpi.errors import did_you_mean

#: psmpi's own codecs. A new codec is imported above and named here; that is all.
CODECS: dict[str, type[Codec]] = {
    "adacomp": AdaComp,
    "bernoulli": Bernoulli,
    "choice": Choice,
    "chunktopk": ChunkTopK,
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

#: Codecs that are made of others. No option takes their names.
COMPOSED = (Choice, Piecewise, Scaled)


def registered() -> Mapping[str, type[Codec]]:
    """Return all codecs by id: psmpi's own, then those of other installed packages.

    Loads all plugins, and raises ``ConfigError`` for one that can't be used.
    """
    return {**CODECS, **plugins.load_all(CODECS)}


def find(id: str) -> type[Codec]:
    """Return the codec class of this id, of psmpi or of another installed package.

    Raises ``ConfigError`` that suggests the nearest id, or says what is wrong with the
    plugin. Plugins are loaded only for an id that is not one of psmpi's.
    """
    cls = CODECS.get(id) or plugins.load(id, CODECS)
    if cls is None:
        ids = [*CODECS, *plugins.names()]
        hint = did_you_mean(id, ids, f"there are {', '.join(ids)}")
        raise ConfigError(f"codec: there is none called {id!r}; {hint}")
    return cls


def make(id: str, **options: Any) -> Codec:
    """Return the codec of this id with these options.

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
            some = f"its options are {', '.join(known)}" if known else "it has none"
            nearest = did_you_mean(name, known)
            hint = f"{some}; {nearest}" if nearest else some
            raise ConfigError(f"{id}: there is no option {name!r}; {hint}")
    codec = cls(**options)
    return Scaled(codec) if validation.flag(id, "scaled", scaled) else codec


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

    Several codecs become ``Piecewise`` over ``tensors``, the bounds of the model's
    tensors; without ``tensors`` the first codec is returned.

    An option in ``spec`` has precedence over the same one in ``options``, and that over
    ``defaults``. Each of ``options`` must be one of some codec in ``spec``, while
    ``defaults`` go to the codecs that have such an option. ``float_bits`` is the width
    of the floats of Dense and Sparse where nothing else gives it.

    >>> build("sign:block=64", {})
    Sign(block=64, bounds=None)
    >>> build("sign+dense", {}, tensors=(0, 30, 33)).parts
    (Sign(block=None, bounds=None), Dense(bits=32))
    """
    pieces = parse(str(spec))
    unused = set(options)
    shared = {**(defaults or {}), **options}
    if len(pieces) > 1:
        shared.pop("bounds", None)  # each has one tensor
    parts = []
    for name, own in pieces:
        cls = find(name)
        if cls in COMPOSED:
            raise ConfigError(
                f"codec: {name} is not written by its name; several codecs joined by + "
                "are piecewise, NAME:scaled divides an unbiased one, and a choice is "
                "for algorithms that choose"
            )
        known = {*option_names(cls), "scaled"}
        fitting = {key: value for key, value in shared.items() if key in known}
        if "block" in own or "bounds" in own:
            fitting.pop("block", None)
            fitting.pop("bounds", None)
        unused -= known
        if float_bits is not None and cls in (Dense, Sparse):
            own.setdefault("bits", fitting.pop("bits", float_bits))
        parts.append(make(name, **{**fitting, **own}))
    if unused:
        make(pieces[0][0], **{key: options[key] for key in unused})
    if len(parts) == 1 or tensors is None:
        return parts[0]
    return Piecewise(tuple(parts), tensors)
