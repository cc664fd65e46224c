"""Envelopes, the star of both ends, and the transport inside one process."""

import numpy as np
import pytest

from psmpi.base import LinkError, Plan, Stopped, Wire
from psmpi.codecs import Dense, Sign
from psmpi.links import envelope
from psmpi.links.compute_speed import ComputeSpeed, Speeds
from psmpi.links.envelope import BYE, DATA, SKIP, STOP
from psmpi.links.replay_log import ReplayLog
from psmpi.links.server import ServerEnd
from psmpi.links.transport import local
from psmpi.links.transport.simulation import SimulatedNetwork
from psmpi.links.worker import WorkerEnd

DIM = 6
WIRE = Wire(Dense(), Dense())
ADDRESSED = Wire(Dense(), Dense(), tree=False)


class State:
    def __init__(self):
        self.round = 0


def plan(workers, rounds=3):
    return Plan(workers=workers, rounds=rounds, dim=DIM, bounds=(0, DIM))


def run(server, worker, *, workers=3, wire=WIRE, rounds=3, seed=None, replay=None):
    """Run both roles in this process; return ends, the roles' results, transports."""
    scheduler, transports = local.connect(workers + 1, seed)
    replay_log = ReplayLog(replay)
    ends = [ServerEnd(transports[0], wire, plan(workers, rounds), replay_log)]
    ends += [WorkerEnd(t, wire, plan(workers, rounds)) for t in transports[1:]]

    def serve():
        result = server(ends[0])
        ends[0].stop()
        return result

    def work(end):
        try:
            return worker(end)
        except Stopped:
            end.leave()

    results = scheduler.run([serve, *(lambda e=e: work(e) for e in ends[1:])])
    return ends, results, transports


def message(round_=3, kind=DATA, codec=7, frame=b"abcde"):
    buffer = envelope.new_buffer(100)
    buffer[16 : 16 + len(frame)] = list(frame)
    return envelope.seal(buffer, len(frame), round_, kind, codec)


def test_the_bytes_of_an_envelope_are_frozen():
    expected = "03000000010700000500000004f0493a" + b"abcde".hex()
    assert bytes(message()).hex() == expected


@pytest.mark.parametrize("kind", [SKIP, STOP, BYE])
def test_a_message_without_data_has_no_frame(kind):
    sealed = envelope.seal(envelope.new_buffer(0), 0, 9, kind, 0)
    assert envelope.unseal(sealed, 7, "x") == (9, kind, None)


def test_an_empty_frame_differs_from_no_frame():
    assert envelope.unseal(message(frame=b""), 7, "x").frame.size == 0


@pytest.mark.parametrize("bit", range(8 * 21))
def test_every_flipped_bit_is_detected(bit):
    sealed = message().copy()
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LinkError):
        envelope.unseal(sealed, 7, "worker 1")


@pytest.mark.parametrize("size", range(21))
def test_every_truncation_is_detected(size):
    with pytest.raises(LinkError):
        envelope.unseal(message()[:size], 7, "worker 1")


def test_a_frame_of_another_codec_is_rejected():
    with pytest.raises(LinkError, match="codec number 7, expected 8"):
        envelope.unseal(message(), 8, "worker 1")


def test_lengths_beyond_4_gib_fit_into_an_envelope():
    assert envelope.message_nbytes(_envelope_of(5 << 32 | 6)) == 16 + (5 << 32 | 6)


def _envelope_of(nbytes):
    start = np.zeros(16, np.uint8)
    envelope.ENVELOPE.pack_into(start, 0, 0, DATA, 0, nbytes >> 32, nbytes % 2**32, 0)
    return start


def echo_server(end):
    """Broadcast the round number; sum up the multiples that workers answer."""
    sums = []
    for k in end.rounds(State()):
        end.bcast(end.down.encode(np.full(DIM, k, np.float32)))
        total = np.zeros(DIM, np.float32)
        for frame in end.gather():
            if frame is not None:
                end.up.decode_add(frame, total)
        sums.append(total[0])
    return sums


