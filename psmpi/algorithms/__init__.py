"""Algorithms: one published system a file, ``ALGORITHMS`` has them by their ids.

A preset is a subclass that fixes options. May import parts, codecs, kernels, ``base``,
``errors`` and ``random``; an algorithm knows no MPI, no file and no clock but its
link's.
"""

from __future__ import annotations

import dataclasses
import numbers
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from psmpi.algorithms.registry import LazyClasses, load_plugin, load_plugins
from psmpi.base import Algorithm, ConfigError, plugins
from psmpi.errors import did_you_mean

if TYPE_CHECKING:
    from psmpi.algorithms.asylpg import AsyLpg as AsyLpg
    from psmpi.algorithms.asylpg_presets import AccAsyLpg as AccAsyLpg
    from psmpi.algorithms.asylpg_presets import AsySvrg as AsySvrg
    from psmpi.algorithms.asylpg_presets import LowPrecisionModel as LowPrecisionModel
    from psmpi.algorithms.asylpg_presets import Qsvrg as Qsvrg
    from psmpi.algorithms.asylpg_presets import SparseAsyLpg as SparseAsyLpg
    from psmpi.algorithms.asylpg_presets import SparseAsySvrg as SparseAsySvrg
    from psmpi.algorithms.dist_ef import AdaCompSgd as AdaCompSgd
    from psmpi.algorithms.dist_ef import DistEfSgd as DistEfSgd
    from psmpi.algorithms.dist_ef import DistEfSgdm as DistEfSgdm
    from psmpi.algorithms.dist_ef import DoubleSqueeze as DoubleSqueeze
    from psmpi.algorithms.dist_ef import EcqSgd as EcqSgd
    from psmpi.algorithms.dynamic_averaging import DynamicAveraging as DynamicAveraging
    from psmpi.algorithms.gossip import AsyncDsgd as AsyncDsgd
    from psmpi.algorithms.gossip import DPsgd as DPsgd
    from psmpi.algorithms.gossip import Dsgd as Dsgd
    from psmpi.algorithms.lag_ps import LagPs as LagPs
    from psmpi.algorithms.laq import LagWk as LagWk
    from psmpi.algorithms.laq import Laq as Laq
    from psmpi.algorithms.laq import Qgd as Qgd
    from psmpi.algorithms.laq import RandomSelection as RandomSelection
    from psmpi.algorithms.laq import Slaq as Slaq
    from psmpi.algorithms.local_updates import DiLoCo as DiLoCo
    from psmpi.algorithms.local_updates import LocalUpdates as LocalUpdates
    from psmpi.algorithms.local_updates import SparseLoCo as SparseLoCo
    from psmpi.algorithms.qsparse import EfSignSgd as EfSignSgd
    from psmpi.algorithms.qsparse import LocalSgd as LocalSgd
    from psmpi.algorithms.qsparse import MemSgd as MemSgd
    from psmpi.algorithms.qsparse import QsparseLocalSgd as QsparseLocalSgd
    from psmpi.algorithms.qsparse import QTopKSgd as QTopKSgd
    from psmpi.algorithms.qsparse import SignTopKSgd as SignTopKSgd
    from psmpi.algorithms.qsparse import TopKSgd as TopKSgd
    from psmpi.algorithms.quantimed import QDsgd as QDsgd
    from psmpi.algorithms.quantimed import QuanTimedDsgd as QuanTimedDsgd
    from psmpi.algorithms.sgd import CompressedGd as CompressedGd
    from psmpi.algorithms.sgd import Gd as Gd
    from psmpi.algorithms.sgd import Qsgd as Qsgd
    from psmpi.algorithms.sgd import Sgd as Sgd
    from psmpi.algorithms.sgd import Ssgd as Ssgd
    from psmpi.algorithms.sgd import TernGrad as TernGrad
    from psmpi.algorithms.signsgd import SignSgd as SignSgd
    from psmpi.algorithms.signsgd import Signum as Signum

#: Entry points with which other packages add algorithms.
GROUP = "psmpi.algorithms"

