"""How fast workers are: what was asked for, what is drawn, what a deadline allows."""

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
from psmpi.links.transport.simulation import Network
from psmpi.links.worker import Worker
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
def test_speeds_are_as_their_distribution(spec, mean, top):
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
def test_speeds_that_are_none(spec):
    with pytest.raises(ConfigError, match=r"speeds: can't read .*give constant:V"):
        Speeds.parse(spec)


def test_slowdowns():
    assert compute_speed.slowdowns("", 3) == {}
    assert compute_speed.slowdowns("1:10x", 3) == {1: 10}
    assert compute_speed.slowdowns("0:2, 2:1.5x", 3) == {0: 2, 2: 1.5}


@pytest.mark.parametrize(
    "spec", ["1", "1:", "1:x", "x:2", "1:0.5x", "1:nanx", "1:inf", "1:2y", "1.5:2x"]
)
def test_slowdowns_that_are_none(spec):
    with pytest.raises(ConfigError, match=r"slow: can't read .*WORKER:FACTORx"):
        compute_speed.slowdowns(spec, 3)


@pytest.mark.parametrize("worker", [-1, 3])
def test_a_slowdown_of_nobody(worker):
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
        ({"link_sharing": "bus"}, "link_sharing: must be one of pair, node"),
    ],
)
def test_a_run_refuses_them(option, text):
    with pytest.raises(ConfigError, match=text):
        run_local(
            config.configure("gd", workers=3, data="synthetic:quadratic", **option)
        )


def test_the_means_over_workers():
    speeds = Speeds.parse("uniform:10,30")
    assert compute_speed.average(speeds, {}, 4) == 20
    assert compute_speed.average(speeds, {1: 4.0}, 4) == 20 * (3 + 1 / 4) / 4
    assert compute_speed.fastest(speeds, {1: 4.0}, 2) == 30
    assert compute_speed.fastest(speeds, {0: 2.0, 1: 4.0}, 2) == 15
    assert compute_speed.average(None, {}, 4) is None
    assert compute_speed.fastest(None, {}, 4) is None


def test_speeds_are_drawn_anew_each_round_for_each_worker():
    made = ComputeSpeed(1, 5, Speeds.parse("uniform:10,90"), slow=2.0)
    seen = []
    for round_ in (0, 1, 0):
        made.begin(round_)
        seen.append(made.within(1e6))
    assert seen[0] == seen[2] != seen[1]
    other = ComputeSpeed(2, 5, Speeds.parse("uniform:10,90"), slow=2.0)
    other.begin(0)
    assert other.within(1e6) != seen[0]
    key = random.key(5, "speed", 1, 0)
    assert seen[0] == math.floor(Speeds.parse("uniform:10,90").draw(key) / 2 * 1e6)


@pytest.mark.parametrize(
    ("speed", "slow", "seconds", "samples"),
    [(10, 1, 0.55, 5), (10, 1, 0.5, 5), (10, 4, 0.5, 1), (10, 1, 0.09, 0)],
)
def test_samples_within_a_time_are_rounded_down(speed, slow, seconds, samples):
    made = ComputeSpeed(speeds=Speeds("constant", (speed,)), slow=slow)
    made.begin(0)
    assert made.within(seconds) == samples


def test_what_a_gradient_has_yet_to_take():
    assert ComputeSpeed().rest(10, 2.0) == 0.0
    assert ComputeSpeed(slow=10.0).rest(10, 2.0) == 18.0
    assert ComputeSpeed().within(3.0) is None
    made = ComputeSpeed(speeds=Speeds("constant", (5.0,)), slow=2.0)
    made.begin(0)
    assert made.rest(10, 1.0) == 3.0  # 10 samples at 2.5 a second, less what it took
    assert made.rest(0, 0.0) == 0.4  # without samples, a gradient counts as one
    assert made.behind == 0.0
    assert made.rest(10, 4.5) == 0.0
    assert made.rest(10, 5.0) == 0.0
    assert made.rest(10, 0.5) == 2.0  # what was late in a round is made up for in it
    assert made.rest(10, 5.5) == 0.0
    made.begin(1)
    assert made.behind == 1.5
    assert made.rest(10, 1.0) == 3.0


PLAN = Plan(workers=1, rounds=1, dim=4, bounds=(0, 4))
WIRE = Wire(Dense(), Dense(), peers=((),))


def until(deadline, samples, batch, cost, pace=None, measured=False, replay_log=None):
    """Return the batches of one deadline, the worker's end and its clock.

    ``cost``: seconds that a sample takes by itself.
    """

    def role(transport):
        end = Worker(transport, WIRE, PLAN, pace, replay_log)
        end.compute_speed.begin(0)
        sizes = []
        for size in end.until(deadline, samples, batch):
            sizes.append(size)
            begun = end.now()
            transport.spend(size * cost)
            end.hold(size, end.now() - begun)
        return sizes, end, end.now()

    scheduler, transports = local.connect(2, network=Network(), measured=measured)
    return scheduler.run([lambda: None, lambda: role(transports[1])])[1]


