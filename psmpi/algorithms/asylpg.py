"""AsyLPG: asynchronous SVRG with both gradients and models quantised.

Yu, Wu, Huang, "Double Quantization for Communication-Efficient Distributed
Optimization", NeurIPS 2019 (arXiv 1805.10111), for min f(x) + h(x), h = l1 ||x||_1 +
(l2/2) ||x||^2.

::

    epoch s, together:   workers send grad f_m(xs); the server forms G = grad f(xs)
    step t, as it comes: server -> worker  Q_x(x_D(t)), with
                           (2)  E||Q_x(x) - x||^2 <= mu ||x - xs||^2
                         worker -> server  Q(alpha), with
                           alpha = grad f_a(Q_x(x)) - grad f_a(xs)
                         server            u = Q(alpha) + G
                                           x <- prox_{eta h}(x - eta u)
                         t - D(t) <= tau
    after m steps:       xs <- x

Acc-AsyLPG:  y <- prox_{eta_s h}(y - eta_s u),  x <- xs + theta_s (y - xs), with theta_s
= 2 / (s + 2), eta_s = eta / theta_s, and (4), which is (2) times theta_s. Sparse-AsyLPG
sparsifies alpha first, at random with phi = ||alpha||_1 / ||alpha||_inf entries on
average, which leaves their signs and one size.

The width of Q_x is chosen for every message: the least that satisfies the rule by its
exact variance, no bits at all while x = xs, floats beyond ``--max-bits``. What a worker
computed at an old snapshot is discarded, and counted, when the epoch has ended.

Read of the paper: abstract, rebuttal and secondary sources. The updates are as far as
those pin them down; see the project's README for what is not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from psmpi import random
from psmpi.base import (
    Algorithm,
    Codec,
    ConfigError,
    Frame,
    Indices,
    Iterate,
    Plan,
    Problem,
    ServerStar,
    Vector,
    Wire,
    WorkerStar,
)
from psmpi.codecs import Choice, Dense, Stochastic
from psmpi.codecs.stochastic import narrowest
from psmpi.kernels.reduce import distance_squares
from psmpi.kernels.vector import extrapolate, proximal_step
from psmpi.parts import schedules
from psmpi.parts.memory import expected
from psmpi.parts.options import planned_codec

EXACT, CODED = 0, 1  # parts of what workers send: gradients of snapshots, differences
LEAST, MOST = 2, 17  # bits that the model's grid can have
DEFAULT_MU = 0.5


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

    ``out`` has, for every worker that computes, the step whose model it was sent; the
    other workers are ``waiting``. ``left`` counts the steps to the end of the epoch.
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


@dataclass(frozen=True, kw_only=True)
class AsyLpg(Algorithm):
    """AsyLPG: asynchronous SVRG, gradients and models quantised.

    A round is one step of the server, with the gradient of one worker.

    Parameters
    ----------
    lr:
        Step size eta.
    lr_schedule:
        How it changes over rounds: constant, sqrt, horizon[:T], inverse:A,
        drop:F@K1,K2, warmup:K or warmup0:K, joined by +.
    batch:
        Samples per gradient difference.
    epoch:
        m, rounds from one snapshot to the next; absent: as many as take all samples
        once.
    staleness:
        tau, rounds that a gradient may be old; absent: twice the number of workers.
        Workers that would make others too late have to wait.
    codec:
        Codec of gradient differences, unbiased (see psmpi list).
    bits:
        b, bits per coordinate, signs included; for another codec than the default, its
        own bits.
    mu:
        Precision of models, as in (2) and (4); absent: 0.5.
    bits_down:
        b_x, the same width for all models, instead of the rule.
    max_bits:
        Width beyond which the rule sends floats.
    recentre:
        Quantise x - xs instead of x, whose width the rule leaves almost constant.
    """

    id: ClassVar[str] = "asylpg"
    proximal: ClassVar[bool] = True
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
        grid = self.default_bits if self.bits is None else self.bits
        own = self.codec is None and self.default_codec == "stochastic"
        if own and not LEAST <= (grid or 0) <= MOST:
            raise ConfigError(
                f"bits: a gradient's grid has {LEAST} to {MOST} bits, signs included, "
                f"got {self.bits}"
            )
        if not self.difference_codec(None).unbiased:
            raise ConfigError(
                f"codec: {self.id} needs an unbiased codec, got {self.codec}; take "
                "stochastic, ternary, sparsesign, bernoulli or wangni"
            )

    def difference_codec(self, plan: Plan | None) -> Codec:
        """Return Q of differences; without a plan, one as good for checking."""
        if self.codec is None and self.default_codec == "stochastic":
            bits = self.default_bits if self.bits is None else self.bits
            assert bits is not None
            return Stochastic.symmetric(bits)
        options = {} if self.bits is None else {"bits": self.bits}
        return planned_codec(self.codec or self.default_codec, options, plan)

    def wire(self, plan: Plan) -> Wire:
        exact = Dense(8 * np.dtype(plan.dtype).itemsize)
        grids = [Stochastic.symmetric(bits) for bits in range(LEAST, MOST + 1)]
        return Wire(
            Choice((exact, self.difference_codec(plan))),
            Choice((exact, *grids)),
            tree=False,
        )

    def frames(self, plan: Plan, rounds: int) -> tuple[int, int]:
        return rounds, rounds  # one worker's; those of snapshots come on top

    def record(self, state: AsyServerState) -> Mapping[str, Any]:
        widths = {str(bits): n for bits, n in sorted(state.widths.items())}
        return {
            "model_bits": widths,
            "epochs": state.epoch + 1,
            "resolved": {"epoch": state.length, "staleness": state.tau},
        }

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> AsyWorkerState:
        x = problem.start(plan.seed)
        return AsyWorkerState(
            x=x,
            snapshot=x.copy(),
            gradient=np.zeros_like(x),
            difference=np.zeros_like(x),
        )

    def server_state(
        self, link: ServerStar, problem: Problem, plan: Plan
    ) -> AsyServerState:
        problem.without_ridge()  # workers need that: refuse others before round 0
        x = problem.start(plan.seed)
        return AsyServerState(
            x=x,
            y=x.copy(),
            snapshot=x.copy(),
            full=np.zeros_like(x),
            step=np.zeros_like(x),
            change=np.zeros_like(x),
            l1=problem.l1,
            l2=problem.l2,
            tau=2 * plan.workers if self.staleness is None else self.staleness,
            length=self.epoch or -(-max(problem.samples, 1) // self.batch),
            waiting=list(range(plan.workers)),
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: AsyWorkerState
    ) -> None:
        s, f = state, problem.without_ridge()  # the ridge is in h
        choice = self.wire(plan).up
        assert isinstance(choice, Choice)
        exact, coded = (link.outgoing(choice.part(i)) for i in (EXACT, CODED))
        for k in link.rounds(s, until_stopped=True):
            frame = link.pull()
            if frame is None:  # the epoch has ended: xs, and grad f_m(xs)
                snapshot = link.pull_shared()
                if snapshot is not None:  # else it is the common start
                    link.down.decode(snapshot, s.x.size, s.snapshot)
                whole_gradient(f, s.snapshot, s.gradient, plan.workers)
                link.push(exact.encode(s.gradient))
                continue
            # alpha = grad f_a(Q_x(x)) - grad f_a(xs)
            support = self._differ(link, f, frame, plan, s)
            key = random.key(plan.seed, "up", link.worker, k)
            if support is None:
                link.push(coded.encode(s.difference, key=key))
            else:
                values = s.difference[support]
                link.push(coded.encode_at(support, values, s.x.size, key=key))

    def _differ(
        self, link: WorkerStar, f: Problem, frame: Frame, plan: Plan, s: AsyWorkerState
    ) -> Indices | None:
        """Set alpha at the model in ``frame``; return where it may differ from 0."""
        if not frame.size:  # x = xs
            return np.empty(0, np.int64)
        if self.recentre and frame[0] != EXACT:
            s.x[:] = s.snapshot
            link.down.decode_add(frame, s.x)
        else:
            link.down.decode(frame, s.x.size, s.x)
        key = random.key(plan.seed, "batch", link.worker, s.round)
        batch = f.batch(key, self.batch)
        return f.difference(s.x, s.snapshot, s.difference, batch)

    def server(
        self, link: ServerStar, plan: Plan, state: AsyServerState
    ) -> Iterator[Iterate]:
        s, eta = state, schedules.schedule(self.lr, self.lr_schedule, plan.rounds)
        choice = self.wire(plan).down
        assert isinstance(choice, Choice)
        exact, *grids = map(link.outgoing, map(choice.part, range(len(choice.parts))))
        by_width = dict(enumerate(grids, LEAST))
        for t in link.rounds(s):
            if not s.left:
                self._begin_epoch(link, plan, s, exact)
            while s.waiting and len(s.out) <= s.tau:
                worker = s.waiting.pop(0)
                s.out[worker] = t
                key = random.key(plan.seed, "down", worker, t)
                link.send(worker, self._model(s, exact, by_width, key))
            yield Iterate(t, s.x)
            worker, frame = link.recv(urgent(s.out, t, s.tau))
            # u = Q(alpha) + G
            s.step[:] = s.full
            link.up.decode_add(expected(frame), s.step)
            del s.out[worker]
            s.waiting.append(worker)
            self._advance(s, eta(t))
            s.left -= 1

    def _advance(self, s: AsyServerState, eta: float) -> None:
        if not self.accelerated:
            # x <- prox_{eta h}(x - eta u)
            proximal_step(s.x, s.step, eta, s.l1, s.l2)
            return
        # y <- prox_{eta_s h}(y - eta_s u);   x <- xs + theta_s (y - xs)
        theta = self.theta(s.epoch)
        proximal_step(s.y, s.step, eta / theta, s.l1, s.l2)
        extrapolate(s.x, s.snapshot, s.y, theta)

    def theta(self, epoch: int) -> float:
        """Return theta_s = 2 / (s + 2)."""
        return 2 / (epoch + 2) if self.accelerated else 1.0

    def _begin_epoch(
        self, link: ServerStar, plan: Plan, s: AsyServerState, exact: Codec
    ) -> None:
        s.epoch += 1
        s.left = s.length
        # xs <- x, to all; what workers still compute at the old one is too late
        s.snapshot[:] = s.x
        for worker in range(plan.workers):
            link.send(worker, None)
        link.bcast(exact.encode(s.snapshot) if s.epoch else None)  # x_0 is known to all
        for worker in sorted(s.out):
            link.discard(worker)
        s.out.clear()
        s.waiting = list(range(plan.workers))
        # G = (1/M) sum_m grad f_m(xs)
        s.full[:] = 0
        for frame in link.gather():
            link.up.decode_add(expected(frame), s.full, 1 / plan.workers)
        if self.accelerated:
            extrapolate(s.x, s.snapshot, s.y, self.theta(s.epoch))

    def _model(
        self, s: AsyServerState, exact: Codec, by_width: Mapping[int, Codec], key: int
    ) -> Frame:
        """Return Q_x(x) as wide as the rule wants it; an empty frame while x = xs."""
        sent = self._sent(s)
        bits = self.width(s, sent)
        s.widths[bits] += 1
        if not bits:
            return np.empty(0, np.uint8)
        if bits > MOST:
            return exact.encode(s.x)
        return by_width[bits].encode(sent, key=key)

    def _sent(self, s: AsyServerState) -> Vector:
        """Return what is quantised: x, or x - xs."""
        return np.subtract(s.x, s.snapshot, out=s.change) if self.recentre else s.x

    def width(self, s: AsyServerState, sent: Vector) -> int:
        """Return the bits of the next model: 0 for xs, 32 or 64 for floats."""
        distance = distance_squares(s.x, s.snapshot)
        floats = 8 * s.x.itemsize
        if distance == 0:
            return 0
        if self.exact_models:
            return floats
        if self.bits_down is not None:
            return self.bits_down
        # (2)  E||Q_x(x) - x||^2 <= mu ||x - xs||^2;   (4) the same times theta_s
        budget = self.theta(s.epoch) * (self.mu or DEFAULT_MU) * distance
        return narrowest(sent, budget, LEAST, self.max_bits) or floats

    def row(self, link: ServerStar, state: AsyServerState) -> Mapping[str, Any]:
        """Return with which precision this iterate is sent, if it is.

        ``model_bits``; ``model_error``, its variance E||Q_x(x) - x||^2; and
        ``model_distance``, ||x - xs||^2.
        """
        sent = self._sent(state)
        bits, error = self.width(state, sent), 0.0
        if 0 < bits <= MOST:
            error = Stochastic.symmetric(bits).variance(sent)
        return {
            "model_bits": bits,
            "model_error": error,
            "model_distance": distance_squares(state.x, state.snapshot),
        }


def urgent(out: Mapping[int, int], t: int, tau: int) -> list[int]:
    """Return the workers of whom one has to be next, for nobody to exceed tau.

    ``out`` has the step whose model each worker was sent. If the i-th oldest has to be
    served within i steps from now, nobody younger may go before.

    >>> urgent({0: 4, 1: 2, 2: 5}, 5, 3), urgent({0: 4, 1: 2, 2: 5}, 5, 9)
    ([1], [1, 0, 2])
    """
    oldest = sorted(out, key=lambda worker: out[worker])
    for i, worker in enumerate(oldest):
        if t + i >= out[worker] + tau:
            return oldest[: i + 1]
    return oldest


def whole_gradient(f: Problem, x: Vector, out: Vector, workers: int) -> None:
    """Set ``out`` to this worker's share of grad f(x), of which the mean is taken."""
    part = f.own_part()
    f.grad(x, out, part)
    if part is not None:  # all workers have all samples: each does some of them
        out *= part.size * workers / f.samples
