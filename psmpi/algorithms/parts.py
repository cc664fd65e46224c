"""What parameter-server algorithms have in common: options, and the server's state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from psmpi import codecs, steps
from psmpi.base import (
    Algorithm,
    Codec,
    ConfigError,
    Indices,
    Plan,
    Problem,
    ServerLink,
    Vector,
    Wire,
)
from psmpi.memory import Direct, Innovation, Memory
from psmpi.steps import Schedule


@dataclass(frozen=True, kw_only=True)
class Descent(Algorithm):
    """Gradient descent on what workers upload, in one of many codings.

    Parameters
    ----------
    lr:
        Step size alpha.
    lr_schedule:
        How it changes over rounds: constant, sqrt, inverse:A, drop:F@K1,K2 or warmup:K,
        joined by +.
    reduce:
        Step along the sum over workers, as in LAQ, or along their mean.
    batch:
        Samples per worker and round; absent: the full gradient.
    codec:
        Codec of uploads (see psmpi list).
    bits:
        Bits per coordinate of the codec; by default the codec's own number.
    k:
        Entries that a sparsifying codec keeps: a fraction below 1, else a count.
    down_codec:
        Codec of what the server sends. Anything but dense is sent as an innovation on
        the model that workers have, which they then compute at.
    bits_down:
        Bits per coordinate of that codec.
    """

    lr: float = 0.02
    lr_schedule: str = "constant"
    reduce: str = "sum"
    batch: int | None = None
    codec: str | None = None
    bits: int | None = None
    k: float | None = None
    down_codec: str = "dense"
    bits_down: int | None = None

    default_codec: ClassVar[str] = "dense"
    default_bits: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        self.schedule(1)
        self._up(np.float32)
        self._down(np.float32)
        if self.batch is not None and self.batch < 1:
            raise ConfigError(
                f"batch: must be at least 1, got {self.batch}; "
                "leave it out for full gradients"
            )

    def wire(self, plan: Plan) -> Wire:
        return Wire(self._up(plan.dtype), self._down(plan.dtype))

    def server_state(self, link: ServerLink, problem: Problem, plan: Plan) -> Any:
        x = problem.start(plan.seed)
        down = self.down_memory(link.down, x)
        return ServerState(x=x, sum=np.zeros_like(x), down=down)

    def schedule(self, workers: int) -> Schedule:
        """Return alpha of each round, as a step along the sum over workers."""
        if self.reduce not in ("sum", "mean"):
            raise ConfigError(f"reduce: must be sum or mean, got {self.reduce!r}")
        share = self.lr if self.reduce == "sum" else self.lr / workers
        return steps.schedule(share, self.lr_schedule)

    def draw(
        self, problem: Problem, plan: Plan, worker: int, round_: int
    ) -> Indices | None:
        """Return the batch of a worker in a round; None for all samples."""
        if self.batch is None:
            return None
        key = steps.key(plan.seed, "batch", worker, round_)
        return problem.batch(key, self.batch)

    def down_memory(self, codec: Codec, x: Vector) -> Memory:
        """Return the convention of the downlink; ``x`` is where both ends start."""
        if self.down_codec == "dense":
            return Direct(codec)
        return Innovation(codec, x.copy())

    def _up(self, dtype: Any) -> Codec:
        given = {"bits": self.bits, "k": self.k}
        options = {name: v for name, v in given.items() if v is not None}
        name = self.codec or self.default_codec
        if name == "dense":
            options.setdefault("bits", 8 * np.dtype(dtype).itemsize)
        elif name == self.default_codec and self.default_bits is not None:
            options.setdefault("bits", self.default_bits)
        return codecs.make(name, **options)

    def _down(self, dtype: Any) -> Codec:
        options = {} if self.bits_down is None else {"bits": self.bits_down}
        if self.down_codec == "dense":
            options.setdefault("bits", 8 * np.dtype(dtype).itemsize)
        return codecs.make(self.down_codec, **options)


@dataclass(frozen=True, kw_only=True)
class Addressed(Descent):
    """Floats both ways, and a server that speaks to one worker at a time."""

    codec: str | None = field(default=None, init=False)
    bits: int | None = field(default=None, init=False)
    k: float | None = field(default=None, init=False)
    down_codec: str = field(default="dense", init=False)
    bits_down: int | None = field(default=None, init=False)

    def wire(self, plan: Plan) -> Wire:
        wire = super().wire(plan)
        return Wire(wire.up, wire.down, tree=False)


@dataclass(kw_only=True)
class ServerState:
    """The server between rounds: model, sum of gradients, its side of the downlink."""

    x: Vector
    sum: Vector
    down: Memory
    round: int = 0


@dataclass(kw_only=True)
class WorkerState:
    """A worker between rounds: its copy of the model, its side of both directions."""

    x: Vector
    gradient: Vector
    up: Memory
    down: Memory
    round: int = 0
