"""Decentralised SGD: workers average with their neighbours on a graph.

::

    worker i:  z_i = Q(x_i), sent to all neighbours
               x_i <- (1 - eps + eps w_ii) x_i + eps sum_{j != i} w_ij z_j
                      - alpha eps g_i
               g_i = gradient of f_i at x_i over S_i, 0 if S_i is empty

QuanTimed-DSGD (Reisizadeh, Taheri, Mokhtari, Hassani, Pedarsani, "Robust and
Communication-Efficient Collaborative Learning", NeurIPS 2019): S_i is what worker i has
processed when the deadline T_d is over, so nobody waits for a slow one. Q-DSGD is the
same with batches of one size; DSGD or D-PSGD (Lian et al., NeurIPS 2017) has Q =
identity and eps = 1. In the asynchronous one nobody waits at all: z_j is whatever
neighbour j has sent last, at first the common start.

The own model is never quantised. The server takes no part; it looks at the mean of the
workers' models now and then. With an exact Q and alpha = 0 that mean does not move.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from psmpi import random
from psmpi.base import (
    Algorithm,
    Codec,
    ConfigError,
    Iterate,
    Plan,
    Problem,
    ServerLink,
    Vector,
    Wire,
    WorkerLink,
)
from psmpi.kernels.vector import add_scaled
from psmpi.parts import topology
from psmpi.parts.options import planned_codec
from psmpi.parts.presets import preset
from psmpi.parts.topology import Graph


@dataclass(kw_only=True)
class GossipWorkerState:
    """A worker between rounds; ``heard`` has what neighbours sent last."""

    x: Vector
    gradient: Vector
    part: Vector  # gradient of one batch before the deadline
    next: Vector
    heard: dict[int, Vector]
    deadline: float = 0.0  # T_d in seconds
    round: int = 0


@dataclass(kw_only=True)
class GossipServerState:
    """What the server sees: the mean of the workers' models, and T_d if measured."""

    x: Vector
    deadline: float | None = None
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class Gossip(Algorithm):
    """Decentralised SGD on a graph, frames from worker to worker.

    Parameters
    ----------
    lr:
        c1 of the step size alpha; 0 mixes only.
    mixing:
        c2 of the weight eps of what neighbours send.
    rule:
        How both depend on T, the number of rounds: constant (alpha = c1, eps = c2),
        nonconvex (c1 / T^(1/6), c2 / T^(1/2)), convex:D (c1 / T^(D/4), c2 / T^(3D/4))
        or strongly-convex:D (c1 / T^(D/2), c2 / T^(3D/2)) with 0 < D < 1/2.
    batch:
        Samples per worker and round. With a deadline: what it should allow for.
    codec:
        Codec Q of the models that are sent (see psmpi list).
    bits:
        Bits per coordinate of that codec; by default its own number.
    topology:
        ring (default), torus, complete, star or erdos-renyi:P, drawn by --seed.
    weights:
        metropolis, laplacian, or FILE.npy: a symmetric doubly stochastic matrix, whose
        non-zeros are then the topology.
    relay:
        Send frames through the server instead of directly.
    """

    lr: float = 0.1
    mixing: float = 1.0
    rule: str = "constant"
    batch: int = 20
    codec: str | None = None
    bits: int | None = None
    topology: str | None = None
    weights: str = "metropolis"
    relay: bool = False

    default_codec: ClassVar[str] = "dense"
    free: ClassVar[bool] = False  # whether neighbours wait for one another

    def __post_init__(self) -> None:
        if not 0 <= self.lr < math.inf:
            raise ConfigError(f"lr: must be a number of at least 0, got {self.lr}")
        if not 0 < self.mixing < math.inf:
            raise ConfigError(f"mixing: must be a positive number, got {self.mixing}")
        if self.batch < 1:
            raise ConfigError(f"batch: must be at least 1, got {self.batch}")
        if self.topology is not None and self.weights.endswith(".npy"):
            raise ConfigError(
                f"topology: {self.topology}, but the non-zeros of {self.weights} are "
                "one already; give one of both"
            )
        self.steps(1)
        if not self.up_codec(None).unbiased:
            raise ConfigError(
                f"codec: {self.id} needs an unbiased codec, got {self.codec}; take "
                "decimal, stochastic or dense"
            )

    def steps(self, rounds: int) -> tuple[float, float]:
        """Return alpha and eps of a run of T = ``rounds``."""
        name, colon, text = self.rule.partition(":")
        T = max(rounds, 1)
        try:
            delta = float(text) if colon else math.nan
        except ValueError:
            delta = math.nan
        powers = {
            "constant": (0.0, 0.0),
            "nonconvex": (1 / 6, 1 / 2),
            "convex": (delta / 4, 3 * delta / 4),
            "strongly-convex": (delta / 2, 3 * delta / 2),
        }
        needs = name in ("convex", "strongly-convex")
        if (
            name not in powers
            or bool(colon) != needs
            or (needs and not 0 < delta < 0.5)
        ):
            raise ConfigError(
                f"rule: can't read {self.rule!r}; give constant, nonconvex, convex:D "
                "or strongly-convex:D with a D between 0 and 0.5"
            )
        a, e = powers[name]
        return self.lr / T**a, self.mixing / T**e

    def network(self, plan: Plan) -> tuple[Graph, NDArray[np.float64]]:
        """Return the graph and its weights W, shape (workers, workers)."""
        if plan.workers < 2:
            raise ConfigError(
                f"workers: {self.id} needs at least 2, got {plan.workers}: nobody to "
                "exchange models with; give --workers 2 or more"
            )
        if self.weights.endswith(".npy"):  # which may be another one the next time
            return topology.load_weights(Path(self.weights), plan.workers)
        name = self.topology or "ring"
        return _network(name, self.weights, plan.workers, plan.seed)

    def up_codec(self, plan: Plan | None) -> Codec:
        """Return Q; without a plan, one as good for checking."""
        options = {} if self.bits is None else {"bits": self.bits}
        return planned_codec(self.codec or self.default_codec, options, plan)

    def wire(self, plan: Plan) -> Wire:
        graph, _ = self.network(plan)
        codec = self.up_codec(plan)
        peers = tuple(graph.peers(node) for node in range(plan.workers))
        return Wire(
            codec, codec, tree=False, peers=peers, relay=self.relay, free=self.free
        )

    def frames(self, plan: Plan, rounds: int) -> tuple[int, int]:
        sent = 2 * len(self.network(plan)[0].edges) * rounds
        # Relayed, a frame goes up once, and down to every neighbour.
        return (plan.workers * rounds, sent) if self.relay else (sent, 0)

    def cautions(self, plan: Plan) -> Sequence[str]:
        _, W = self.network(plan)
        _, eps = self.steps(plan.rounds)
        own = 1 - eps + eps * W.diagonal()
        if own.min() >= 0:
            return ()
        # Models grow apart where (1 - eps) I + eps W has an eigenvalue below -1.
        worst = 1 - eps + eps * float(np.linalg.eigvalsh(W)[0])
        judgement = "which is unstable" if worst < -1 else "which may be unstable"
        return (
            f"eps = {eps:.4g} over {plan.rounds} rounds gives worker "
            f"{int(own.argmin())} the negative weight {own.min():.4g} on its own "
            f"model, {judgement} (least eigenvalue {worst:.4g}, the limit is -1); "
            "lower --mixing, or run more rounds with a --rule that depends on them",
        )

    def arrays(self, plan: Plan) -> Mapping[str, NDArray[Any]]:
        return {"weights.npy": self.network(plan)[1]}

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
        for j, z in link.peers.exchange(link.up.encode(s.x, key=key)):
            link.up.decode_add(z, s.next, weights[j])

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
    """Asynchronous DSGD: everybody uses what its neighbours have sent last."""

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
        """Add what is known of every neighbour with its weight; post the new model."""
        for j, z in link.peers.latest():
            link.up.decode(z, s.x.size, s.heard[j])
        for j, z_j in s.heard.items():
            add_scaled(s.next, z_j, weights[j])
        link.peers.post(link.up.encode(s.next, key=key))


@cache
def _network(
    name: str, weights: str, workers: int, seed: int
) -> tuple[Graph, NDArray[np.float64]]:
    graph = topology.graph(name, workers, seed)
    return graph, topology.weights(graph, weights)
