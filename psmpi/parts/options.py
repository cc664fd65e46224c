"""Options that parameter-server algorithms share, and the states of simple roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from psmpi import codecs, random
from psmpi.base import (
    Algorithm,
    Codec,
    ConfigError,
    Indices,
    Plan,
    Problem,
    ServerStar,
    Vector,
    Wire,
)
from psmpi.parts import schedules
from psmpi.parts.memory import (
    Accumulate,
    Direct,
    Innovation,
    Memory,
    Overwrite,
    Receiver,
)
from psmpi.parts.presets import preset
from psmpi.parts.schedules import Schedule


def planned_codec(
    spec: str,
    options: Mapping[str, Any],
    plan: Plan | None,
    defaults: Mapping[str, Any] | None = None,
) -> Codec:
    """Return the codec of a spec, with floats as wide as those of the run by default.

    Without a plan the result is good for checking the options only.
    """
    if plan is None:
        return codecs.build(spec, options, defaults=defaults)
    return codecs.build(
        spec,
        options,
        defaults=defaults,
        tensors=plan.bounds,
        float_bits=8 * np.dtype(plan.dtype).itemsize,
    )


@dataclass(frozen=True, kw_only=True)
class Descent(Algorithm):
    """Gradient descent on the workers' uploads, which a codec compresses.

    Parameters
    ----------
    lr:
        Step size alpha.
    lr_schedule:
        How the step size changes over rounds, or over local steps where a round has
        several: constant, sqrt, horizon, inverse:A, drop:F@K1,K2, warmup:K or
        warmup0:K, joined by +.
    reduce:
        Step along the sum of the workers' gradients, as in LAQ, or along their mean.
    batch:
        Samples per worker and step. Default: all samples, the full gradient.
    codec:
        Codec of uploads (see psmpi list): NAME, NAME:OPTION=VALUE,... or several joined
        by +, which alternate over the tensors of the model.
    bits:
        Bits per coordinate of that codec; stochastic takes one more for the sign.
        Default: the codec's own number.
    k:
        Entries that a sparsifying codec keeps: a fraction if below 1, else a count.
    blocks:
        Blocks that a blockwise codec scales separately: none (the whole vector is one),
        layers (each tensor of the model), or a number of entries.
    scaled:
        Divide the output of an unbiased codec by 1 + omega, which makes it a
        contraction, as error feedback needs.
    down_codec:
        Codec of the server's messages, given like codec.
    bits_down:
        Bits per coordinate of the server's codec.
    """

    lr: float = 0.02
    lr_schedule: str = "constant"
    reduce: str = "sum"
    batch: int | None = None
    codec: str | None = None
    bits: int | None = None
    k: float | None = None
    blocks: int | str | None = None
    scaled: bool | None = None
    down_codec: str | None = None
    bits_down: int | None = None

    default_codec: ClassVar[str] = "dense"
    default_bits: ClassVar[int | None] = None
    default_blocks: ClassVar[str] = "none"
    default_down_codec: ClassVar[str | None] = "dense"

    def __post_init__(self) -> None:
        schedules.schedule(self.lr, self.lr_schedule)
        self.share(1)
        self._blocks(None)
        self.up_codec(None)
        self.down_wire(None)
        if self.batch is not None and self.batch < 1:
            raise ConfigError(
                f"batch: must be at least 1, got {self.batch}; "
                "leave it out for full gradients"
            )

    def wire(self, plan: Plan) -> Wire:
        return Wire(self.up_codec(plan), self.down_wire(plan))

    def server_state(self, link: ServerStar, problem: Problem, plan: Plan) -> Any:
        x = problem.start(plan.seed)
        down = self.down_memory(link.down, x, plan)
        return ServerState(x=x, sum=np.zeros_like(x), down=down)

    def eta(self, plan: Plan) -> Schedule:
        """Return the step size of each round, or local step.

        A caller's own loop may replace it at any time.
        """
        horizon = plan.rounds * self.steps_a_round()
        own = schedules.schedule(self.lr, self.lr_schedule, horizon)
        chosen = plan.step_size
        if chosen is None:
            return own
        return lambda k: own(k) if chosen.value is None else chosen.value

    def steps_a_round(self) -> int:
        """Return how many gradient steps a worker takes in a round."""
        return 1

    def frames(self, plan: Plan, rounds: int) -> tuple[int, int]:
        steps_taken = plan.workers * rounds * self.steps_a_round()
        return steps_taken, steps_taken

    def share(self, workers: int) -> float:
        """Return the factor of the sum over workers: 1, or 1/M for the mean."""
        if self.reduce not in ("sum", "mean"):
            raise ConfigError(f"reduce: must be sum or mean, got {self.reduce!r}")
        return 1.0 if self.reduce == "sum" else 1 / workers

    def alpha(self, plan: Plan) -> Schedule:
        """Return the step size of each round along the sum over workers."""
        eta, share = self.eta(plan), self.share(plan.workers)
        return lambda k: share * eta(k)

    def draw(
        self, problem: Problem, plan: Plan, worker: int, step: int
    ) -> Indices | None:
        """Return the batch of a worker in a step; None for all samples."""
        if self.batch is None:
            return None
        key = random.key(plan.seed, "batch", worker, step)
        return problem.batch(key, self.batch)

    def down_memory(self, codec: Codec, x: Vector, plan: Plan) -> Memory:
        """Return the server's memory of the models it sends, of which ``x`` is first.

        An exact codec sends whole models, a lossy one the change since the last.
        """
        exact = self.exact_down(plan)
        return Direct(codec) if exact else Innovation(codec, x.copy())

    def down_receiver(self, codec: Codec, plan: Plan) -> Receiver:
        """Return a worker's end of ``down_memory``."""
        return Overwrite(codec) if self.exact_down(plan) else Accumulate(codec)

    def exact_down(self, plan: Plan) -> bool:
        """Return whether the codec of the downlink loses nothing of a model."""
        down = self.down_wire(plan)
        width = 8 * np.dtype(plan.dtype).itemsize
        return isinstance(down, codecs.Dense) and down.bits >= width

    def codec_options(self) -> dict[str, Any]:
        """Return the options that were given for the codec of uploads."""
        given = {"bits": self.bits, "k": self.k, "scaled": self.scaled}
        return {name: value for name, value in given.items() if value is not None}

    def up_codec(self, plan: Plan | None) -> Codec:
        """Return the codec of uploads; without a plan, one to check options with."""
        options = self.codec_options()
        name = self.codec or self.default_codec
        if name == self.default_codec and self.default_bits is not None:
            options.setdefault("bits", self.default_bits)
        codec = self._make(name, options, plan)
        if self.blocks not in (None, "none") and not codecs.has_blocks(codec):
            raise ConfigError(
                f"blocks: {name} treats all entries alike; leave --blocks out, or "
                "take a codec that knows blocks, like sign"
            )
        return codec

    def down_wire(self, plan: Plan | None) -> Codec:
        """Return the codec of the server's messages."""
        return self._named_down(self.down_codec or self.default_down_codec, plan)

    def _named_down(self, name: str | None, plan: Plan | None) -> Codec:
        options = {} if self.bits_down is None else {"bits": self.bits_down}
        return self._make(name or "dense", options, plan)

    def _make(self, spec: str, options: dict[str, Any], plan: Plan | None) -> Codec:
        """Return the codec of a spec; floats are as wide as the run's by default."""
        return planned_codec(spec, options, plan, self._blocks(plan))

    def _blocks(self, plan: Plan | None) -> dict[str, Any]:
        """Return the options of blockwise codecs."""
        blocks = self.default_blocks if self.blocks is None else self.blocks
        if blocks == "none" or (blocks == "layers" and plan is None):
            return {}
        if blocks == "layers":
            assert plan is not None
            return {"bounds": plan.bounds}
        whole = not isinstance(blocks, bool) and str(blocks).isdecimal()
        size = int(blocks) if whole else 0
        if size < 1:
            raise ConfigError(
                f"blocks: must be none, layers or a number of entries, got {blocks!r}"
            )
        return {"block": size}


@preset(codec=None, bits=None, k=None, blocks=None, scaled=None)
class FixedCodec:
    """Mixin that removes the upload-codec options. List it before the base class."""


@preset(down_codec=None, bits_down=None)
class Addressed(FixedCodec, Descent):
    """Floats both ways, and a server that sends to one worker at a time."""

    def wire(self, plan: Plan) -> Wire:
        wire = super().wire(plan)
        return Wire(wire.up, wire.down, tree=False)


@dataclass(kw_only=True)
class ServerState:
    """The server between rounds: model, sum of gradients, its end of the downlink."""

    x: Vector
    sum: Vector
    down: Memory
    round: int = 0


@dataclass(kw_only=True)
class WorkerState:
    """A worker between rounds: its copy of the model, its end of both directions."""

    x: Vector
    gradient: Vector
    up: Memory
    down: Receiver
    round: int = 0
