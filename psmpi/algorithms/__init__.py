"""Algorithms: one published system a file, ``ALGORITHMS`` has them by their ids.

A preset is a subclass that fixes options. May import parts, codecs, kernels, ``base``,
``errors`` and ``random``; an algorithm knows no MPI, no file and no clock but its
link's.
"""

from __future__ import annotations

import dataclasses
import difflib
import numbers
import typing
from typing import Any

from psmpi.algorithms.asylpg import AsyLpg
from psmpi.algorithms.asylpg_presets import (
    AccAsyLpg,
    AsySvrg,
    LowPrecisionModel,
    Qsvrg,
    SparseAsyLpg,
    SparseAsySvrg,
)
from psmpi.algorithms.dist_ef import (
    AdaCompSgd,
    DistEfSgd,
    DistEfSgdm,
    DoubleSqueeze,
    EcqSgd,
)
from psmpi.algorithms.dynamic_averaging import DynamicAveraging
from psmpi.algorithms.gossip import AsyncDsgd, DPsgd, Dsgd
from psmpi.algorithms.lag_ps import LagPs
from psmpi.algorithms.laq import LagWk, Laq, Qgd, RandomSelection, Slaq
from psmpi.algorithms.qsparse import (
    EfSignSgd,
    LocalSgd,
    MemSgd,
    QsparseLocalSgd,
    QTopKSgd,
    SignTopKSgd,
    TopKSgd,
)
from psmpi.algorithms.quantimed import QDsgd, QuanTimedDsgd
from psmpi.algorithms.sgd import CompressedGd, Gd, Qsgd, Sgd, Ssgd, TernGrad
from psmpi.algorithms.signsgd import SignSgd, Signum
from psmpi.base import Algorithm, ConfigError

ALGORITHMS: dict[str, type[Algorithm]] = {
    cls.id: cls
    for cls in (
        Gd,
        Qgd,
        LagWk,
        LagPs,
        Laq,
        Slaq,
        Sgd,
        Qsgd,
        Ssgd,
        CompressedGd,
        RandomSelection,
        DynamicAveraging,
        LocalSgd,
        TopKSgd,
        MemSgd,
        EfSignSgd,
        QTopKSgd,
        SignTopKSgd,
        QsparseLocalSgd,
        DistEfSgd,
        DistEfSgdm,
        DoubleSqueeze,
        SignSgd,
        Signum,
        EcqSgd,
        TernGrad,
        AdaCompSgd,
        AsyLpg,
        SparseAsyLpg,
        AccAsyLpg,
        AsySvrg,
        Qsvrg,
        LowPrecisionModel,
        SparseAsySvrg,
        Dsgd,
        DPsgd,
        QDsgd,
        AsyncDsgd,
        QuanTimedDsgd,
    )
}


def find(id: str) -> type[Algorithm]:
    """Return the algorithm of this id; ``ConfigError`` suggests the nearest."""
    if id in ALGORITHMS:
        return ALGORITHMS[id]
    near = difflib.get_close_matches(id, ALGORITHMS, n=1)
    hint = f"did you mean {near[0]}?" if near else "see psmpi list"
    raise ConfigError(f"algorithm: there is no {id!r}; {hint}")


def options(cls: type[Algorithm]) -> list[dataclasses.Field[Any]]:
    """Return the fields of an algorithm that a user may set: a preset fixes others."""
    return [field for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]


def make(id: str, **given: Any) -> Algorithm:
    """Return the algorithm of this id with options by their field names."""
    cls = find(id)
    names = [field.name for field in options(cls)]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
            raise ConfigError(f"{id}: has no option {name!r}; {hint}")
    hints = typing.get_type_hints(cls)
    for name, value in given.items():
        if not _fits(value, hints[name]):
            raise ConfigError(
                f"{id}: {name.replace('_', '-')} must be {_spoken(hints[name])}, "
                f"got {value!r}"
            )
    return cls(**given)


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of one of the types that an option has."""
    kinds = typing.get_args(hint) or (hint,)
    if isinstance(value, bool) or value is None:
        return type(value) in kinds
    abstract = {int: numbers.Integral, float: numbers.Real}
    return isinstance(value, tuple(abstract.get(kind, kind) for kind in kinds))


def _spoken(hint: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "a bool",
    }
    kinds = typing.get_args(hint) or (hint,)
    return " or ".join(names[kind] for kind in kinds if kind in names)
