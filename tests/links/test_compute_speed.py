"""Speeds of workers: options, draws from distributions, and deadlines."""

import math
import time

import numpy as np
import pytest

from psmpi import random
from psmpi.base import ConfigError, Plan, Wire
from psmpi.codecs import Dense
from psmpi.links import compute_speed
from psmpi.links.compute_speed import ComputeSpeed, Speeds
from psmpi.links.replay_log import ReplayLog
from psmpi.links.transport import local
from psmpi.links.transport.simulation import SimulatedNetwork
from psmpi.links.worker import WorkerEnd
from psmpi.runs import config
from psmpi.runs.local import run_local

KEYS = [random.key(0, "speed", n) for n in range(20_000)]


@pytest.mark.parametrize(
    ("spec", "mean", "top"),
    [
        ("constant:7", 7, 7),
        ("constant:0.5", 0.5, 0.5),
        ("uniform:10,90", 50, 90),
        ("uniform:3,3", 3, 3),
        ("exponential:40", 40, math.inf),
    ],
)
def test_drawn_speeds_follow_their_distribution(spec, mean, top):
    speeds = Speeds.parse(spec)
    assert (speeds.mean, speeds.top) == (mean, top)
    drawn = np.array([speeds.draw(key) for key in KEYS])
    assert (drawn > 0).all()
    assert drawn.max() <= top
    spread = {"constant": 0.0, "uniform": (top - mean) / math.sqrt(3)}
    deviation = spread.get(speeds.kind, mean)
    assert drawn.std() == pytest.approx(deviation, rel=0.05)
    assert abs(drawn.mean() - mean) <= 5 * deviation / math.sqrt(len(KEYS))
    assert [speeds.draw(key) for key in KEYS[:9]] == drawn[:9].tolist()


@pytest.mark.parametrize(
    "spec",
    [
        *("", "fast", "constant", "constant:", "constant:0", "constant:-1"),
        *("constant:nan", "constant:inf", "constant:1,2", "uniform:5", "uniform:9,5"),
        *("uniform:0,5", "uniform:1,inf", "uniform:1,2,3", "exponential:0"),
        *("exponential:x", "gauss:1", "uniform:1;2"),
    ],
)
def test_invalid_speeds_are_rejected(spec):
    with pytest.raises(ConfigError, match=r"speeds: can't read .*give constant:V"):
        Speeds.parse(spec)


def test_slowdowns_are_parsed():
    assert compute_speed.slowdowns("", 3) == {}
    assert compute_speed.slowdowns("1:10x", 3) == {1: 10}
    assert compute_speed.slowdowns("0:2, 2:1.5x", 3) == {0: 2, 2: 1.5}


@pytest.mark.parametrize(
    "spec", ["1", "1:", "1:x", "x:2", "1:0.5x", "1:nanx", "1:inf", "1:2y", "1.5:2x"]
)
def test_invalid_slowdowns_are_rejected(spec):
    with pytest.raises(ConfigError, match=r"slow: can't read .*WORKER:FACTORx"):
        compute_speed.slowdowns(spec, 3)


@pytest.mark.parametrize("worker", [-1, 3])
def test_a_slowdown_of_a_worker_that_does_not_exist_is_rejected(worker):
    text = f"slow: there is no worker {worker}; they are 0 .. 2"
    with pytest.raises(ConfigError, match=text):
        compute_speed.slowdowns(f"{worker}:2x", 3)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"speeds": "light"}, "speeds: can't read 'light'"),
        ({"slow": "9:2x"}, "slow: there is no worker 9"),
        ({"slow": "1:2z"}, "slow: can't read '1:2z'"),
        ({"link_rate": -1.0}, "link-rate: must be a number of at least 0, got -1.0"),
        ({"link_latency": math.inf}, "link-latency: must be"),
        ({"timeout": math.nan}, "timeout: must be"),
        ({"link_sharing": "bus"}, "link-sharing: must be one of pair, node"),
    ],
)
def test_a_run_rejects_invalid_options(option, text):
    with pytest.raises(ConfigError, match=text):
        run_local(
            config.configure("gd", workers=3, data="synthetic:quadratic", **option)
        )


