"""Graphs and their weights: connected, symmetric, doubly stochastic, or refused."""

import contextlib
import itertools
import re

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.parts import topology
from psmpi.parts.topology import Graph, graph, load_weights, spectral_gap, weights

SPECS = [*topology.GRAPHS, "erdos-renyi:0.9"]
HALF = np.full((2, 2), 0.5)


def edges(spec, nodes):
    return set(graph(spec, nodes).edges)


@pytest.mark.parametrize(
    ("spec", "nodes", "expected"),
    [
        ("ring", 2, {(0, 1)}),
        ("ring", 3, {(0, 1), (1, 2), (0, 2)}),
        ("ring", 5, {(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)}),
        ("star", 4, {(0, 1), (0, 2), (0, 3)}),
        ("complete", 3, {(0, 1), (0, 2), (1, 2)}),
        ("erdos-renyi:1", 3, {(0, 1), (0, 2), (1, 2)}),
        ("torus", 4, {(0, 1), (0, 2), (1, 3), (2, 3)}),
        # 0 1 2
        # 3 4 5
        ("torus", 6, {(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)}
         | {(0, 3), (1, 4), (2, 5)}),
    ],
)  # fmt: skip
def test_small_graphs(spec, nodes, expected):
    assert edges(spec, nodes) == expected


@pytest.mark.parametrize(("nodes", "columns"), [(9, 3), (12, 4), (16, 4), (15, 5)])
def test_a_torus_wraps_around_in_both_directions(nodes, columns):
    torus = graph("torus", nodes)
    assert set(torus.degrees()) == {4}
    assert torus.peers(0) == tuple(sorted({1, columns - 1, columns, nodes - columns}))


@pytest.mark.parametrize("nodes", [2, 4, 9, 24])
@pytest.mark.parametrize("spec", SPECS)
def test_peers_and_degrees_are_those_of_the_edges(spec, nodes):
    if spec == "torus" and nodes == 2:
        return
    made = next(g for g in connected(spec, nodes, 1))
    for node in range(nodes):
        peers = made.peers(node)
        assert peers == tuple(sorted(peers))
        assert made.degrees()[node] == len(peers)
        assert all((min(node, p), max(node, p)) in made.edges for p in peers)
    with pytest.raises(ValueError, match="node: must be in"):
        made.peers(nodes)


def connected(spec, nodes, count):
    """Yield ``count`` graphs, of the first seeds whose draw is connected."""
    for seed in itertools.count():
        with contextlib.suppress(ConfigError):
            yield graph(spec, nodes, seed)
            count -= 1
        if count == 0:
            return


# -- weights -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", topology.WEIGHTS)
@pytest.mark.parametrize("nodes", [2, 4, 9, 24])
@pytest.mark.parametrize("spec", SPECS)
def test_weights_are_symmetric_and_stochastic_over_the_graph(spec, nodes, kind):
    if spec == "torus" and nodes == 2:
        return
    made = next(g for g in connected(spec, nodes, 1))
    w = weights(made, kind)
    assert w.dtype == np.float64
    assert (w == w.T).all()
    assert np.abs(w.sum(axis=1) - 1).max() <= 1e-15 * nodes
    assert (np.diag(w) > 0).all()
    found = {(i, j) for i, j in zip(*np.nonzero(np.triu(w, 1)), strict=True)}
    assert found == set(made.edges)
    values = np.linalg.eigvalsh(w)
    assert values[-1] == pytest.approx(1)
    assert max(-values[0], values[-2]) == pytest.approx(1 - spectral_gap(w))
    assert spectral_gap(w) > 1e-3


def test_weights_written_by_hand():
    path = Graph(3, ((0, 1), (1, 2)))
    third = np.array([[2, 1, 0], [1, 1, 1], [0, 1, 2]]) / 3
    np.testing.assert_allclose(weights(path), third, atol=1e-16)
    quarter = np.array([[3, 1, 0], [1, 2, 1], [0, 1, 3]]) / 4
    np.testing.assert_array_equal(weights(path, "laplacian"), quarter)
    assert spectral_gap(third) == pytest.approx(1 / 3)
    tail = Graph(4, ((0, 1), (0, 2), (0, 3), (1, 2)))
    expected = np.array([[3, 3, 3, 3], [3, 5, 4, 0], [3, 4, 5, 0], [3, 0, 0, 9]]) / 12
    np.testing.assert_allclose(weights(tail), expected, atol=1e-15)


@pytest.mark.parametrize("nodes", [3, 8, 25])
def test_gaps_that_are_known(nodes):
    ring = 1 - (1 + 2 * np.cos(2 * np.pi / nodes)) / 3
    assert spectral_gap(weights(graph("ring", nodes))) == pytest.approx(ring)
    assert spectral_gap(weights(graph("complete", nodes))) == pytest.approx(1)
    assert spectral_gap(weights(graph("star", nodes))) == pytest.approx(1 / nodes)