def test_batches_follow_each_other_until_the_deadline():
    sizes, end, now = until(1.0, 100, 4, cost=1 / 16)
    assert sizes == [4, 4, 4, 4]
    assert (end.meter.samples, end.meter.overshoot, now) == (16, 0.0, 1.0)
    assert end.replay_log.entries == [4, 4, 4, 4, 0]


def test_no_batch_is_begun_that_will_pass_the_deadline():
    sizes, end, now = until(1.0, 100, 4, cost=0.1)
    assert sizes == [4, 4, 2]
    assert end.meter.overshoot == pytest.approx(0.0, abs=1e-12)
    assert now == pytest.approx(1.0)


def test_the_batch_that_passes_the_deadline_is_overshoot():
    sizes, end, now = until(0.3, 100, 4, cost=0.1)  # nobody knows yet how long it takes
    assert sizes == [4]
    assert end.meter.overshoot == pytest.approx(0.1)
    assert now == pytest.approx(0.4)


def test_a_hiccup_locks_nobody_out():
    def role(transport):
        end, found = Worker(transport, WIRE, PLAN), []
        for cost in (1.0, 0.1, 0.1, 0.1):
            sizes = []
            for size in end.until(0.3, 100, 4):
                sizes.append(size)
                transport.spend(size * cost)
            found.append(sizes)
        return found

    scheduler, transports = local.connect(2, network=Network(), measured=False)
    found = scheduler.run([lambda: None, lambda: role(transports[1])])[1]
    assert found == [[4], [], [], [1, 2]]


def test_who_is_done_early_waits_until_the_deadline():
    sizes, end, now = until(1.0, 6, 4, cost=0.01)
    assert sizes == [4, 2]
    assert (end.meter.samples, end.meter.overshoot, now) == (6, 0.0, 1.0)
    assert end.meter.seconds["wait"] == pytest.approx(1 - 0.06)


def test_a_slowed_worker_does_less_by_the_deadline():
    plain, slow = (
        until(1.0, 999, 1, 0.01, ComputeSpeed(slow=s))[0] for s in (1.0, 10.0)
    )
    assert (sum(plain), sum(slow)) == (100, 10)


def constant(speed):
    return ComputeSpeed(speeds=Speeds("constant", (float(speed),)))


@pytest.mark.parametrize(
    ("speed", "samples", "sizes"),
    [(50, 999, [50]), (50.9, 999, [50]), (50, 20, [20]), (1, 999, [1]), (0.9, 9, [])],
)
def test_where_speeds_are_set_one_batch_is_all(speed, samples, sizes):
    found, end, now = until(1.0, samples, 4, 0.0, constant(speed))
    assert found == sizes
    assert end.meter.samples == sum(sizes)
    assert end.meter.overshoot == pytest.approx(0.0)
    assert now == pytest.approx(1.0)


def test_a_measured_deadline_ends_by_the_cpu_time():
    def role(transport):
        end = Worker(transport, WIRE, PLAN)
        begun = end.now()
        done = 0
        for size in end.until(0.05, 10**6, 2):
            done += size
            stop = time.thread_time() + 0.01
            while time.thread_time() < stop:
                pass
            time.sleep(0.02)  # which does not count
        return done, end.now() - begun, end.meter.overshoot

    scheduler, transports = local.connect(2, network=Network(), measured=True)
    _, (done, lasted, over) = scheduler.run([lambda: None, lambda: role(transports[1])])
    assert 2 <= done <= 10
    assert lasted >= 0.05
    assert over == pytest.approx(lasted - 0.05, abs=0.01)


def test_a_replay_of_a_deadline_waits_for_nothing():
    sizes, end, now = until(1.0, 99, 4, 0.0, replay_log=ReplayLog([3, 2, 0]))
    assert (sizes, now) == ([3, 2], 0.0)
    assert end.replay_log.used_up
    assert end.replay_log.entries == [3, 2, 0]


def computing(**given):
    """Return the seconds that each worker computed in a simulated run."""
    how = {"data": "synthetic:quadratic,dim=9", "workers": 4, "rounds": 30}
    summary = run_local(config.configure("gd", **how | given)).summary
    assert summary["clock"] == "simulated"
    return [rank["seconds"]["compute"] for rank in summary["ranks"][1:]], summary


def test_a_slowdown_is_of_exactly_that_worker():
    seconds, _ = computing(speeds="constant:10000", slow="3:10x")
    np.testing.assert_allclose(seconds, [3.0, 3.0, 3.0, 30.0])
    _, plain = computing(speeds="constant:10000")
    _, slowed = computing(speeds="constant:10000", slow="3:10x")
    assert plain["seconds"]["total"] == pytest.approx(3.0)
    assert slowed["seconds"]["total"] == pytest.approx(30.0)


def test_a_slowdown_of_what_is_measured():
    seconds, _ = computing(slow="3:1000x")
    assert seconds[3] > 20 * max(seconds[:3])
    assert max(seconds[:3]) > 0
