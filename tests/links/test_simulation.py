"""Simulated clocks: events are in the order of simulated time."""

import time

import numpy as np
import pytest

from psmpi.base import LinkError
from psmpi.links.transport import local
from psmpi.links.transport.simulation import SimulatedNetwork, VirtualClock
from tests.helpers.simulated import burn, message, receiver, sender, simulate


def test_messages_are_served_in_the_order_of_simulated_time():
    moments = {1: (5.0, 6.0), 2: (1.0, 5.5), 3: (2.0, 2.5)}
    roles = [receiver(6, [1, 2, 3]), *(sender(*moments[n]) for n in (1, 2, 3))]
    (served, *_), _ = simulate(*roles)
    expected = sorted((t, node) for node, times in moments.items() for t in times)
    assert served == [(node, t) for t, node in expected]


def test_a_message_is_received_only_when_no_earlier_one_can_come():
    """Node 2's answer to node 1 arrives before the message that node 3 sent first."""

    def answers(transport):
        transport.recv(1)
        transport.send(0, message())

    def asks(transport):
        transport.spend(1.0)
        transport.send(2, message())

    def soon(transport):
        transport.send(0, message(100))  # on its way for 4 s

    network = SimulatedNetwork(rate=200.0)
    (served, *_), _ = simulate(
        receiver(2, [2, 3]), asks, answers, soon, network=network
    )
    assert served == [(2, 1 + 2 * 0.64), (3, 4.0)]


def test_of_messages_at_the_same_time_the_first_sent_is_received_first():
    def last(transport):
        transport.recv(1)
        transport.send(0, message())

    def first(transport):
        transport.send(0, message())
        transport.send(2, message())

    (served, *_), _ = simulate(receiver(2, [2, 1]), first, last)
    assert served == [(1, 0.0), (2, 0.0)]


def test_poll_returns_only_messages_that_have_arrived():
    def polls(transport):
        seen = []
        for moment in (0.5, 1.5, 2.0, 3.75):
            transport.spend(moment - transport.now())
            count = 0
            while transport.poll(1) is not None:
                count += 1
            seen.append(count)
            assert transport.now() == moment  # polling takes no time
        return seen

    network = SimulatedNetwork(latency=0.5)
    (seen, _), _ = simulate(polls, sender(0.1, 0.9, 2.0, 3.5), network=network)
    assert seen == [0, 2, 0, 1]


def test_spending_time_advances_only_the_node_s_clock():
    def spends(transport):
        transport.spend(2.5)
        transport.spend(0.25)
        return transport.now()

    (times), _ = simulate(spends, lambda t: t.now())
    assert times == [2.75, 0.0]


def test_receiving_an_old_message_does_not_turn_back_the_clock():
    def late(transport):
        transport.spend(9.0)
        transport.recv(1)
        return transport.now()

    (moment, _), _ = simulate(late, sender(1.0))
    assert moment == 9.0


def test_free_messages_take_no_time_and_stay_in_order():
    def sends(transport):
        transport.send(0, message(100, 0))
        transport.send(0, message(16, 1), free=True)
        transport.send(2, message(16, 1), free=True)

    def takes(count):
        def role(transport):
            times = []
            for _ in range(count):
                transport.recv(1)
                times.append(transport.now())
            return times

        return role

    (first, _, second), _ = simulate(
        takes(2), sends, takes(1), network=SimulatedNetwork(rate=100.0)
    )
    assert (first, second) == ([8.0, 8.0], [0.0])


@pytest.mark.parametrize("kind", ["pair", "node"])
def test_two_runs_are_equal(kind):
    def chatter(transport):
        draw = np.random.default_rng(transport.node)
        log = []
        for _ in range(30):
            transport.spend(draw.exponential())
            others = [n for n in range(transport.nodes) if n != transport.node]
            transport.send(int(draw.choice(others)), message(16 + draw.integers(99)))
            for node in others:
                while transport.poll(node) is not None:
                    log.append((node, transport.now()))
        return log

    def once():
        return simulate(*[chatter] * 5, network=SimulatedNetwork(500.0, 0.1, kind))[0]

    first = once()
    assert first == once()
    assert all(len(log) > 5 for log in first)


def test_a_measured_clock_runs_while_its_thread_does():
    def role(transport):
        start = transport.now()
        burn(0.05)
        worked = transport.now() - start
        time.sleep(0.2)
        slept = transport.now() - start - worked
        burn(0.05)
        transport.exclude_from_clock()
        return worked, slept, transport.now() - start - worked - slept

    ((worked, slept, excluded), _), _ = simulate(role, role, measured=True)
    assert worked >= 0.05
    assert slept < 0.05
    assert excluded < 0.05


def test_an_unmeasured_clock_does_not_run():
    def role(transport):
        transport.now()
        burn(0.01)
        transport.exclude_from_clock()
        return transport.now()

    assert simulate(role, role)[0] == [0.0, 0.0]


def test_a_clock_that_another_thread_has_read_does_not_turn_back():
    clock = VirtualClock(measured=True)
    burn(0.05)
    clock.now()  # by the thread that made the node
    scheduler = local.connect(1)[0]
    assert scheduler.run([clock.now]) >= [0.0]


def test_cpu_time_of_one_node_does_not_advance_other_clocks():
    def works(transport):
        transport.now()
        burn(0.1)
        return transport.now()

    (busy, idle), _ = simulate(works, lambda t: t.now(), measured=True)
    assert busy >= 0.1
    assert idle < 0.1


def test_a_deadlock_is_diagnosed_on_simulated_clocks():
    def waits(transport):
        transport.spend(1.0)
        transport.recv(1 - transport.node)

    expected = "the server waits for worker 0, worker 0 waits for the server"
    with pytest.raises(LinkError, match=f"deadlock: {expected}"):
        simulate(waits, waits)
