"""What all roles know of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from psmpi.base.arrays import Vector
from psmpi.base.codec import Codec


@dataclass
class StepSize:
    """The step size that a caller's own loop has set; None: the algorithm's own."""

    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What both roles know of a run besides the algorithm's own hyper-parameters."""

    workers: int
    rounds: int
    dim: int
    bounds: tuple[int, ...]
    dtype: type[np.floating[Any]] = np.float32
    seed: int = 0
    partition: str = ""  # how psmpi split the samples over workers; "": not by psmpi
    check_every: int = 0  # rounds from one comparison of models to the next; 0: none
    heal: bool = False  # whether a model that differs is replaced by the server's
    evaluate_every: int = 1  # rounds from one evaluation to the next
    mean_speed: float | None = None  # samples per second, where speeds are set: mean
    top_speed: float | None = None  # over workers, and the most that one can have
    # What becomes of a gradient that is not finite: see ``RunOptions.on_nan``.
    on_nan: Literal["stop", "skip", "zero"] = "stop"
    # Of a caller's own loop, which may change it from round to round; else None.
    step_size: StepSize | None = None


@dataclass(frozen=True)
class Wire:
    """What travels: the codec of each direction, and who gets a downlink message.

    ``tree``: the server's messages go to all workers, along the broadcast tree, and
    ``pull`` hears them; without it ``pull`` hears what is addressed to the worker
    (``ServerLink.send``), and ``pull_shared`` what is broadcast. ``replicated``: at the
    start of a round ``state.x`` has the same bits on all ranks, which links then check
    every so often.

    ``peers[m]``: the workers that worker m exchanges frames of ``up`` with, ascending;
    symmetric. Workers then show the server their models (``state.x``) now and then, and
    its ``state.x`` is their mean; that is observation, not part of a method, and its
    bytes and time are booked apart. ``relay``: the frames go through the server.
    ``free``: workers don't wait for one another, so that their rounds differ.
    ``called``: a worker begins a round by waiting for the server, which need not call
    every worker in every one of its own rounds.
    """

    up: Codec
    down: Codec
    tree: bool = True
    replicated: bool = False
    peers: tuple[tuple[int, ...], ...] = ()
    relay: bool = False
    free: bool = False
    called: bool = False


@dataclass(frozen=True)
class Iterate:
    """What a server yields once a round, for whoever evaluates, records and stops."""

    round: int
    x: Vector
