"""How the server's step reaches the workers' models: as a model, or as an update.

Either way the server and all workers hold models with the same bits afterwards, unless
a *model* is sent through a lossy codec: workers then compute at the model they decoded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from psmpi.base import (
    Codec,
    ConfigError,
    Frame,
    Plan,
    ServerStar,
    Vector,
    Wire,
    WorkerStar,
)
from psmpi.kernels.vector import add_scaled
from psmpi.parts.absence import scale_to_present
from psmpi.parts.memory import (
    Direct,
    ErrorFeedback,
    Memory,
    Overwrite,
    Receiver,
    expected,
)
from psmpi.parts.momentum import check
from psmpi.parts.options import Descent

DOWNLINKS = ("model", "update", "feedback")


class DownlinkSender:
    """The server's end of a downlink; ``memory`` is what it remembers.

    With ``updates`` it sends C(update), and does to its own model what that frame does
    to the workers'. Otherwise it sends the model: whole, or through a lossy codec as
    the change since the last one.
    """

    def __init__(self, memory: Memory, *, updates: bool) -> None:
        self.memory = memory
        self.updates = updates

    def step(
        self,
        link: ServerStar,
        x: Vector,
        update: Vector,
        alpha: float,
        *,
        key: int = 0,
        eta: float = 1.0,
        to: Sequence[int] | None = None,
    ) -> None:
        """Do x <- x - alpha update, and send the workers ``to`` (None: all) the step.

        ``eta`` is the step size that the memory rescales its residual by.
        """
        if not self.updates:
            add_scaled(x, update, -alpha)
        frame = self.memory.encode(update if self.updates else x, key, eta)
        self.memory.commit()
        if to is None:
            link.bcast(frame)
        else:
            for worker in to:
                link.send(worker, frame)
        if self.updates:
            link.down.decode_add(frame, x, -alpha)

    def stay(
        self, link: ServerStar, x: Vector, *, to: Sequence[int] | None = None
    ) -> None:
        """Send the workers ``to`` (None: all) that ``x`` stays: nobody was present.

        Where whole models are sent they get it again, since local steps have moved
        theirs. Nothing is applied, and what this end remembers stays.
        """
        whole = not self.updates and isinstance(self.memory, Direct)
        frame = self.memory.encode(x) if whole else None
        if to is None:
            link.bcast(frame)
        else:
            for worker in to:
                link.send(worker, frame)


class DownlinkReceiver:
    """A worker's end of a downlink: of models if ``models`` is set, else of updates."""

    def __init__(self, models: Receiver | None) -> None:
        self.models = models

    @property
    def updates(self) -> bool:
        """Whether updates come down, and not models."""
        return self.models is None

    @property
    def overwrites(self) -> bool:
        """Whether the whole model comes down, whatever the worker's has become."""
        return isinstance(self.models, Overwrite)

    def receive(self, link: WorkerStar, x: Vector, alpha: float) -> None:
        """Do the server's step to the worker's model ``x``, if it has made one."""
        frame = link.pull()
        if frame is not None:
            self.accept(link, frame, x, alpha)

    def accept(self, link: WorkerStar, frame: Frame, x: Vector, alpha: float) -> None:
        """Do the step in a frame of the server's to the worker's model ``x``."""
        if self.models is None:
            link.down.decode_add(frame, x, -alpha)
        else:
            self.models.accept(frame, x)


def require_contraction(codec: Codec, dim: int, what: str) -> None:
    """Refuse error feedback over a codec that may lose all of a vector, or more.

    The residual would grow from round to round instead of being sent later.
    """
    loss = codec.error(dim)
    if loss >= 1:
        remedy = (
            "divide its output by 1 + omega (NAME:scaled, or --scaled for uploads), or "
            "give it more bits or entries"
            if codec.unbiased and loss < math.inf
            else "take another codec, or give it more bits or entries"
        )
        raise ConfigError(
            f"{what}: error feedback needs a codec with E||C(x) - x||^2 < ||x||^2, but "
            f"{codec} may lose {loss:.3g} ||x||^2 at dimension {dim}; {remedy}"
        )


@dataclass(frozen=True, kw_only=True)
class Replicated(Descent):
    """A model that is replicated on every rank, and steps that every rank does.

    Parameters
    ----------
    downlink:
        What the server sends: model (as floats, or through --down-codec as the change
        since the last model), update (the sum of the workers' frames, exact unless
        --down-codec is lossy) or feedback (that sum with error feedback at the server,
        by default through the workers' codec).
    momentum:
        mu of the momentum at the workers; 0 means no momentum.
    weight_decay:
        lambda of weight decay: every step also subtracts lambda x from the model.
    """

    downlink: str | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0

    default_downlink: ClassVar[str] = "model"
    default_down_codec: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.momentum, self.weight_decay)

    def way_down(self) -> str:
        """Return which of ``DOWNLINKS`` this is."""
        way = self.downlink or self.default_downlink
        if way not in DOWNLINKS:
            raise ConfigError(
                f"downlink: must be one of {', '.join(DOWNLINKS)}, got {way!r}"
            )
        return way

    def wire(self, plan: Plan) -> Wire:
        up, down = self.up_codec(plan), self.down_wire(plan)
        way = self.way_down()
        if way == "feedback":
            require_contraction(down, plan.dim, f"{self.id} --downlink feedback")
        return Wire(up, down, replicated=way != "model" or self.exact_down(plan))

    def down_wire(self, plan: Plan | None) -> Codec:
        """Return the codec of what the server sends."""
        way = self.way_down()
        if self.down_codec is None and way == "feedback":
            if self.bits_down is None:
                return self.up_codec(plan)
            options = self.codec_options() | {"bits": self.bits_down}
            return self._make(self.codec or self.default_codec, options, plan)
        if self.down_codec is None and way == "update":
            few = self.up_codec(plan).is_sparse
            return self._named_down("sparse" if few else "dense", plan)
        return super().down_wire(plan)

    def down_sender(self, codec: Codec, x: Vector, plan: Plan) -> DownlinkSender:
        """Return the server's end of the downlink; models start at ``x``."""
        match self.way_down():
            case "model":
                memory = self.down_memory(codec, x, plan)
                return DownlinkSender(memory, updates=False)
            case "update":
                return DownlinkSender(Direct(codec), updates=True)
            case _:
                return DownlinkSender(self.feedback(codec, x), updates=True)

    def down_end(self, codec: Codec, plan: Plan) -> DownlinkReceiver:
        """Return a worker's end of the downlink."""
        models = self.way_down() == "model"
        return DownlinkReceiver(self.down_receiver(codec, plan) if models else None)

    def feedback(self, codec: Codec, x: Vector) -> Memory:
        """Return the error feedback of one sender of vectors like ``x``."""
        return ErrorFeedback(codec, x.size, x.dtype, rescale=self.rescales())

    def rescales(self) -> bool:
        """Whether errors keep their weight in the model when the step size changes."""
        return True


def add_up(
    link: ServerStar,
    out: Vector,
    *,
    mean: bool,
    workers: Sequence[int] | None = None,
) -> bool:
    """Set ``out`` to the sum of the frames of ``workers`` (None: all), in this order.

    With ``mean`` the caller divides by their number, and the sum is scaled so that this
    is the mean over those who are present. Returns whether anybody is.
    """
    out[:] = 0
    for frame in link.gather(workers):
        link.up.decode_add(expected(frame), out)
    if mean:
        scale_to_present(link, out, link.workers if workers is None else len(workers))
    return bool(link.present)
