"""States of AsyLPG's roles, and what a message of its server means."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from psmpi.base import (
    Frame,
    Problem,
    Vector,
)


class FromServer(enum.Enum):
    """What a message of the server tells a worker."""

    EPOCH_ENDED = enum.auto()  # there is a new snapshot; answer with its gradient
    AT_SNAPSHOT = enum.auto()  # the model is the snapshot, so no bits are sent
    MODEL = enum.auto()  # a frame of the model follows


#: The messages without a model, as the link carries them.
EPOCH_ENDED: Frame | None = None
AT_SNAPSHOT: Frame = np.empty(0, np.uint8)


def meaning(frame: Frame | None) -> FromServer:
    """Return what a message of the server tells a worker."""
    if frame is None:
        return FromServer.EPOCH_ENDED
    return FromServer.MODEL if frame.size else FromServer.AT_SNAPSHOT


@dataclass(kw_only=True)
class AsyWorkerState:
    """A worker between messages: the snapshot xs, the model it was sent, alpha."""

    x: Vector
    snapshot: Vector
    gradient: Vector
    difference: Vector
    round: int = 0  # messages answered


@dataclass(kw_only=True)
class AsyServerState:
    """The server between steps.

    ``out`` has, for every worker that is computing, the step whose model it was sent;
    the other workers are ``waiting``. ``left`` is the number of steps to the end of
    the epoch.
    """

    x: Vector
    y: Vector  # of the accelerated method; else unused
    snapshot: Vector
    full: Vector  # G
    step: Vector  # u
    change: Vector  # x - xs, where that is sent
    l1: float  # of h
    l2: float
    length: int  # m
    tau: int
    waiting: list[int]
    out: dict[int, int] = field(default_factory=dict)
    left: int = 0
    epoch: int = -1
    widths: Counter[int] = field(default_factory=Counter)  # bits -> models sent so
    round: int = 0


def urgent(out: Mapping[int, int], t: int, tau: int) -> list[int]:
    """Return the workers from which the next gradient must come, so none exceeds tau.

    ``out`` has the step whose model each worker was sent. If the i-th oldest has to be
    served within i steps from now, no younger one may be served before it.

    >>> urgent({0: 4, 1: 2, 2: 5}, 5, 3), urgent({0: 4, 1: 2, 2: 5}, 5, 9)
    ([1], [1, 0, 2])
    """
    oldest = sorted(out, key=lambda worker: out[worker])
    for i, worker in enumerate(oldest):
        if t + i >= out[worker] + tau:
            return oldest[: i + 1]
    return oldest


def whole_gradient(f: Problem, x: Vector, out: Vector, workers: int) -> None:
    """Set ``out`` to this worker's share of grad f(x), which is the mean of shares."""
    part = f.own_part()
    f.grad(x, out, part)
    if part is not None:  # all workers have all samples: each does some of them
        out *= part.size * workers / f.samples
