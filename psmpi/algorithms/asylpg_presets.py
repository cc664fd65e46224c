"""What AsyLPG is compared with and made into: other codecs, or none, up and down.

AsyLPG's own variants, and asynchronous SVRG with floats both ways, up, or down. All are
``psmpi.algorithms.asylpg.AsyLpg`` with parts fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from psmpi.algorithms.asylpg import AsyLpg
from psmpi.parts.presets import preset


@preset(mu=None, bits_down=None, max_bits=16, recentre=False)
class ExactModels:
    """Put before its base, it leaves a method nothing but floats for its models."""

    exact_models: ClassVar[bool] = True


@preset(codec=None, bits=None)
class ExactGradients:
    """Put before its base, it leaves a method nothing but floats for its gradients."""

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