def test_average_and_fastest_speed_over_workers():
    speeds = Speeds.parse("uniform:10,30")
    assert compute_speed.average(speeds, {}, 4) == 20
    assert compute_speed.average(speeds, {1: 4.0}, 4) == 20 * (3 + 1 / 4) / 4
    assert compute_speed.fastest(speeds, {1: 4.0}, 2) == 30
    assert compute_speed.fastest(speeds, {0: 2.0, 1: 4.0}, 2) == 15
    assert compute_speed.average(None, {}, 4) is None
    assert compute_speed.fastest(None, {}, 4) is None


def test_every_round_and_worker_has_its_own_draw():
    speed = ComputeSpeed(1, 5, Speeds.parse("uniform:10,90"), slow=2.0)
    seen = []
    for round_ in (0, 1, 0):
        speed.begin(round_)
        seen.append(speed.samples_within(1e6))
    assert seen[0] == seen[2] != seen[1]
    other = ComputeSpeed(2, 5, Speeds.parse("uniform:10,90"), slow=2.0)
    other.begin(0)
    assert other.samples_within(1e6) != seen[0]
    key = random.key(5, "speed", 1, 0)
    assert seen[0] == math.floor(Speeds.parse("uniform:10,90").draw(key) / 2 * 1e6)


@pytest.mark.parametrize(
    ("speed", "slow", "seconds", "samples"),
    [(10, 1, 0.55, 5), (10, 1, 0.5, 5), (10, 4, 0.5, 1), (10, 1, 0.09, 0)],
)
def test_the_samples_within_a_time_are_rounded_down(speed, slow, seconds, samples):
    compute = ComputeSpeed(speeds=Speeds("constant", (speed,)), slow=slow)
    compute.begin(0)
    assert compute.samples_within(seconds) == samples


def test_how_much_longer_a_gradient_must_last():
    assert ComputeSpeed().remaining(10, 2.0) == 0.0
    assert ComputeSpeed(slow=10.0).remaining(10, 2.0) == 18.0
    assert ComputeSpeed().samples_within(3.0) is None
    compute = ComputeSpeed(speeds=Speeds("constant", (5.0,)), slow=2.0)
    compute.begin(0)
    assert (
        compute.remaining(10, 1.0) == 3.0
    )  # 10 samples at 2.5 a second, less what it took
    assert compute.remaining(0, 0.0) == 0.4  # without samples, a gradient counts as one
    assert compute.behind == 0.0
    assert compute.remaining(10, 4.5) == 0.0
    assert compute.remaining(10, 5.0) == 0.0
    assert (
        compute.remaining(10, 0.5) == 2.0
    )  # the excess shortens the next gradients of the round
    assert compute.remaining(10, 5.5) == 0.0
    compute.begin(1)
    assert compute.behind == 1.5
    assert compute.remaining(10, 1.0) == 3.0


PLAN = Plan(workers=1, rounds=1, dim=4, bounds=(0, 4))
WIRE = Wire(Dense(), Dense(), peers=((),))


def until(deadline, samples, batch, cost, speed=None, measured=False, replay_log=None):
    """Return the batches of one deadline, the worker's end and its clock's time.

    ``cost``: seconds that the computation of a sample takes.
    """

    def role(transport):
        end = WorkerEnd(transport, WIRE, PLAN, speed, replay_log)
        end.compute_speed.begin(0)
        sizes = []
        for size in end.clock.until(deadline, samples, batch):
            sizes.append(size)
            begun = end.clock.now()
            transport.spend(size * cost)
            end.clock.slow_down(size, end.clock.now() - begun)
        return sizes, end, end.clock.now()

    scheduler, transports = local.connect(
        2, network=SimulatedNetwork(), measured=measured
    )
    return scheduler.run([lambda: None, lambda: role(transports[1])])[1]


def test_batches_follow_each_other_until_the_deadline():
    sizes, end, now = until(1.0, 100, 4, cost=1 / 16)
    assert sizes == [4, 4, 4, 4]
    assert (end.meter.samples, end.meter.overshoot, now) == (16, 0.0, 1.0)
    assert end.replay_log.entries == [4, 4, 4, 4, 0]


def test_batches_are_shortened_to_end_before_the_deadline():
    sizes, end, now = until(1.0, 100, 4, cost=0.1)
    assert sizes == [4, 4, 2]
    assert end.meter.overshoot == pytest.approx(0.0, abs=1e-12)
    assert now == pytest.approx(1.0)


