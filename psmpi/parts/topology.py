"""Topologies without a server: graphs of workers, and their mixing weights.

A decentralised round is x_i <- sum_j W_ij x_j. W is symmetric with rows that sum to 1,
W_ij > 0 off the diagonal only along edges, and its eigenvalues but one 1 lie inside
(-1, 1): then repeated rounds bring all nodes to the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError
from psmpi.errors import did_you_mean
from psmpi.random import key

Matrix = NDArray[np.float64]
Edges = tuple[tuple[int, int], ...]

_SYMMETRY = 1e-12  # largest |W_ij - W_ji| of a user's weights
_SUM = 1e-9  # largest difference of their row sums from 1
_LEAST_GAP = 1e-12  # a smaller spectral gap counts as none
_SHARE = 0.4  # default probability of an edge in erdos-renyi


@dataclass(frozen=True)
class Graph:
    """An undirected graph on 0 .. nodes - 1, without loops.

    ``edges`` are pairs (i, j), i < j, in ascending order. Raises ``ConfigError`` for
    others, and for fewer than two nodes.
    """

    nodes: int
    edges: Edges

    def __post_init__(self) -> None:
        if self.nodes < 2:
            raise ConfigError(f"graph: needs at least 2 nodes, got {self.nodes}")
        legal = all(0 <= i < j < self.nodes for i, j in self.edges)
        if not legal or list(self.edges) != sorted(set(self.edges)):
            raise ConfigError(
                "graph: edges must be pairs (i, j), i < j, of nodes 0 .. "
                f"{self.nodes - 1}, ascending and each once, got {self.edges}"
            )

    def peers(self, node: int) -> tuple[int, ...]:
        """Return the neighbours of ``node``, ascending.

        >>> Graph(4, ((0, 1), (0, 3), (2, 3))).peers(3)
        (0, 2)
        """
        if not 0 <= node < self.nodes:
            raise ValueError(f"node: must be in 0 .. {self.nodes - 1}, got {node}")
        return tuple(sorted(i + j - node for i, j in self.edges if node in (i, j)))

    def degrees(self) -> tuple[int, ...]:
        """Return the number of neighbours of every node."""
        count = [0] * self.nodes
        for node in (node for edge in self.edges for node in edge):
            count[node] += 1
        return tuple(count)


def graph(spec: str, nodes: int, seed: int = 0) -> Graph:
    """Return the connected graph called ``spec``: a name of ``GRAPHS``.

    ``erdos-renyi:P`` has each edge with probability P (0.4 without ``:P``), drawn by
    (seed, nodes): a larger P only adds edges. Raises ``ConfigError`` for an unknown
    name, a P outside (0, 1], fewer than 2 nodes, a torus of a prime number of nodes,
    and for a draw that is not connected.

    >>> graph("ring", 4).edges
    ((0, 1), (0, 3), (1, 2), (2, 3))
    """
    name, colon, argument = spec.partition(":")
    if name not in GRAPHS:
        hint = did_you_mean(name, GRAPHS, f"there are {', '.join(GRAPHS)}")
        raise ConfigError(f"topology: there is none called {name!r}; {hint}")
    if colon and name != "erdos-renyi":
        raise ConfigError(f"topology: {name} takes no value, got {spec!r}; say {name}")
    if nodes < 2:
        raise ConfigError(f"topology: needs at least 2 nodes, got {nodes}")
    share = _probability(spec, argument) if colon else _SHARE
    pairs = GRAPHS[name](nodes, share, seed)
    made = Graph(nodes, tuple(sorted({(min(p), max(p)) for p in pairs})))
    _check_connected(
        made,
        f"topology: {spec}, drawn by seed {seed},",
        "take another --seed or larger P",
    )
    return made


def weights(graph: Graph, kind: str = "metropolis") -> Matrix:
    """Return W of ``kind``, one of ``WEIGHTS``, shape (nodes, nodes), float64.

    ``metropolis``: W_ij = 1 / (1 + max(d_i, d_j)) along edges. ``laplacian``: W_ij =
    1 / (d_max + 2), which is I - L / (d_max + 1) in the released QuanTimed-DSGD code,
    where d_max counts a loop at every node. Exactly symmetric; what is left to 1 is on
    the diagonal, always above 0.
    """
    if kind not in WEIGHTS:
        hint = did_you_mean(kind, WEIGHTS, f"there are {', '.join(WEIGHTS)}")
        raise ConfigError(f"weights: there are none called {kind!r}; {hint}")
    degrees = graph.degrees()
    top = max(degrees)
    w = np.zeros((graph.nodes, graph.nodes))
    for i, j in graph.edges:
        w[i, j] = w[j, i] = WEIGHTS[kind](max(degrees[i], degrees[j]), top)
    for i in range(graph.nodes):
        w[i, i] = 1 - math.fsum(w[i])
    return w


def load_weights(path: Path, nodes: int) -> tuple[Graph, Matrix]:
    """Return a user's own W, from a file of ``numpy.save``, and the graph it is over.

    W has shape (nodes, nodes); edges are where it is above 0. Symmetric but for 1e-12,
    it is made exactly so. Raises ``ConfigError`` for a file that can't be read, and for
    a W that is of another shape, not finite, not symmetric, not doubly stochastic
    (rows off 1 by more than 1e-9), negative off the diagonal, or whose graph or
    spectral gap keeps nodes from ever agreeing.
    """
    w = _read(path)
    if w.shape != (nodes, nodes):
        raise ConfigError(
            f"{path}: weights of {nodes} nodes must have shape {(nodes, nodes)}, got "
            f"{w.shape}"
        )
    _check_entries(path, w)
    w = (w + w.T) / 2
    i, j = np.nonzero(np.triu(w, 1))
    made = Graph(nodes, tuple(zip(i.tolist(), j.tolist(), strict=True)))
    _check_connected(made, f"{path}: its graph", "join them by weights above 0")
    if not spectral_gap(w) > _LEAST_GAP:
        raise ConfigError(
            f"{path}: its second largest |eigenvalue| is {1 - spectral_gap(w):g}, so "
            "that nodes never agree; put more on the diagonal, like (W + I) / 2"
        )
    return made, w


def spectral_gap(w: Matrix) -> float:
    """Return 1 - the second largest |eigenvalue| of a symmetric W.

    A round shrinks the distance to the mean by at least this share.
    """
    return float(1 - np.sort(np.abs(np.linalg.eigvalsh(w)))[-2])


def _ring(nodes: int, *_: object) -> Iterable[tuple[int, int]]:
    return [(i, (i + 1) % nodes) for i in range(nodes)]


def _torus(nodes: int, *_: object) -> Iterable[tuple[int, int]]:
    """Rows x columns, as square as can be, each wrapped around.

    Of two rows there is one edge across, not two: 6 nodes are a prism, 4 a ring.
    """
    rows = max(n for n in range(1, math.isqrt(nodes) + 1) if nodes % n == 0)
    if rows == 1:
        raise ConfigError(
            f"topology: a torus has rows and columns, and {nodes} nodes is a prime; "
            f"take ring, or {max(nodes + 1, 4)} nodes"
        )
    columns = nodes // rows
    for i in range(nodes):
        row, column = divmod(i, columns)
        yield i, row * columns + (column + 1) % columns
        yield i, (row + 1) % rows * columns + column


def _complete(nodes: int, *_: object) -> Iterable[tuple[int, int]]:
    return [(i, j) for i in range(nodes) for j in range(i + 1, nodes)]


def _star(nodes: int, *_: object) -> Iterable[tuple[int, int]]:
    """Node 0 is in the middle."""
    return [(0, i) for i in range(1, nodes)]


def _erdos_renyi(nodes: int, share: float, seed: int) -> Iterable[tuple[int, int]]:
    pairs = list(_complete(nodes))
    bits = np.random.Philox(key=key(seed, "graph", nodes))
    taken = np.random.Generator(bits).random(len(pairs)) < share
    return [pair for pair, is_in in zip(pairs, taken, strict=True) if is_in]


GRAPHS: dict[str, Callable[[int, float, int], Iterable[tuple[int, int]]]] = {
    "ring": _ring,
    "torus": _torus,
    "complete": _complete,
    "star": _star,
    "erdos-renyi": _erdos_renyi,
}
# W_ij of an edge, from the larger degree of its ends and the largest of the graph.
WEIGHTS: dict[str, Callable[[int, int], float]] = {
    "metropolis": lambda larger, _: 1 / (1 + larger),
    "laplacian": lambda _, top: 1 / (top + 2),
}


def _probability(spec: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ConfigError(
            f"topology: {spec!r} has no probability in (0, 1]; say erdos-renyi:{_SHARE}"
        )
    return share


def _check_connected(graph: Graph, what: str, advice: str) -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    i, j = np.array(graph.edges, np.int64).reshape(-1, 2).T
    shape = (graph.nodes, graph.nodes)
    links = coo_array((np.ones(i.size), (i, j)), shape=shape)
    count, label = connected_components(links, directed=False)
    if count == 1:
        return
    sizes = sorted(np.bincount(label).tolist(), reverse=True)
    alone = graph.degrees().index(0) if 0 in graph.degrees() else None
    raise ConfigError(
        f"{what} is not connected: {count} components of {', '.join(map(str, sizes))} "
        f"nodes{'' if alone is None else f' (node {alone} has no edge)'}; {advice}"
    )


def _read(path: Path) -> Matrix:
    try:
        with path.open("rb") as file:
            found = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except (ValueError, EOFError) as error:
        raise ConfigError(
            f"{path}: is not an array of numbers from numpy.save: {error}"
        ) from None
    if found.dtype.kind not in "fiub":
        raise ConfigError(f"{path}: weights must be numbers, got {found.dtype}")
    return found.astype(np.float64)


def _check_entries(path: Path, w: Matrix) -> None:
    """Refuse a square W that is not symmetric, doubly stochastic and non-negative."""
    if not np.isfinite(w).all():
        raise ConfigError(f"{path}: weights must be finite, got NaN or infinity")
    uneven = np.abs(w - w.T)
    i, j = np.unravel_index(int(uneven.argmax()), w.shape)
    if uneven[i, j] > _SYMMETRY:
        raise ConfigError(
            f"{path}: W must be symmetric, but W[{i}, {j}] = {w[i, j]} and "
            f"W[{j}, {i}] = {w[j, i]}; give (W + W.T) / 2"
        )
    sums = w.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > _SUM:
        raise ConfigError(
            f"{path}: W is not doubly stochastic: row {worst} sums to {sums[worst]}, "
            "not 1; put what is missing on the diagonal"
        )
    off = w - np.diag(np.diag(w))
    if off.min() < 0:
        i, j = np.unravel_index(int(off.argmin()), w.shape)
        raise ConfigError(
            f"{path}: weights off the diagonal must not be negative, got W[{i}, {j}] = "
            f"{w[i, j]}"
        )
