"""Options of decentralised SGD: graph, weights, step sizes; roles are in ``gossip``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from psmpi.base import (
    Algorithm,
    Codec,
    ConfigError,
    Plan,
    Wire,
)
from psmpi.parts import topology
from psmpi.parts.options import planned_codec
from psmpi.parts.topology import Graph


@dataclass(frozen=True, kw_only=True)
class GossipOptions(Algorithm):
    """What a run of decentralised SGD on a graph can be told.

    Parameters
    ----------
    lr:
        c1, from which the rule makes the step size alpha. With 0 workers only mix.
    mixing:
        c2, from which the rule makes eps, the weight of the neighbours' models.
    rule:
        How both depend on T, the number of rounds of the run: constant (alpha = c1,
        eps = c2), nonconvex (c1 / T^(1/6), c2 / T^(1/2)), convex:D (c1 / T^(D/4),
        c2 / T^(3D/4)) or strongly-convex:D (c1 / T^(D/2), c2 / T^(3D/2)), where D is
        between 0 and 1/2.
    batch:
        Samples per worker and round. Where there is a deadline, the number of samples
        that it should leave time for.
    codec:
        Codec Q of the models that workers send; it must be unbiased (see psmpi list).
    bits:
        Bits per coordinate of that codec. Default: the codec's own number.
    topology:
        Graph of the workers: ring (the default), torus, complete, star, or
        erdos-renyi:P with edges of probability P, drawn by --seed.
    weights:
        Mixing weights: metropolis, laplacian, or FILE.npy with a symmetric doubly
        stochastic matrix, whose non-zero entries are then the topology.
    relay:
        Send frames through the server instead of directly to the neighbours.
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
        if self.weights.endswith(".npy"):  # not cached: the file may change
            return topology.load_weights(Path(self.weights), plan.workers)
        name = self.topology or "ring"
        return _network(name, self.weights, plan.workers, plan.seed)

    def up_codec(self, plan: Plan | None) -> Codec:
        """Return Q; without a plan, a codec to check the options with."""
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
        # The server relays: a frame goes up once, and down to every neighbour.
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

    def effective(self, plan: Plan) -> Mapping[str, Any]:
        if self.weights.endswith(".npy"):
            return {"topology": f"non-zeros of {self.weights}"}
        return {"topology": self.topology or "ring"}

    def arrays(self, plan: Plan) -> Mapping[str, NDArray[Any]]:
        return {"weights.npy": self.network(plan)[1]}


@cache
def _network(
    name: str, weights: str, workers: int, seed: int
) -> tuple[Graph, NDArray[np.float64]]:
    graph = topology.graph(name, workers, seed)
    return graph, topology.weights(graph, weights)
