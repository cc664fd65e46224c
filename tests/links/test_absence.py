"""Rounds without the frames of some workers, at the links."""

import numpy as np
import pytest

from psmpi.base import LinkError, Wire
from psmpi.codecs import Dense
from tests.links.test_links import DIM, State, run

CHECKED = Wire(Dense(), Dense(), replicated=True)
RING = ((1, 2), (0, 2), (0, 1))


def test_gather_yields_nothing_of_absent_workers_and_says_who_is_present():
    def serve(end):
        seen = []
        for k in end.rounds(State()):
            frames = []
            for frame in end.gather():
                value = None if frame is None else end.up.decode(frame, DIM)[0]
                frames.append((end.present[-1], value))
            seen.append((k, frames, end.present))
            end.bcast(None)
        return seen

    def work(end):
        for k in end.rounds(State()):
            if end.worker == k:
                end.absent()
            elif end.worker == 0:
                end.push(None)
            else:
                end.push(end.up.encode(np.full(DIM, 10 * k + end.worker, np.float32)))
            end.pull()

    ends, (seen, *_), _ = run(serve, work)
    assert seen == [
        (0, [(1, 1.0), (2, 2.0)], (1, 2)),
        (1, [(0, None), (2, 12.0)], (0, 2)),
        (2, [(0, None), (1, 21.0)], (0, 1)),
    ]
    assert ends[0].meter.uploads == 4


def leave_out(end):
    end.absent()
    end.pull()


def test_a_round_may_have_nobody():
    def serve(end):
        end.present = (1,)
        assert list(end.gather()) == []
        return end.present

    _, (present, *_), _ = run(serve, leave_out, rounds=0)
    assert present == ()


def test_an_absence_of_another_round_is_refused():
    def serve(end):
        end._context.round = 1
        return list(end.gather())

    with pytest.raises(LinkError, match="worker 0: its message is of round 0"):
        run(serve, leave_out, workers=1)


def test_an_absent_answer_is_received_as_a_skip_is():
    received = run(lambda end: end.recv(), leave_out, workers=1)[1]
    assert received[0] == (0, None)


@pytest.mark.parametrize("relay", [False, True])
def test_peers_do_not_hear_of_an_absent_one(relay):
    wire = Wire(Dense(), Dense(), peers=RING, relay=relay)
    heard = {m: [] for m in range(3)}

    def state():
        own = State()
        own.x = np.zeros(DIM, np.float32)
        return own

    def serve(end):
        for _ in end.rounds(state()):
            if relay:
                end.peers.relay()

    def work(end):
        for k in end.rounds(state()):
            if end.worker == k:
                end.peers.absent()
                heard[end.worker].append(None)
                continue
            frame = end.up.encode(np.full(DIM, end.worker, np.float32))
            heard[end.worker].append([j for j, _ in end.peers.exchange(frame)])

    ends, _, _ = run(serve, work, wire=wire)
    assert heard == {
        0: [None, [2], [1]],
        1: [[2], None, [0]],
        2: [[1], [0], None],
    }
    assert ends[0].meter.uploads == 6 * (1 if relay else 2)
