"""Decentralised SGD: workers average with their neighbours on a graph.

::

    worker i:  z_i = Q(x_i), sent to all neighbours
               x_i <- (1 - eps + eps w_ii) x_i + eps sum_{j != i} w_ij z_j
                      - alpha eps g_i
               g_i = gradient of f_i at x_i over S_i, 0 if S_i is empty

QuanTimed-DSGD (Reisizadeh, Taheri, Mokhtari, Hassani, Pedarsani, "Robust and
Communication-Efficient Collaborative Learning", NeurIPS 2019): S_i are the samples that
worker i has processed when the deadline T_d is over, so nobody waits for a straggler.
Q-DSGD is the same with batches of one size; DSGD or D-PSGD (Lian et al., NeurIPS 2017)
has Q = identity and eps = 1. In asynchronous DSGD no worker waits at all: z_j is the
model that neighbour j sent last, at first the common start.

The weight w_ij of a neighbour whose frame is missing goes to the own model, on both
sides: a worker that is absent gives its neighbours no frame and takes none, and its
model stays. So the mixing matrix of every round is symmetric and doubly stochastic.

A worker never quantises its own model in its own update. The server takes no part in
the method; every few rounds it observes the mean of the workers' models. With an exact
Q and alpha = 0 this mean does not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from psmpi import random
from psmpi.algorithms.gossip_options import GossipOptions
from psmpi.base import (
    Iterate,
    Plan,
    Problem,
    ServerLink,
    Vector,
    WorkerLink,
)
from psmpi.kernels.vector import add_scaled
from psmpi.parts.absence import taking_part
from psmpi.parts.presets import preset


@dataclass(kw_only=True)
class GossipWorkerState:
    """A worker between rounds; ``heard`` has the neighbours' last models."""

    x: Vector
    gradient: Vector
    part: Vector  # gradient of one batch before the deadline
    next: Vector
    heard: dict[int, Vector]
    deadline: float = 0.0  # T_d in seconds
    round: int = 0


@dataclass(kw_only=True)
class GossipServerState:
    """What the server observes: the mean of the workers' models, and a measured T_d."""

    x: Vector
    deadline: float | None = None
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class Gossip(GossipOptions):
    """Decentralised SGD on a graph, frames from worker to worker."""

    can_leave_out = True

    def row(self, link: ServerLink, state: GossipServerState) -> Mapping[str, Any]:
        return link.peers.observed()

    def record(self, state: GossipServerState) -> Mapping[str, Any]:
        found = {} if state.deadline is None else {"deadline": state.deadline}
        return {"relay": self.relay, "resolved": found}

    def worker_state(
        self, link: WorkerLink, problem: Problem, plan: Plan
    ) -> GossipWorkerState:
        x = problem.start(plan.seed)
        heard = {j: x.copy() for j in self.wire(plan).peers[link.worker]}
        return GossipWorkerState(
            x=x,
            gradient=np.zeros_like(x),
            part=np.zeros_like(x),
            next=np.zeros_like(x),
            heard=heard if self.free else {},
        )

    def server_state(
        self, link: ServerLink, problem: Problem, plan: Plan
    ) -> GossipServerState:
        return GossipServerState(x=problem.start(plan.seed))

    def worker(
        self, link: WorkerLink, problem: Problem, plan: Plan, state: GossipWorkerState
    ) -> None:
        s, i = state, link.worker
        W = self.network(plan)[1][i]
        alpha, eps = self.steps(plan.rounds)
        for k in link.rounds(s, until_stopped=self.free):
            with taking_part(link.peers):
                # g_i = gradient of f_i at x_i over S_i
                self.take_gradient(link, problem, plan, s)
                # (1 - eps + eps w_ii) x_i - alpha eps g_i
                np.multiply(s.x, 1 - eps + eps * W[i], out=s.next)
                add_scaled(s.next, s.gradient, -alpha * eps)
                # z_i = Q(x_i);   + eps sum_{j != i} w_ij z_j
                self.mix(link, s, eps * W, random.key(plan.seed, "up", i, k))
                s.x, s.next = s.next, s.x

    def take_gradient(
        self, link: WorkerLink, problem: Problem, plan: Plan, s: GossipWorkerState
    ) -> None:
        """Set g_i to the gradient over a batch of the given size."""
        key = random.key(plan.seed, "batch", link.worker, s.round)
        problem.grad(s.x, s.gradient, problem.batch(key, self.batch))

    def mix(
        self,
        link: WorkerLink,
        s: GossipWorkerState,
        weights: NDArray[np.float64],
        key: int,
    ) -> None:
        """Send z_i; add every neighbour's z_j of this round with its weight."""
        missing = weights.copy()
        missing[link.worker] = 0
        for j, z in link.peers.exchange(link.up.encode(s.x, key=key)):
            link.up.decode_add(z, s.next, weights[j])
            missing[j] = 0
        # w_ii of this round is w_ii + sum of w_ij over the absent j
        if missing.any():
            add_scaled(s.next, s.x, float(missing.sum()))

    def server(
        self, link: ServerLink, plan: Plan, state: GossipServerState
    ) -> Iterator[Iterate]:
        for k in link.rounds(state):
            yield Iterate(k, state.x)
            if self.relay:
                link.peers.relay()


@preset(mixing=1.0, rule="constant", codec=None, bits=None)
class Dsgd(Gossip):
    """DSGD: exact models, mixed with weight 1, batches of one size."""

    id: ClassVar[str] = "dsgd"


@dataclass(frozen=True, kw_only=True)
class DPsgd(Dsgd):
    """D-PSGD: another name of DSGD."""

    id: ClassVar[str] = "d-psgd"


@preset(relay=False)
class AsyncDsgd(Dsgd):
    """Asynchronous DSGD: every worker uses the last models of its neighbours."""

    id: ClassVar[str] = "async-dsgd"
    free: ClassVar[bool] = True

    def timed(self) -> bool:
        return True

    def mix(
        self,
        link: WorkerLink,
        s: GossipWorkerState,
        weights: NDArray[np.float64],
        key: int,
    ) -> None:
        """Add every neighbour's last model with its weight; send the new model."""
        for j, z in link.peers.latest():
            link.up.decode(z, s.x.size, s.heard[j])
        for j, z_j in s.heard.items():
            add_scaled(s.next, z_j, weights[j])
        link.peers.post(link.up.encode(s.next, key=key))
