"""Options of AsyLPG, and what they mean for the wire; the roles are in ``asylpg``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from psmpi.base import (
    Algorithm,
    Codec,
    ConfigError,
    Plan,
    Wire,
)
from psmpi.codecs import Choice, Dense, Stochastic, describe
from psmpi.parts import schedules
from psmpi.parts.options import planned_codec

EXACT, CODED = 0, 1  # parts of what workers send: gradients of snapshots, differences
LEAST, MOST = 2, 17  # bits that the model's grid can have
DEFAULT_MU, DEFAULT_BITS = 0.5, 4


@dataclass(frozen=True, kw_only=True)
class AsyLpgOptions(Algorithm):
    """What a run of AsyLPG, or of a preset of it, can be told.

    Parameters
    ----------
    lr:
        Step size eta.
    lr_schedule:
        How the step size changes over rounds: constant, sqrt, horizon[:T], inverse:A,
        drop:F@K1,K2, warmup:K or warmup0:K, joined by +.
    batch:
        Samples in the minibatch of a gradient difference.
    epoch:
        m, the number of rounds from one snapshot to the next. Default: as many as
        process all samples once.
    staleness:
        tau, the number of rounds that a gradient may be old. Workers that would make
        others exceed it wait. Default: twice the number of workers.
    codec:
        Codec of gradient differences; it must be unbiased (see psmpi list).
    bits:
        b, the bits per coordinate of that codec. The default codec, stochastic on
        AsyLPG's symmetric grid, counts the sign among them; in QSGD the sign comes on
        top of b.
    mu:
        Precision of the models, as in rules (2) and (4) of the paper. Default: 0.5.
    bits_down:
        b_x, one width for all models, in place of the rule.
    max_bits:
        The rule sends a model as floats if it would need more bits than this.
    recentre:
        Quantise x - xs instead of x, for which the rule needs almost the same number
        of bits in all rounds. This is not in the paper.
    """

    proximal: ClassVar[bool] = True
    differences: ClassVar[bool] = True
    lr: float = 0.1
    lr_schedule: str = "constant"
    batch: int = 32
    epoch: int | None = None
    staleness: int | None = None
    codec: str | None = None
    bits: int | None = None
    mu: float | None = None
    bits_down: int | None = None
    max_bits: int = 16
    recentre: bool = False

    default_codec: ClassVar[str] = "stochastic"
    default_bits: ClassVar[int | None] = 4
    exact_models: ClassVar[bool] = False
    accelerated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        schedules.schedule(self.lr, self.lr_schedule)
        for name, what in (("batch", "samples"), ("epoch", "m"), ("staleness", "tau")):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}: {what} must be at least 1, got {value}")
        if self.mu is not None and not 0 < self.mu < math.inf:
            raise ConfigError(f"mu: must be a positive number, got {self.mu}")
        if self.mu is not None and self.bits_down is not None:
            raise ConfigError(
                f"mu: {self.mu} lets a rule choose the bits of models, and --bits-down "
                f"{self.bits_down} fixes them; give one of both"
            )
        for name in ("bits_down", "max_bits"):
            value = getattr(self, name)
            if value is not None and not LEAST <= value <= MOST:
                raise ConfigError(
                    f"{name.replace('_', '-')}: a model's grid has {LEAST} to {MOST} "
                    f"bits, got {value}"
                )
        if self.symmetric and not LEAST <= self._grid_bits <= MOST:
            raise ConfigError(
                f"bits: a gradient's grid has {LEAST} to {MOST} bits, signs included, "
                f"got {self.bits}"
            )
        if not self.difference_codec(None).unbiased:
            raise ConfigError(
                f"codec: {self.id} needs an unbiased codec, got {self.codec}; take "
                "stochastic, ternary, sparsesign, bernoulli or wangni"
            )

    @property
    def symmetric(self) -> bool:
        """Whether differences take AsyLPG's own grid, the default of stochastic."""
        return (self.codec or self.default_codec) == "stochastic"

    @property
    def _grid_bits(self) -> int:
        """Bits of that grid, signs included."""
        return DEFAULT_BITS if self.bits is None else self.bits

    def difference_codec(self, plan: Plan | None) -> Codec:
        """Return Q, the codec of differences; without a plan, one to check options."""
        if self.symmetric:
            return Stochastic.symmetric(self._grid_bits)
        options = {} if self.bits is None else {"bits": self.bits}
        return planned_codec(self.codec or self.default_codec, options, plan)

    def wire(self, plan: Plan) -> Wire:
        exact = Dense(8 * np.dtype(plan.dtype).itemsize)
        grids = [Stochastic.symmetric(bits) for bits in range(LEAST, MOST + 1)]
        return Wire(
            Choice((exact, self.difference_codec(plan))),
            Choice((exact, *grids)),
            tree=False,
            called=True,
        )

    def frames(self, plan: Plan, rounds: int) -> tuple[int, int]:
        return rounds, rounds  # one worker's; those of snapshots come on top

    def effective(self, plan: Plan) -> Mapping[str, Any]:
        codec = describe(self.difference_codec(plan))
        staleness = 2 * plan.workers if self.staleness is None else self.staleness
        settings: dict[str, Any] = {"codec": codec, "staleness": staleness}
        if self.exact_models:
            return settings | {"down_codec": "dense"}
        if self.bits_down is not None:
            return settings | {"down_codec": f"stochastic, {self.bits_down} bits"}
        mu = self.mu or DEFAULT_MU
        return settings | {"down_codec": "stochastic, bits by mu", "mu": mu}
