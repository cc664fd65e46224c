"""signSGD and Signum with majority vote: one bit an entry both ways, nothing kept back.

Bernstein, Zhao, Azizzadenesheli, Anandkumar, "signSGD with Majority Vote is
Communication Efficient and Fault Tolerant", ICLR 2019, Algorithm 1.

::

    worker m:  v_m <- mu v_m + (1 - mu) g_m;     send sign(v_m)
    server:    V = sign( sum_m sign(v_m) );      broadcast V
    all:       x <- x - eta ( V + lambda x )

Those who are absent don't vote, and keep v_m; without any vote nobody moves.

sign(0) is +1, and so is a tied vote, as in the authors' code. Votes are counted on the
packed planes, 64 entries at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import (
    Codec,
    Iterate,
    Plan,
    Problem,
    ServerStar,
    Vector,
    Wire,
    WorkerStar,
)
from psmpi.codecs.plane import Majority, Plane
from psmpi.parts.absence import taking_part
from psmpi.parts.downlink import Replicated
from psmpi.parts.memory import expected
from psmpi.parts.momentum import MovingAverage, WeightDecay
from psmpi.parts.options import FixedCodec
from psmpi.parts.presets import preset


@dataclass(kw_only=True)
class VotingWorkerState:
    """A worker between rounds."""

    x: Vector
    gradient: Vector
    momentum: MovingAverage
    decay: WeightDecay
    round: int = 0


@dataclass(kw_only=True)
class VotingServerState:
    """The server between rounds; ``votes`` is empty then."""

    x: Vector
    votes: Majority
    decay: WeightDecay
    round: int = 0


@preset(momentum=0.0, reduce="mean", downlink=None, down_codec=None, bits_down=None)
class SignSgd(FixedCodec, Replicated):
    """signSGD: signs of minibatch gradients up, their majority down."""

    id: ClassVar[str] = "signsgd"
    can_leave_out = True
    lr: float = 0.001
    batch: int | None = 50
    default_codec: ClassVar[str] = "plane"

    def wire(self, plan: Plan) -> Wire:
        plane: Codec = Plane()
        return Wire(plane, plane, replicated=True)

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> VotingWorkerState:
        x = problem.start(plan.seed)
        return VotingWorkerState(
            x=x,
            gradient=np.zeros_like(x),
            momentum=MovingAverage(x, self.momentum),
            decay=WeightDecay(x, self.weight_decay, 0.0),
        )

    def server_state(
        self, link: ServerStar, problem: Problem, plan: Plan
    ) -> VotingServerState:
        x = problem.start(plan.seed)
        return VotingServerState(
            x=x,
            votes=Majority(plan.dim, plan.workers),
            decay=WeightDecay(x, self.weight_decay, 0.0),
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: VotingWorkerState
    ) -> None:
        s, m, eta = state, link.worker, self.eta(plan)
        for k in link.rounds(s):
            with taking_part(link):
                problem.grad(s.x, s.gradient, self.draw(problem, plan, m, k))
                # v_m <- mu v_m + (1 - mu) g_m;   send sign(v_m)
                link.push(link.up.encode(s.momentum.of(s.gradient)))
            frame = link.pull()
            if frame is None:  # nobody was present
                continue
            # x <- x - eta (V + lambda x)
            s.decay.step(s.x, eta(k))
            link.down.decode_add(frame, s.x, -eta(k))

    def server(
        self, link: ServerStar, plan: Plan, state: VotingServerState
    ) -> Iterator[Iterate]:
        s, eta = state, self.eta(plan)
        for k in link.rounds(s):
            yield Iterate(k, s.x)
            # V = sign( sum_m sign(v_m) )
            for frame in link.gather():
                s.votes.add(expected(frame))
            if not link.present:
                link.bcast(None)
                continue
            frame = s.votes.result()
            s.votes.reset()
            link.bcast(frame)
            # x <- x - eta (V + lambda x)
            s.decay.step(s.x, eta(k))
            link.down.decode_add(frame, s.x, -eta(k))


@dataclass(frozen=True, kw_only=True)
class Signum(SignSgd):
    """Signum: signSGD on an exponential moving average of gradients."""

    id: ClassVar[str] = "signum"
    momentum: float = 0.9