def test_random_graphs_follow_their_seed_and_grow_with_p():
    assert graph("erdos-renyi", 20, 3) == graph("erdos-renyi:0.4", 20, 3)
    assert graph("erdos-renyi", 20, 3) != graph("erdos-renyi", 20, 4)
    few, many = (set(graph(f"erdos-renyi:{p}", 20, 3).edges) for p in (0.4, 0.5))
    assert few < many
    assert graph("erdos-renyi:0.5", 4, 0).edges == FROZEN


FROZEN = ((0, 1), (0, 2), (0, 3), (1, 3), (2, 3))


def test_random_graphs_have_the_published_averages():
    """QuanTimed-DSGD's graphs: 50 nodes, P = 0.4."""
    drawn = list(connected("erdos-renyi:0.4", 50, 60))
    assert np.mean([np.mean(g.degrees()) for g in drawn]) == pytest.approx(
        19.6, abs=0.3
    )
    assert np.mean([max(g.degrees()) for g in drawn]) == pytest.approx(27.2, abs=0.6)
    gaps = [spectral_gap(weights(g, "laplacian")) for g in drawn]
    assert np.mean(gaps) == pytest.approx(0.365, abs=0.02)


# -- a user's own ------------------------------------------------------------------


def saved(folder, w):
    path = folder / "w.npy"
    np.save(path, w)
    return path


def test_own_weights_come_back_symmetric(tmp_path):
    ring = graph("ring", 6)
    w = weights(ring)
    w[0, 1] += 1e-13
    found, back = load_weights(saved(tmp_path, w), 6)
    assert found == ring
    assert (back == back.T).all()
    np.testing.assert_allclose(back, w, atol=1e-13)


@pytest.mark.parametrize(
    ("w", "message"),
    [
        (np.ones((2, 3)), "must have shape (2, 2), got (2, 3)"),
        (HALF[:1], "must have shape (2, 2), got (1, 2)"),
        (HALF * np.nan, "must be finite"),
        (HALF + 0j, "must be numbers, got complex128"),
        (np.array([["a"]]), "must be numbers, got <U1"),
        (np.array([[None]]), "is not an array of numbers from numpy.save"),
        (np.array([[0.5, 0.5], [0.4, 0.6]]), "W[0, 1] = 0.5 and W[1, 0] = 0.4; give"),
        (np.array([[0.5, 0.5], [0.5, 0.4]]), "doubly stochastic: row 1 sums to 0.9"),
        (np.array([[1.5, -0.5], [-0.5, 1.5]]), "not be negative, got W[0, 1] = -0.5"),
        (np.eye(2), "not connected: 2 components of 1, 1 nodes (node 0 has no edge)"),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), "second largest |eigenvalue| is 1, so"),
    ],
)  # fmt: skip
def test_own_weights_that_are_wrong(w, message, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_weights(saved(tmp_path, w), 2)


def test_own_weights_that_are_no_file(tmp_path):
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        load_weights(tmp_path / "none.npy", 2)
    for content in (b"", b"not an array", b"\x93NUMPY\x01\x00"):
        (tmp_path / "w.npy").write_bytes(content)
        with pytest.raises(ConfigError, match="is not an array of numbers"):
            load_weights(tmp_path / "w.npy", 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graph("rnig", 4), "topology: there is none called 'rnig'; did you me"),
        (lambda: graph("zzz", 4), "there are ring, torus, complete, star, erdos-renyi"),
        (lambda: graph("ring:3", 4), "ring takes no value, got 'ring:3'"),
        (lambda: graph("ring", 1), "needs at least 2 nodes, got 1"),
        (lambda: graph("torus", 7), "7 nodes is a prime; take ring, or 8 nodes"),
        (lambda: graph("torus", 2), "2 nodes is a prime; take ring, or 4 nodes"),
        (lambda: graph("erdos-renyi:x", 4), "'erdos-renyi:x' has no probability in (0"),
        (lambda: graph("erdos-renyi:0", 4), "'erdos-renyi:0' has no probability in (0"),
        (lambda: graph("erdos-renyi:1.1", 4), "has no probability in (0, 1]"),
        (
            lambda: graph("erdos-renyi:1e-9", 3, 5),
            "topology: erdos-renyi:1e-9, drawn by seed 5, is not connected: 3 compo"
            "nents "
            "of 1, 1, 1 nodes (node 0 has no edge); take another --seed or larger P",
        ),
        (lambda: weights(graph("ring", 4), "metropolys"), "did you mean metropolis?"),
        (lambda: Graph(3, ((1, 0),)), "edges must be pairs (i, j), i < j, of nodes"),
        (lambda: Graph(3, ((0, 3),)), "of nodes 0 .. 2"),
        (lambda: Graph(3, ((1, 2), (0, 1))), "ascending and each once"),
    ],
)  # fmt: skip
def test_what_can_not_be_made_is_refused(call, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        call()


def test_two_halves_are_told_by_their_sizes(tmp_path):
    w = np.kron(np.diag([1, 1]), HALF)
    with pytest.raises(ConfigError, match="2 components of 2, 2 nodes; join them"):
        load_weights(saved(tmp_path, w), 4)