#: Classes by id, in the order of ``psmpi list``; a module is imported at first use.
ALGORITHMS: Mapping[str, type[Algorithm]] = LazyClasses(
    {
        "gd": "sgd:Gd",
        "qgd": "laq:Qgd",
        "lag-wk": "laq:LagWk",
        "lag-ps": "lag_ps:LagPs",
        "laq": "laq:Laq",
        "slaq": "laq:Slaq",
        "sgd": "sgd:Sgd",
        "qsgd": "sgd:Qsgd",
        "ssgd": "sgd:Ssgd",
        "compressed-gd": "sgd:CompressedGd",
        "random-selection": "laq:RandomSelection",
        "dynamic-averaging": "dynamic_averaging:DynamicAveraging",
        "local-sgd": "qsparse:LocalSgd",
        "topk-sgd": "qsparse:TopKSgd",
        "mem-sgd": "qsparse:MemSgd",
        "ef-signsgd": "qsparse:EfSignSgd",
        "qtopk": "qsparse:QTopKSgd",
        "signtopk": "qsparse:SignTopKSgd",
        "qsparse-local-sgd": "qsparse:QsparseLocalSgd",
        "local-updates": "local_updates:LocalUpdates",
        "diloco": "local_updates:DiLoCo",
        "sparseloco": "local_updates:SparseLoCo",
        "dist-ef-sgd": "dist_ef:DistEfSgd",
        "dist-ef-sgdm": "dist_ef:DistEfSgdm",
        "doublesqueeze": "dist_ef:DoubleSqueeze",
        "signsgd": "signsgd:SignSgd",
        "signum": "signsgd:Signum",
        "ecq-sgd": "dist_ef:EcqSgd",
        "terngrad": "sgd:TernGrad",
        "adacomp": "dist_ef:AdaCompSgd",
        "asylpg": "asylpg:AsyLpg",
        "sparse-asylpg": "asylpg_presets:SparseAsyLpg",
        "acc-asylpg": "asylpg_presets:AccAsyLpg",
        "asysvrg": "asylpg_presets:AsySvrg",
        "qsvrg": "asylpg_presets:Qsvrg",
        "low-precision-model": "asylpg_presets:LowPrecisionModel",
        "sparse-asysvrg": "asylpg_presets:SparseAsySvrg",
        "dsgd": "gossip:Dsgd",
        "d-psgd": "gossip:DPsgd",
        "q-dsgd": "quantimed:QDsgd",
        "async-dsgd": "gossip:AsyncDsgd",
        "quantimed-dsgd": "quantimed:QuanTimedDsgd",
    }
)


def __getattr__(name: str) -> type[Algorithm]:
    """Return one of the classes, which are public names of this module."""
    assert isinstance(ALGORITHMS, LazyClasses)
    cls = ALGORITHMS.by_class_name(name)
    if cls is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return cls


def registered() -> Mapping[str, type[Algorithm]]:
    """Return all algorithms by id: psmpi's own, then those of other packages.

    Loads all plugins, and raises ``ConfigError`` for one that can't be used.
    """
    return {**ALGORITHMS, **load_plugins(GROUP, ALGORITHMS)}


def find(id: str) -> type[Algorithm]:
    """Return the algorithm of this id, of psmpi or of another installed package.

    Raises ``ConfigError`` that suggests the nearest id, or says what is wrong with the
    plugin. Plugins are loaded only for an id that is not one of psmpi's.
    """
    if id in ALGORITHMS:
        return ALGORITHMS[id]
    cls = load_plugin(GROUP, id)
    if cls is None:
        hint = did_you_mean(id, [*ALGORITHMS, *plugins.names(GROUP)], "see psmpi list")
        raise ConfigError(f"algorithm: there is no {id!r}; {hint}")
    return cls


def options(cls: type[Algorithm]) -> list[dataclasses.Field[Any]]:
    """Return the fields of an algorithm that a user may set: a preset fixes others."""
    return [field for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]


def make(id: str, **given: Any) -> Algorithm:
    """Return the algorithm of this id with options by their field names."""
    cls = find(id)
    names = [field.name for field in options(cls)]
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names, f"it has {', '.join(names)}")
            raise ConfigError(f"{id}: has no option {name!r}; {hint}")
    hints = typing.get_type_hints(cls)
    for name, value in given.items():
        if not _fits(value, hints[name]):
            raise ConfigError(
                f"{id}: {name.replace('_', '-')} must be {_in_words(hints[name])}, "
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


def _in_words(hint: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "a bool",
    }
    kinds = typing.get_args(hint) or (hint,)
    return " or ".join(names[kind] for kind in kinds if kind in names)