def echo_worker(end):
    x = np.zeros(DIM, np.float32)
    for _ in end.rounds(State(), until_stopped=True):
        end.down.decode(end.pull(), DIM, x)
        end.push(None if end.worker == 1 else end.up.encode(x * 10**end.worker))


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3, 4])
def test_rounds_do_not_depend_on_the_schedule(seed):
    _, results, _ = run(echo_server, echo_worker, seed=seed)
    assert results[0] == [0, 101, 202]


def test_all_bytes_and_bits_are_counted():
    ends, _, transports = run(echo_server, echo_worker)
    meter = ends[0].meter
    full, bare = 16 + 4 * DIM, 16
    assert meter.uploads == 3 * 2
    assert meter.paper_bits_up == 3 * 2 * 32 * DIM
    assert meter.paper_bits_down == 3 * 3 * 32 * DIM
    # three rounds of two frames and a skip, then BYE of all; three frames, then STOP
    assert meter.wire_bytes_up == 3 * (2 * full + bare) + 3 * bare
    assert meter.wire_bytes_down == 3 * (3 * full + bare)
    sent = sum(t.sent_bytes for t in transports)
    assert sent == meter.wire_bytes_up + meter.wire_bytes_down
    assert sent == sum(t.received_bytes for t in transports)


def test_a_frame_that_is_used_after_its_loan_reads_ff():
    def worker(end):
        frame = end.pull()
        assert not (frame == 0xFF).any()
        end.push(None)
        return frame

    def server(end):
        end.bcast(end.down.encode(np.ones(DIM, np.float32)))
        list(end.gather())

    _, results, _ = run(server, lambda e: _until_stopped(e, worker), workers=1)
    assert (results[1] == 0xFF).all()


def _until_stopped(end, worker):
    """Run ``worker``, answer the server's STOP and return the worker's result."""
    result = worker(end)
    with pytest.raises(Stopped):
        end.pull()
    end.leave()
    return result


def test_a_deadlock_is_diagnosed():
    with pytest.raises(LinkError, match=r"deadlock: .*worker 0 waits for the server"):
        run(lambda end: list(end.gather()), lambda end: end.pull())


def test_a_message_of_another_round_is_rejected():
    def server(end):
        end.bcast(None)
        end._context.round = 1  # as if a round had been lost
        list(end.gather())

    def worker(end):
        end.pull()
        end.push(None)
        end.pull()

    with pytest.raises(LinkError, match="of round 0, the server is in round 1"):
        run(server, worker)


def test_send_is_rejected_on_a_tree():
    with pytest.raises(LinkError, match="goes along the tree"):
        run(lambda end: end.send(0, None), lambda end: end.pull())


def test_a_worker_with_another_codec_is_rejected():
    scheduler, transports = local.connect(2)
    server = ServerEnd(transports[0], WIRE, plan(1))
    worker = WorkerEnd(transports[1], Wire(Sign(), Dense()), plan(1))

    def work():
        worker.push(worker.up.encode(np.ones(DIM, np.float32)))

    with pytest.raises(LinkError, match="codec number"):
        scheduler.run([lambda: list(server.gather()), work])


@pytest.mark.parametrize("failing", [0, 2])
@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(0)])
def test_an_exception_in_one_rank_ends_all(failing, error):
    def server(end):
        if failing == 0:
            raise error
        return list(end.gather())

    def worker(end):
        if failing == end.worker + 1:
            raise error
        end.pull()

    with pytest.raises(type(error)) as caught:
        run(server, worker)
    assert "in " + ("the server" if failing == 0 else "worker 1") in "".join(
        caught.value.__notes__
    )


def async_server(updates):
    def serve(end):
        x = np.zeros(DIM, np.float32)
        for m in range(end.workers):
            end.send(m, end.down.encode(x))
        for _ in range(updates):
            m, frame = end.recv()
            x *= np.float32(0.9)  # so that the result depends on the order of arrival
            end.up.decode_add(frame, x)
            end.send(m, end.down.encode(x))
        return x, list(end.arrivals)

    return serve


