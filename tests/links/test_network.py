"""Simulated networks: times of messages on lines, their order, and broadcasts."""

import math

import numpy as np
import pytest

from psmpi.links.transport.simulation import SimulatedNetwork
from tests.helpers.simulated import burn, message, receiver, sender, simulate


def test_times_on_lines_of_pairs():
    network = SimulatedNetwork(rate=800.0, latency=0.5)  # 100 bytes a second
    assert network.arrival(1, 0, 100, 2.0) == 2 + 1 + 0.5
    assert network.arrival(1, 0, 50, 2.25) == 3 + 0.5 + 0.5  # behind the first
    assert network.arrival(2, 0, 100, 2.25) == 2.25 + 1 + 0.5  # a line of its own
    assert network.arrival(0, 1, 100, 2.25) == 2.25 + 1 + 0.5  # so has the way back
    assert network.arrival(1, 0, 100, 9.0) == 9 + 1 + 0.5  # the line is free again


def test_times_on_shared_lines():
    network = SimulatedNetwork(rate=800.0, latency=0.5, kind="node")
    # 0 sends to 1 and 2: one line out, and each line in starts with it (cut-through)
    assert network.arrival(0, 1, 100, 0.0) == 1 + 0.5
    assert network.arrival(0, 2, 100, 0.0) == 2 + 0.5
    # 1 and 2 send to 3 at once: one line in
    assert network.arrival(1, 3, 100, 0.0) == 1 + 0.5
    assert network.arrival(2, 3, 100, 0.0) == 2 + 0.5
    assert network.arrival(3, 0, 200, 0.0) == 2 + 0.5  # out is not in


def test_without_a_rate_only_latency_counts():
    assert SimulatedNetwork(latency=0.25).arrival(0, 1, 10**9, 1.0) == 1.25
    assert SimulatedNetwork().arrival(0, 1, 10**9, 1.0) == 1.0


@pytest.mark.parametrize("seed", range(20))
def test_messages_are_received_in_the_order_of_arrival(seed):
    draw = np.random.default_rng(seed)
    moments = {n: sorted(draw.uniform(0, 10, 8).tolist()) for n in range(1, 6)}
    kind = ("pair", "node")[seed % 2]
    network = SimulatedNetwork(rate=1000.0, latency=0.01, kind=kind)
    roles = [receiver(40, range(1, 6)), *(sender(*moments[n]) for n in range(1, 6))]
    (served, *_), _ = simulate(*roles, network=network)
    # The same without threads: all messages enter the network in the order of time.
    direct = SimulatedNetwork(rate=1000.0, latency=0.01, kind=kind)
    sent = sorted((t, n) for n, times in moments.items() for t in times)
    expected = sorted((direct.arrival(n, 0, 16, t), n) for t, n in sent)
    assert [node for node, _ in served] == [n for _, n in expected]
    np.testing.assert_allclose([t for _, t in served], [t for t, _ in expected])


def test_lines_are_used_in_the_order_of_measured_time():
    """A node that computes long, but runs first, does not use the shared line first."""

    def busy(milliseconds, nbytes):
        def role(transport):
            transport.now()
            burn(milliseconds / 1000)
            transport.send(0, message(nbytes))

        return role

    network = SimulatedNetwork(
        rate=8 * 1000.0, kind="node"
    )  # a second for the long one
    (served, *_), _ = simulate(
        receiver(2, [1, 2]), busy(60, 1000), busy(1, 20), network=network, measured=True
    )
    assert [node for node, _ in served] == [2, 1]
    assert served[0][1] < 0.5  # not behind a message that was sent after it


def broadcasts(transport):
    """Broadcast three messages; return their bytes and times of arrival."""
    got = []
    for n in range(3):
        sent = message(16 + 1000 * n, n) if transport.node == 0 else None
        got.append((transport.bcast(sent).tobytes(), transport.now()))
        transport.release()
    return got


@pytest.mark.parametrize("nodes", [2, 3, 4, 7, 8, 13])
def test_the_tree_delivers_the_same_messages_as_direct_sends(nodes):
    line, sent_by_one = simulate(*[broadcasts] * nodes)
    tree, sent_by_all = simulate(*[broadcasts] * nodes, tree=True)
    bytes_of = [[[frame for frame, _ in node] for node in r] for r in (line, tree)]
    assert bytes_of[0] == bytes_of[1]
    assert len({tuple(node) for node in bytes_of[1]}) == 1
    for count in ("sent_bytes", "sent_messages", "received_bytes"):
        totals = [
            sum(getattr(t, count) for t in ts) for ts in (sent_by_one, sent_by_all)
        ]
        assert totals[0] == totals[1] > 0
    most = max(t.sent_messages for t in sent_by_all)
    assert most == 3 * math.ceil(math.log2(nodes))


def test_the_tree_is_faster_over_shared_lines():
    def last(tree):
        network = SimulatedNetwork(rate=8e3, kind="node")
        results, _ = simulate(*[broadcasts] * 32, network=network, tree=tree)
        return max(moment for node in results for _, moment in node)

    nbytes = 16 + 1016 + 2016
    assert last(tree=False) == pytest.approx(31 * nbytes / 1000)
    assert last(tree=True) < last(tree=False) / 3
