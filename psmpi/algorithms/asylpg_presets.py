"""Variants of AsyLPG and the baselines that it is compared with.

They are ``psmpi.algorithms.asylpg.AsyLpg`` with other codecs, or with floats up, down
or both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from psmpi.algorithms.asylpg import AsyLpg
from psmpi.parts.presets import preset


@preset(mu=None, bits_down=None, max_bits=16, recentre=False)
class ExactModels:
    """Mixin that sends models as floats. List it before the base."""

    exact_models: ClassVar[bool] = True


@preset(codec=None, bits=None)
class ExactGradients:
    """Mixin that sends gradient differences as floats. List it before the base."""

    default_codec: ClassVar[str] = "dense"
    default_bits: ClassVar[int | None] = None


@dataclass(frozen=True, kw_only=True)
class SparseAsyLpg(AsyLpg):
    """Sparse-AsyLPG: AsyLPG whose gradient differences are sparsified at random."""

    id: ClassVar[str] = "sparse-asylpg"
    default_codec: ClassVar[str] = "sparsesign"
    default_bits: ClassVar[int | None] = None


@dataclass(frozen=True, kw_only=True)
class AccAsyLpg(AsyLpg):
    """Acc-AsyLPG: AsyLPG with momentum."""

    id: ClassVar[str] = "acc-asylpg"
    accelerated: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class AsySvrg(ExactModels, ExactGradients, AsyLpg):
    """AsySVRG: asynchronous SVRG with floats both ways."""

    id: ClassVar[str] = "asysvrg"


@dataclass(frozen=True, kw_only=True)
class Qsvrg(ExactModels, AsyLpg):
    """QSVRG: quantised gradient differences, models as floats."""

    id: ClassVar[str] = "qsvrg"


@dataclass(frozen=True, kw_only=True)
class LowPrecisionModel(ExactGradients, AsyLpg):
    """Low-precision model: quantised models, gradient differences as floats."""

    id: ClassVar[str] = "low-precision-model"


@dataclass(frozen=True, kw_only=True)
class SparseAsySvrg(ExactModels, AsyLpg):
    """Sparse-AsySVRG: sparsified gradient differences as floats, models as floats."""

    id: ClassVar[str] = "sparse-asysvrg"
    default_codec: ClassVar[str] = "wangni"
    default_bits: ClassVar[int | None] = None