def async_worker(end):
    x = np.zeros(DIM, np.float32)
    for _ in end.rounds(State(), until_stopped=True):
        end.down.decode(end.pull(), DIM, x)
        end.push(end.up.encode(x + end.worker + 1))


def test_a_replay_reproduces_an_asynchronous_run():
    _, first, _ = run(async_server(50), async_worker, wire=ADDRESSED, seed=7)
    x, order = first[0]
    _, again, _ = run(async_server(50), async_worker, wire=ADDRESSED, replay=order)
    _, other, _ = run(async_server(50), async_worker, wire=ADDRESSED, seed=8)
    assert again[0][1] == order != other[0][1]
    assert again[0][0].tobytes() == x.tobytes() != other[0][0].tobytes()


def test_a_replay_log_that_is_too_short_is_an_error():
    with pytest.raises(LinkError, match="decisions of this rank are used up"):
        run(async_server(5), async_worker, wire=ADDRESSED, replay=[0, 1])


def test_a_worker_ends_after_the_last_round():
    def server(end):
        for _ in end.rounds(State()):
            list(end.gather())

    def worker(end):
        rounds = []
        try:
            for k in end.rounds(State()):
                end.push(None)
                rounds.append(k)
        except Stopped:
            end.leave()
            return rounds

    _, results, _ = run(server, worker, rounds=4)
    assert results[1:] == [[0, 1, 2, 3]] * 3


def test_a_server_that_continues_after_the_last_round_is_an_error():
    def server(end):
        for _ in end.rounds(State()):
            list(end.gather())
        end.bcast(end.down.encode(np.zeros(DIM, np.float32)))

    def worker(end):
        for _ in end.rounds(State()):
            end.push(None)

    with pytest.raises(LinkError, match="goes on after the last round"):
        run(server, worker)


def test_a_worker_in_another_round_is_named():
    def server(end):
        for _ in end.rounds(State()):
            list(end.gather())

    def worker(end):
        state = State()
        state.round = int(end.worker == 1)
        for _ in end.rounds(state):
            end.push(None)

    with pytest.raises(
        LinkError, match="worker 1: its message is of round 1, the serv"
    ):
        run(server, worker)


def test_on_a_simulated_line_a_newer_post_replaces_the_waiting_one():
    network = SimulatedNetwork(rate=8 * 10.0)  # 10 bytes a second
    scheduler, (first, second) = local.connect(2, network=network, measured=False)

    def post():
        for k in range(5):  # at 0, 1, 2, ... s; the line is busy for 3 s each
            first.post(1, np.full(30, k, np.uint8))
            first.spend(1.0)

    def poll():
        seen = []
        for _ in range(14):
            second.release()
            message = second.poll(0)
            if message is not None:
                seen.append((second.now(), int(message[0])))
            second.spend(1.0)
        return seen

    assert scheduler.run([post, poll])[1] == [(3.0, 0), (6.0, 2), (9.0, 4)]
    assert (first.superseded, first.sent_messages) == (2, 3)


def test_a_batch_fits_into_exactly_the_time_that_it_takes():
    for speed in range(1, 100):
        compute = ComputeSpeed(speeds=Speeds.parse(f"constant:{speed}"))
        compute.begin(0)
        assert [compute.samples_within(b / speed) for b in range(50)] == list(range(50))
        assert compute.samples_within(3.99 / speed) == 3


def test_a_late_gradient_shortens_the_next_ones_of_its_round():
    compute = ComputeSpeed(speeds=Speeds.parse("constant:10"))
    compute.begin(0)
    assert compute.remaining(10, 0.25) == 0.75
    compute.add_delay(0.5)
    assert compute.remaining(10, 0.25) == 0.25
    assert compute.remaining(10, 1.5) == 0  # half a second late
    assert compute.remaining(10, 0.25) == 0.25
    assert compute.remaining(10, 1.25) == compute.behind == 0
    compute.begin(1)
    assert (compute.remaining(10, 0.25), compute.behind) == (0.75, 0.25)
