"""Workers that exchange frames, and how the server observes them."""

import numpy as np
import pytest

from psmpi.base import LinkError, Plan, Stopped, Wire
from psmpi.codecs import Dense
from psmpi.links.server import ServerEnd
from psmpi.links.transport import local
from psmpi.links.transport.simulation import SimulatedNetwork
from psmpi.links.worker import WorkerEnd
from psmpi.runs import config
from psmpi.runs.local import run_local

DIM = 5
RING = ((1, 3), (0, 2), (1, 3), (0, 2))
COMPLETE = ((1, 2), (0, 2), (0, 1))


class State:
    def __init__(self, x=None):
        self.round, self.x = 0, np.zeros(DIM, np.float32) if x is None else x


def run(worker, peers=RING, rounds=6, every=2, server=None, **options):
    """Run ``worker`` on every worker; return the server's rows, results and ends."""
    wire_options = {k: options.pop(k) for k in ("relay", "free") if k in options}
    wire = Wire(Dense(), Dense(), tree=False, peers=peers, **wire_options)
    plan = Plan(
        **{"workers": len(peers), "rounds": rounds, "evaluate_every": every},
        **{"dim": DIM, "bounds": (0, DIM)},
    )
    scheduler, transports = local.connect(len(peers) + 1, **options)
    ends = [ServerEnd(transports[0], wire, plan)]
    ends += [WorkerEnd(t, wire, plan) for t in transports[1:]]

    def serve():
        state, rows = State(), []
        for k in ends[0].rounds(state):
            if k % every == 0:
                rows.append((k, state.x.copy(), dict(ends[0].peers.observed())))
            if server is not None and server(k):
                break
            if wire.relay:
                ends[0].peers.relay()
        else:
            rows.append((state.round, state.x.copy(), dict(ends[0].peers.observed())))
        ends[0].stop()
        return rows

    def work(end):
        try:
            return worker(end)
        except Stopped:
            end.leave()
            return end

    rows, *results = scheduler.run([serve, *(lambda e=e: work(e) for e in ends[1:])])
    sent = sum(t.sent_bytes for t in transports)
    meter = ends[0].meter
    assert sent == meter.wire_bytes_up + meter.wire_bytes_down + (
        meter.wire_bytes_observed
    )
    assert sent == sum(t.received_bytes for t in transports)
    assert not any(
        queue for t in transports for queue in t._received
    )  # nothing is left
    return rows, results, ends


def exchanging(log):
    def worker(end):
        state = State()
        for k in end.rounds(state):
            own = np.full(DIM, 100 * end.worker + k, np.float32)
            heard = [
                (peer, float(end.up.decode(frame, DIM)[0]))
                for peer, frame in end.peers.exchange(end.up.encode(own))
            ]
            log.setdefault(end.worker, []).append(heard)

    return worker


@pytest.mark.parametrize("relay", [False, True])
@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("peers", [RING, COMPLETE, ((1,), (0, 2), (1,))])
def test_every_worker_receives_from_its_peers_in_order(peers, seed, relay):
    log = {}
    _, _, ends = run(exchanging(log), peers, seed=seed, relay=relay)
    for worker, of in enumerate(peers):
        assert log[worker] == [[(p, 100 * p + k) for p in of] for k in range(6)]
    messages = 6 * (len(peers) if relay else sum(map(len, peers)))
    assert ends[0].meter.uploads == messages
    assert ends[0].meter.paper_bits_up == messages * 32 * DIM
    down = 6 * sum(map(len, peers)) * 32 * DIM
    assert ends[0].meter.paper_bits_down == (down if relay else 0)


def test_a_frame_of_another_round_is_rejected_with_the_sender():
    def worker(end):
        state = State()
        state.round = int(end.worker == 1)
        end._context.round = state.round
        for _ in end.peers.exchange(end.up.encode(state.x)):
            pass

    text = r"worker (0|1): its message is of round \1, worker (0|1) is in round \2"
    with pytest.raises(LinkError, match=text):
        run(worker, ((1,), (0,)))


def test_a_message_that_is_not_a_frame_is_rejected_in_an_exchange():
    def worker(end):
        if end.worker == 0:
            list(end.peers.exchange(end.up.encode(np.zeros(DIM, np.float32))))
        end.push(None)
        end._context.transport.send(1, end._buffer.message(0, None))
        end.pull()

    with pytest.raises(LinkError, match="message from worker 1: a frame was expected"):
        run(worker, ((1,), (0,)))


def posting(seen, steps):
    """Take ``steps[worker]`` seconds a round; log the frames that arrive in it."""

    def worker(end):
        state = State()
        for k in end.rounds(state, until_stopped=True):
            end._context.transport.spend(steps[end.worker])
            end.peers.post(end.up.encode(np.full(DIM, k, np.float32)))
            for peer, frame in end.peers.latest():
                value = int(end.up.decode(frame, DIM)[0])
                seen.setdefault((end.worker, peer), []).append((k, value))

    return worker


