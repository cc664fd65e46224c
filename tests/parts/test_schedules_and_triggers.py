"""Keys, schedules, and the triggers of lazy uploads."""

import numpy as np
import pytest

from psmpi import random
from psmpi.base import ConfigError
from psmpi.parts import schedules
from psmpi.parts.schedules import SyncTimes
from psmpi.parts.triggers import CoinTrigger, LazyTrigger, Trigger, Window


def test_keys_are_frozen():
    assert random.key(0, "batch", 1, 2) == 18429678258575482774


@pytest.mark.parametrize(
    "other", [(1, "batch", 1, 2), (0, "up", 1, 2), (0, "batch", 2, 1), (0, "batch", 1)]
)
def test_keys_differ_by_each_of_their_parts(other):
    assert random.key(0, "batch", 1, 2) != random.key(*other)


def test_keys_are_uniform():
    bits = [
        random.key(0, "up", m, k) >> b & 1
        for m in range(8)
        for k in range(64)
        for b in (0, 31, 63)
    ]
    assert abs(np.mean(bits) - 0.5) < 4 * 0.5 / np.sqrt(len(bits))


def test_a_coin_falls_as_often_as_asked():
    heads = [random.coin(0.3, random.key(5, "skip", k)) for k in range(10_000)]
    assert abs(np.mean(heads) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 10_000)


@pytest.mark.parametrize(
    ("spec", "round_", "expected"),
    [
        ("constant", 100, 2.0),
        ("sqrt", 3, 1.0),
        ("inverse:10", 30, 0.5),
        ("drop:0.1@5,10", 4, 2.0),
        ("drop:0.1@5,10", 5, 0.2),
        ("drop:0.1@5,10", 10, 0.02),
        ("warmup:4", 0, 0.5),
        ("warmup:4", 9, 2.0),
        ("warmup:4+sqrt", 3, 1.0),
        ("warmup0:4", 0, 0.0),
        ("warmup0:4", 3, 1.5),
        ("warmup0:4", 4, 2.0),
        ("horizon", 7, 0.2),
        ("horizon:25", 7, 0.4),
    ],
)
def test_schedules(spec, round_, expected):
    assert schedules.schedule(2.0, spec, 100)(round_) == pytest.approx(expected)


@pytest.mark.parametrize(
    "spec",
    [
        *("", "cosine", "sqrt:2", "inverse:", "inverse:-1", "drop:0.1", "warmup:0"),
        *("warmup0:", "horizon:0", "horizon:x"),
    ],
)
def test_unreadable_schedules_are_refused(spec):
    with pytest.raises(ConfigError, match="lr-schedule: can't read"):
        schedules.schedule(1.0, spec)


@pytest.mark.parametrize("lr", [0, -1, float("nan"), float("inf")])
def test_a_step_size_must_be_positive(lr):
    with pytest.raises(ConfigError, match="lr: must be a positive number"):
        schedules.schedule(lr, "constant")


def test_synchronous_times_are_multiples_of_the_gap():
    times = SyncTimes(4)
    assert [t for t in range(1, 17) if times.due(t)] == [4, 8, 12, 16]


def test_own_times_have_gaps_of_one_to_h_each_as_often():
    found = []
    for worker in range(3):
        times = SyncTimes(4, own=(7, worker))
        found.append([t for t in range(1, 4001) if times.due(t)])
    assert found[0] != found[1]
    gaps = np.diff(found[0])
    counts = np.bincount(gaps, minlength=6)
    assert counts[0] == 0
    assert counts[5] == 0
    expected = gaps.size / 4
    assert (abs(counts[1:5] - expected) < 5 * np.sqrt(expected)).all()


def test_the_window_starts_warm():
    window = Window(3, 0.6)
    values = [window.value()]
    for change in (1.0, 2.0, 4.0, 8.0):
        window.add(change)
        values.append(window.value())
    expected = [0, 0.6 * 1, 0.3 * 3, 0.2 * 7, 0.2 * 14]
    assert values == pytest.approx(expected)


def lazy(**options):
    return LazyTrigger(
        **{"window": Window(2, 1.0), "workers": 3, "max_skip": 2} | options
    )


def ask(trigger, change_sq, error_sq=0.0, alpha=0.5):
    return trigger.fires(change_sq, error_sq, alpha, key=0)


def test_the_first_upload_is_never_skipped():
    assert ask(lazy(), 0.0, 1e9)


def test_equality_uploads():
    trigger = lazy(error_weight=0.0)
    ask(trigger, 1.0)
    trigger.moved(4.5)  # bound: 4.5 / (0.5 * 3)^2 = 2
    assert not ask(trigger, np.nextafter(2.0, 0))
    assert ask(trigger, 2.0)


def test_errors_of_now_and_of_the_last_upload_widen_the_bound():
    trigger = lazy()
    ask(trigger, 1.0, 0.5)
    assert not ask(trigger, 3 * (0.25 + 0.5) - 1e-9, 0.25)
    assert ask(trigger, 3 * (0.25 + 0.5), 0.25)
    assert trigger.uploaded_error_sq == 0.25


def test_a_worker_skips_at_most_max_skip_times():
    trigger = lazy()
    ask(trigger, 1.0)
    assert [ask(trigger, 0.0, 1.0) for _ in range(7)] == [0, 0, 1, 0, 0, 1, 0]


def test_nothing_new_is_not_uploaded():
    trigger = lazy(error_weight=0.0)
    ask(trigger, 1.0)
    assert not ask(trigger, 0.0)


def test_the_plain_trigger_always_fires():
    assert ask(Trigger(), 0.0, 1e9)


def test_a_coin_uploads_first():
    assert CoinTrigger(1e-9).fires(0.0, 0.0, 1.0, key=2**63)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_skip": -1}, "max-skip"),
        ({"error_weight": -0.1}, "error-weight"),
    ],
)
def test_bad_triggers_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        lazy(**options)


@pytest.mark.parametrize(
    ("window", "message"), [((0, 1), "window"), ((1, -1), "weight")]
)
def test_bad_windows_are_refused(window, message):
    with pytest.raises(ConfigError, match=message):
        Window(*window)
