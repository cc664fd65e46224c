"""Workers that exchange frames with each other, and what the server sees of them."""

import numpy as np
import pytest

from psmpi.base import LinkError, Plan, Stopped, Wire
from psmpi.codecs import Dense
from psmpi.links.server import Server
from psmpi.links.transport import local
from psmpi.links.transport.simulation import Network
from psmpi.links.worker import Worker
from psmpi.runs import config
from psmpi.runs.local import run_local

DIM = 5
RING = ((1, 3), (0, 2), (1, 3), (0, 2))
COMPLETE = ((1, 2), (0, 2), (0, 1))


class State:
    def __init__(self, x=None):
        self.round, self.x = 0, np.zeros(DIM, np.float32) if x is None else x


def play(worker, peers=RING, rounds=6, every=2, server=None, **options):
    """Run ``worker`` on each; return the server's rows, results, ends, transports."""
    given = {k: options.pop(k) for k in ("relay", "free") if k in options}
    wire = Wire(Dense(), Dense(), tree=False, peers=peers, **given)
    plan = Plan(
        **{"workers": len(peers), "rounds": rounds, "evaluate_every": every},
        **{"dim": DIM, "bounds": (0, DIM)},
    )
    scheduler, transports = local.connect(len(peers) + 1, **options)
    ends = [Server(transports[0], wire, plan)]
    ends += [Worker(t, wire, plan) for t in transports[1:]]

    def serve():
        state, rows = State(), []
        for k in ends[0].rounds(state):
            if k % every == 0:
                rows.append((k, state.x.copy(), dict(ends[0].observed())))
            if server is not None and server(k):
                break
            if wire.relay:
                ends[0].relay()
        else:
            rows.append((state.round, state.x.copy(), dict(ends[0].observed())))
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
    assert not any(inbox for t in transports for inbox in t._inboxes)  # all drained
    return rows, results, ends, transports


def exchanging(log):
    def worker(end):
        state = State()
        for k in end.rounds(state):
            own = np.full(DIM, 100 * end.worker + k, np.float32)
            heard = [
                (peer, float(end.up.decode(frame, DIM)[0]))
                for peer, frame in end.exchange(end.up.encode(own))
            ]
            log.setdefault(end.worker, []).append(heard)

    return worker


@pytest.mark.parametrize("relay", [False, True])
@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("peers", [RING, COMPLETE, ((1,), (0, 2), (1,))])
def test_each_hears_each_of_its_peers_in_order(peers, seed, relay):
    log = {}
    _, _, ends, _ = play(exchanging(log), peers, seed=seed, relay=relay)
    for worker, of in enumerate(peers):
        assert log[worker] == [[(p, 100 * p + k) for p in of] for k in range(6)]
    messages = 6 * (len(peers) if relay else sum(map(len, peers)))
    assert ends[0].meter.uploads == messages
    assert ends[0].meter.paper_bits_up == messages * 32 * DIM
    down = 6 * sum(map(len, peers)) * 32 * DIM
    assert ends[0].meter.paper_bits_down == (down if relay else 0)


def test_a_frame_of_another_round_is_refused_by_name():
    def worker(end):
        state = State()
        state.round = int(end.worker == 1)
        end.round = state.round
        for _ in end.exchange(end.up.encode(state.x)):
            pass

    text = r"worker (0|1): its message is of round \1, worker (0|1) is in round \2"
    with pytest.raises(LinkError, match=text):
        play(worker, ((1,), (0,)))


def test_what_is_not_a_frame_is_refused_in_an_exchange():
    def worker(end):
        if end.worker == 0:
            list(end.exchange(end.up.encode(np.zeros(DIM, np.float32))))
        end.push(None)
        end._transport.send(1, end._out.message(0, None))
        end.pull()

    with pytest.raises(LinkError, match="message from worker 1: a frame was expected"):
        play(worker, ((1,), (0,)))


def posting(seen, steps):
    """Take ``steps[worker]`` seconds a round; note each round what came."""

    def worker(end):
        state = State()
        for k in end.rounds(state, until_told=True):
            end._transport.spend(steps[end.worker])
            end.post(end.up.encode(np.full(DIM, k, np.float32)))
            for peer, frame in end.latest():
                value = int(end.up.decode(frame, DIM)[0])
                seen.setdefault((end.worker, peer), []).append((k, value))

    return worker


