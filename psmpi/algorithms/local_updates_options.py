"""Options of local updates: the inner optimizer, the memories, the server's step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from psmpi.base import ConfigError, Plan, Vector, Wire
from psmpi.parts.downlink import Replicated, require_contraction
from psmpi.parts.inner import INNER, AdamW, Inner, Sgd

REDUCE = ("mean", "senders")
UNLIKE = ("by-label", "dirichlet")  # partitions that give workers different labels


@dataclass(frozen=True, kw_only=True)
class UpdateOptions(Replicated):
    """Options of the inner optimizer, of the memories and of the server's step.

    Parameters
    ----------
    inner:
        Optimizer of the local steps: adamw or sgd (with Nesterov's momentum). A loop of
        the caller's brings its own, and these options then don't matter: lr, momentum,
        beta1, beta2, epsilon, weight-decay, batch.
    lr:
        Step size of the inner optimizer.
    momentum:
        mu of the inner sgd; 0 means no momentum.
    weight_decay:
        lambda of the inner optimizer's weight decay: in AdamW apart from the gradient,
        in sgd a part of it.
    beta1:
        Decay of AdamW's mean of gradients. Default: 0.9.
    beta2:
        Decay of AdamW's mean of squares. Default: 0.999, sparseloco 0.95.
    epsilon:
        What AdamW adds to the root of the squares. Default: 1e-8.
    local_steps:
        H, optimizer steps that a worker takes alone in a round.
    outer_lr:
        Step size alpha of the server.
    outer_momentum:
        mu of Nesterov's momentum at the server; 0 means no momentum.
    feedback_decay:
        beta: what is kept of the error memory from round to round; 1 keeps all.
    reduce:
        How the server joins the workers' frames: mean, over all workers, or senders,
        each entry over the workers that sent it.
    clip:
        Server side: median scales the frame of a worker down to the median of all
        workers' norms if it is longer; none leaves frames as they are.
    """

    inner: str = "adamw"
    lr: float = 1e-3
    batch: int | None = 8
    beta1: float | None = None
    beta2: float | None = None
    epsilon: float | None = None
    local_steps: int = 15
    outer_lr: float = 1.0
    outer_momentum: float = 0.0
    feedback_decay: float = 1.0
    reduce: str = "mean"
    clip: str = "none"
    default_codec: ClassVar[str] = "signtopk"
    default_adamw: ClassVar[Mapping[str, float]] = {
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local_steps < 1:
            raise ConfigError(
                f"local-steps: must be at least 1, got {self.local_steps}"
            )
        if not 0 < self.outer_lr < np.inf:
            raise ConfigError(f"outer-lr: must be above 0, got {self.outer_lr}")
        if not 0 <= self.outer_momentum < 1:
            raise ConfigError(
                "outer-momentum: must be at least 0 and below 1, got "
                f"{self.outer_momentum}"
            )
        if not 0 <= self.feedback_decay <= 1:
            raise ConfigError(
                f"feedback-decay: must be 0 .. 1, got {self.feedback_decay}"
            )
        if self.clip not in ("none", "median"):
            raise ConfigError(f"clip: must be none or median, got {self.clip!r}")
        self._check_inner()

    def _check_inner(self) -> None:
        if self.inner not in INNER:
            raise ConfigError(
                f"inner: must be {' or '.join(INNER)}, got {self.inner!r}"
            )
        if self.inner == "adamw" and self.momentum:
            raise ConfigError(
                f"momentum: {self.momentum} is an option of --inner sgd, and adamw has "
                "--beta1 in its place"
            )
        given = [name for name in self.default_adamw if getattr(self, name) is not None]
        if self.inner == "sgd" and given:
            raise ConfigError(
                f"{given[0]}: is an option of --inner adamw; leave it out, or take that"
            )
        adamw = self.adamw()
        for name in ("beta1", "beta2"):
            if not 0 <= adamw[name] < 1:
                raise ConfigError(
                    f"{name}: must be at least 0 and below 1, got {adamw[name]}"
                )
        if not 0 < adamw["epsilon"] < np.inf:
            raise ConfigError(f"epsilon: must be above 0, got {adamw['epsilon']}")

    def adamw(self) -> dict[str, float]:
        """Return the options of AdamW, given or by default."""
        given = {name: getattr(self, name) for name in self.default_adamw}
        return {
            name: self.default_adamw[name] if value is None else value
            for name, value in given.items()
        }

    def effective(self, plan: Plan) -> Mapping[str, Any]:
        return self.adamw() if self.inner == "adamw" else {}

    def share(self, workers: int) -> float:
        if self.reduce not in REDUCE:
            raise ConfigError(
                f"reduce: must be {' or '.join(REDUCE)}, got {self.reduce!r}"
            )
        return 1 / workers if self.reduce == "mean" else 1.0

    def steps_a_round(self) -> int:
        return self.local_steps

    def way_down(self) -> str:
        # Outer momentum makes an update dense that would be sparse without.
        if self.downlink is None and not self.outer_momentum:
            return "update"
        return super().way_down()

    def wire(self, plan: Plan) -> Wire:
        wire = super().wire(plan)
        require_contraction(wire.up, plan.dim, self.id)
        return wire

    def cautions(self, plan: Plan) -> Sequence[str]:
        if self.reduce != "senders" or plan.partition not in UNLIKE:
            return ()
        return (
            f"--reduce senders with --partition {plan.partition}: an entry takes the "
            "whole step of the few workers that sent it, and here they hold other "
            "labels than the rest, which may cost accuracy, most of all with "
            "--downlink feedback; compare with --reduce mean",
        )

    def optimizer(self, x: Vector) -> Inner:
        """Return the inner optimizer of one worker."""
        if self.inner == "sgd":
            return Sgd(x, self.momentum, self.weight_decay)
        return AdamW(x, **self.adamw(), weight_decay=self.weight_decay)