def test_a_batch_that_exceeds_the_deadline_counts_as_overshoot():
    sizes, end, now = until(0.3, 100, 4, cost=0.1)  # its duration is not known yet
    assert sizes == [4]
    assert end.meter.overshoot == pytest.approx(0.1)
    assert now == pytest.approx(0.4)


def test_one_slow_batch_does_not_prevent_later_ones():
    def role(transport):
        end, all_sizes = WorkerEnd(transport, WIRE, PLAN), []
        for cost in (1.0, 0.1, 0.1, 0.1):
            sizes = []
            for size in end.clock.until(0.3, 100, 4):
                sizes.append(size)
                transport.spend(size * cost)
            all_sizes.append(sizes)
        return all_sizes

    scheduler, transports = local.connect(2, network=SimulatedNetwork(), measured=False)
    sizes = scheduler.run([lambda: None, lambda: role(transports[1])])[1]
    assert sizes == [[4], [], [], [1, 2]]


def test_a_worker_without_samples_left_waits_until_the_deadline():
    sizes, end, now = until(1.0, 6, 4, cost=0.01)
    assert sizes == [4, 2]
    assert (end.meter.samples, end.meter.overshoot, now) == (6, 0.0, 1.0)
    assert end.meter.seconds["wait"] == pytest.approx(1 - 0.06)


def test_a_slower_worker_processes_fewer_samples():
    plain, slow = (
        until(1.0, 999, 1, 0.01, ComputeSpeed(slow=s))[0] for s in (1.0, 10.0)
    )
    assert (sum(plain), sum(slow)) == (100, 10)


def constant(speed):
    return ComputeSpeed(speeds=Speeds("constant", (float(speed),)))


@pytest.mark.parametrize(
    ("speed", "samples", "expected"),
    [(50, 999, [50]), (50.9, 999, [50]), (50, 20, [20]), (1, 999, [1]), (0.9, 9, [])],
)
def test_with_simulated_speeds_there_is_one_batch(speed, samples, expected):
    sizes, end, now = until(1.0, samples, 4, 0.0, constant(speed))
    assert sizes == expected
    assert end.meter.samples == sum(sizes)
    assert end.meter.overshoot == pytest.approx(0.0)
    assert now == pytest.approx(1.0)


def test_a_deadline_on_a_measured_clock_is_in_cpu_time():
    def role(transport):
        end = WorkerEnd(transport, WIRE, PLAN)
        begun = end.clock.now()
        done = 0
        for size in end.clock.until(0.05, 10**6, 2):
            done += size
            stop = time.thread_time() + 0.01
            while time.thread_time() < stop:
                pass
            time.sleep(0.02)  # not CPU time
        return done, end.clock.now() - begun, end.meter.overshoot

    scheduler, transports = local.connect(2, network=SimulatedNetwork(), measured=True)
    _, (done, lasted, over) = scheduler.run([lambda: None, lambda: role(transports[1])])
    assert 2 <= done <= 10
    assert lasted >= 0.05
    assert over == pytest.approx(lasted - 0.05, abs=0.01)


def test_a_replayed_deadline_does_not_wait():
    sizes, end, now = until(1.0, 99, 4, 0.0, replay_log=ReplayLog([3, 2, 0]))
    assert (sizes, now) == ([3, 2], 0.0)
    assert end.replay_log.exhausted
    assert end.replay_log.entries == [3, 2, 0]


def computing_times(**options):
    """Return each worker's seconds of computing in a simulated run, and its summary."""
    defaults = {"data": "synthetic:quadratic,dim=9", "workers": 4, "rounds": 30}
    summary = run_local(config.configure("gd", **defaults | options)).summary
    assert summary["clock"] == "simulated"
    return [rank["seconds"]["compute"] for rank in summary["ranks"][1:]], summary


def test_a_slowdown_affects_only_its_worker():
    seconds, _ = computing_times(speeds="constant:10000", slow="3:10x")
    np.testing.assert_allclose(seconds, [3.0, 3.0, 3.0, 30.0])
    _, plain = computing_times(speeds="constant:10000")
    _, slowed = computing_times(speeds="constant:10000", slow="3:10x")
    assert plain["seconds"]["total"] == pytest.approx(3.0)
    assert slowed["seconds"]["total"] == pytest.approx(30.0)


def test_a_slowdown_on_a_measured_clock():
    seconds, _ = computing_times(slow="3:1000x")
    assert seconds[3] > 20 * max(seconds[:3])
    assert max(seconds[:3]) > 0