def test_the_latest_come_in_order_and_the_newest_is_last():
    seen = {}
    timed = {"network": Network(latency=0.25), "measured": False, "free": True}
    rows, *_ = play(posting(seen, (1.0, 2.0, 8.0, 1.5)), rounds=20, every=5, **timed)
    assert [k for k, *_ in rows] == [0, 5, 10, 15, 20]
    for frames in seen.values():
        values = [value for _, value in frames]
        assert values == list(range(len(values)))  # none lost, none twice, in order
    # Worker 1, at 2 s a round, has by the end of its round k all that worker 0 sent at
    # up to 2 (k + 1) - 1/4 s: its rounds 0 .. 2k.
    newest = dict(seen[1, 0])
    assert all(value == 2 * k for k, value in newest.items())
    assert len(newest) > 5


def test_who_is_slow_keeps_nobody_waiting():
    seen = {}
    timed = {"network": Network(), "measured": False, "free": True}
    _, _, ends, _ = play(posting(seen, (1.0, 1.0, 50.0, 1.0)), rounds=30, **timed)
    done = [end.rounds_done for end in ends[1:]]
    assert min(done[0], done[1], done[3]) > 10 * done[2]


@pytest.mark.parametrize("seed", [None, 3, 4])
def test_free_workers_end_without_a_simulated_clock(seed):
    _, _, ends, _ = play(posting({}, (0, 0, 0, 0)), rounds=9, free=True, seed=seed)
    assert np.mean([end.rounds_done for end in ends[1:]]) >= 8


@pytest.mark.parametrize("relay", [False, True])
def test_the_server_sees_the_mean_and_its_spread(relay):
    draw = np.random.default_rng(2)
    models = draw.normal(size=(7, 4, DIM)).astype(np.float32)

    def worker(end):
        state = State(models[0, end.worker].copy())
        for k in end.rounds(state):
            list(end.exchange(end.up.encode(state.x)))
            state.x[:] = models[k + 1, end.worker]

    rows, *_ = play(worker, relay=relay)
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


def test_time_is_the_slowest_worker_s_and_stops_while_the_server_looks():
    def worker(end):
        for _ in end.rounds(State()):
            end._transport.spend(1.0 + end.worker)
            list(end.exchange(end.up.encode(np.zeros(DIM, np.float32))))

    slow = Network(latency=0.5)
    rows, *_ = play(worker, COMPLETE, network=slow, measured=False)
    # Two rounds take the slowest 3 s each, and the others hear of it half a second
    # later; after a report all go on from there.
    seconds = [facts["seconds"] for *_, facts in rows]
    np.testing.assert_allclose(seconds, [0, 6.5, 13, 19.5], atol=1e-9)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("way", ["sync", "relay", "free"])
@pytest.mark.parametrize("last", [0, 2, 4])
def test_a_stop_in_the_middle_ends_all(way, last, seed):
    given = {} if way == "sync" else {way: True}
    worker = posting({}, (0, 0, 0, 0)) if way == "free" else exchanging({})
    _, results, ends, _ = play(
        worker, seed=seed, server=lambda k: k == last, rounds=6, **given
    )
    assert results == ends[1:]  # every worker has left in order
    if way != "free":
        assert [end.rounds_done for end in ends[1:]] == [last] * 4


HOW = {"data": "synthetic:softmax,samples=80,features=6", "workers": 4, "seed": 2}
HOW |= {"rounds": 24, "evaluate_every": 6}
DSGD = ("dsgd", "d-psgd", "q-dsgd", "async-dsgd", "quantimed-dsgd")
SVRG = ("asylpg", "sparse-asylpg", "acc-asylpg", "asysvrg", "qsvrg")
SVRG += ("low-precision-model", "sparse-asysvrg")
NEW = {name: {"lr": 0.02} for name in DSGD} | {name: {"batch": 4} for name in SVRG}
NEW["quantimed-dsgd"] = {"lr": 0.02, "speeds": "uniform:10,90"}


@pytest.mark.parametrize("name", NEW)
def test_all_bytes_of_a_run_are_in_its_summary(name):
    summary = run_local(config.configure(name, **HOW | NEW[name])).summary
    sent = sum(rank["bytes_sent"] for rank in summary["ranks"])
    kinds = ("wire_bytes_up", "wire_bytes_down", "wire_bytes_observed")
    assert sent == sum(summary[kind] for kind in kinds)
    assert sent == sum(rank["bytes_received"] for rank in summary["ranks"])


@pytest.mark.parametrize("name", ["dsgd", "q-dsgd", "quantimed-dsgd"])
def test_through_the_server_or_not_makes_no_difference(name):
    given = HOW | NEW[name] | {"topology": "ring"}
    ways = [run_local(config.configure(name, relay=r, **given)) for r in (False, True)]
    assert ways[0].x.tobytes() == ways[1].x.tobytes()
    facts = [[(r["loss"], r["consensus"], r["drift"]) for r in w.rows] for w in ways]
    assert facts[0] == facts[1]