def test_latest_frames_are_in_order_of_sending():
    seen = {}
    timed = {"network": SimulatedNetwork(latency=0.25), "measured": False, "free": True}
    rows, *_ = run(posting(seen, (1.0, 2.0, 8.0, 1.5)), rounds=20, every=5, **timed)
    assert [k for k, *_ in rows] == [0, 5, 10, 15, 20]
    for frames in seen.values():
        values = [value for _, value in frames]
        assert values == list(range(len(values)))  # none lost, none twice, in order
    # Worker 1 takes 2 s a round. At the end of its round k it has received what worker
    # 0 sent up to 2 (k + 1) - 1/4 s, which are the rounds 0 .. 2k.
    newest = dict(seen[1, 0])
    assert all(value == 2 * k for k, value in newest.items())
    assert len(newest) > 5


def test_a_slow_worker_keeps_no_other_waiting():
    seen = {}
    timed = {"network": SimulatedNetwork(), "measured": False, "free": True}
    _, _, ends = run(posting(seen, (1.0, 1.0, 50.0, 1.0)), rounds=30, **timed)
    done = [end.rounds_done for end in ends[1:]]
    assert min(done[0], done[1], done[3]) > 10 * done[2]


@pytest.mark.parametrize("seed", [None, 3, 4])
def test_free_workers_end_without_a_simulated_clock(seed):
    _, _, ends = run(posting({}, (0, 0, 0, 0)), rounds=9, free=True, seed=seed)
    assert np.mean([end.rounds_done for end in ends[1:]]) >= 8


@pytest.mark.parametrize("relay", [False, True])
def test_the_server_observes_mean_and_spread_of_the_models(relay):
    draw = np.random.default_rng(2)
    models = draw.normal(size=(7, 4, DIM)).astype(np.float32)

    def worker(end):
        state = State(models[0, end.worker].copy())
        for k in end.rounds(state):
            list(end.peers.exchange(end.up.encode(state.x)))
            state.x[:] = models[k + 1, end.worker]

    rows, *_ = run(worker, relay=relay)
    assert [k for k, *_ in rows] == [0, 2, 4, 6]
    last = None
    for k, x, facts in rows:
        mean = models[k].astype(np.float64).mean(axis=0)
        assert x.tobytes() == mean.astype(np.float32).tobytes()
        spread = ((models[k] - mean) ** 2).sum() / 4
        assert facts["consensus"] == pytest.approx(spread, rel=1e-12)
        drift = 0.0 if last is None else np.linalg.norm(mean - last)
        assert facts["drift"] == pytest.approx(drift, rel=1e-12)
        last = mean


def test_time_is_the_slowest_workers_and_excludes_observation():
    def worker(end):
        for _ in end.rounds(State()):
            end._context.transport.spend(1.0 + end.worker)
            list(end.peers.exchange(end.up.encode(np.zeros(DIM, np.float32))))

    slow = SimulatedNetwork(latency=0.5)
    rows, *_ = run(worker, COMPLETE, network=slow, measured=False)
    # Two rounds take the slowest worker 3 s each, and the others receive its frame half
    # a second later. After a report all clocks continue from the slowest one's.
    seconds = [facts["seconds"] for *_, facts in rows]
    np.testing.assert_allclose(seconds, [0, 6.5, 13, 19.5], atol=1e-9)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("way", ["sync", "relay", "free"])
@pytest.mark.parametrize("last", [0, 2, 4])
def test_a_stop_in_the_middle_ends_all_workers_in_order(way, last, seed):
    options = {} if way == "sync" else {way: True}
    worker = posting({}, (0, 0, 0, 0)) if way == "free" else exchanging({})
    _, results, ends = run(
        worker, seed=seed, server=lambda k: k == last, rounds=6, **options
    )
    assert results == ends[1:]  # every worker got STOP and left
    if way != "free":
        assert [end.rounds_done for end in ends[1:]] == [last] * 4


OPTIONS = {"data": "synthetic:softmax,samples=80,features=6", "workers": 4, "seed": 2}
OPTIONS |= {"rounds": 24, "evaluate_every": 6}
DSGD = ("dsgd", "d-psgd", "q-dsgd", "async-dsgd", "quantimed-dsgd")
SVRG = ("asylpg", "sparse-asylpg", "acc-asylpg", "asysvrg", "qsvrg")
SVRG += ("low-precision-model", "sparse-asysvrg")
NEW = {name: {"lr": 0.02} for name in DSGD} | {name: {"batch": 4} for name in SVRG}
NEW["quantimed-dsgd"] = {"lr": 0.02, "speeds": "uniform:10,90"}


@pytest.mark.parametrize("name", NEW)
def test_all_bytes_of_a_run_are_in_its_summary(name):
    summary = run_local(config.configure(name, **OPTIONS | NEW[name])).summary
    sent = sum(rank["bytes_sent"] for rank in summary["ranks"])
    kinds = ("wire_bytes_up", "wire_bytes_down", "wire_bytes_observed")
    assert sent == sum(summary[kind] for kind in kinds)
    assert sent == sum(rank["bytes_received"] for rank in summary["ranks"])


@pytest.mark.parametrize("name", ["dsgd", "q-dsgd", "quantimed-dsgd"])
def test_relaying_through_the_server_does_not_change_the_run(name):
    options = OPTIONS | NEW[name] | {"topology": "ring"}
    ways = [
        run_local(config.configure(name, relay=r, **options)) for r in (False, True)
    ]
    assert ways[0].x.tobytes() == ways[1].x.tobytes()
    facts = [[(r["loss"], r["consensus"], r["drift"]) for r in w.rows] for w in ways]
    assert facts[0] == facts[1]
