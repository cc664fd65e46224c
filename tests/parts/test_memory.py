"""What senders remember: both ends agree to the bit, and nothing is lost."""

from types import SimpleNamespace

import numpy as np
import pytest

from psmpi import algorithms
from psmpi.base import LinkError, Plan
from psmpi.codecs import Dense, Sign, Stochastic, TopK, Uniform
from psmpi.parts.memory import (
    Accumulate,
    DecayedFeedback,
    Direct,
    ErrorFeedback,
    Innovation,
    Overwrite,
    expected,
)
from psmpi.problems import Quadratic

DIM = 101
CODECS = [Dense(), Uniform(4), Stochastic(3), Sign(), TopK(0.1)]
DTYPES = [np.float32, np.float64]


def vectors(dtype, count=50):
    rng = np.random.default_rng(3)
    return rng.normal(size=(count, DIM)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_error_feedback_loses_nothing(codec, dtype):
    # sum of decoded frames + e = sum of inputs
    memory = ErrorFeedback(codec, DIM, dtype)
    decoded = np.zeros(DIM)
    xs = vectors(dtype)
    for k, x in enumerate(xs):
        frame = memory.encode(x, k)
        decoded += codec.decode(frame, DIM, dtype=dtype)
        memory.commit()
    exact = xs.astype(np.float64).sum(0)
    scale = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(decoded + memory.e, exact, atol=50 * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_weigh_the_same_when_the_step_size_changes(dtype):
    # sum of eta C(p) + eta e = sum of eta x, also over steps of 0
    memory = ErrorFeedback(Sign(), DIM, dtype)
    etas = [0.0, 0.5, 0.5, 0.05, 0.0, 0.0, 0.005, 3.0]
    sent, exact = np.zeros(DIM), np.zeros(DIM)
    for k, (x, eta) in enumerate(zip(vectors(dtype), etas, strict=False)):
        frame = memory.encode(x, k, eta)
        sent += eta * Sign().decode(frame, DIM, dtype=np.float64)
        exact += eta * x.astype(np.float64)
        carried = memory.eta * memory.e
        scale = 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(sent + carried, exact, atol=10 * scale)


def test_errors_added_from_outside_are_sent():
    memory, x = ErrorFeedback(TopK(10), DIM, np.float64), vectors(np.float64)[0]
    memory.e += x
    sent = sum(TopK(10).decode(memory.flush(), DIM, dtype=float) for _ in range(11))
    np.testing.assert_allclose(sent, x, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(0.2, 0.9), (1.0, 0.5), (0.0, 0.0)])
def test_decayed_feedback_is_the_recursion(alpha, beta):
    # h_t = beta h_{t-1} + (g_{t-1} - gt_{t-1}),  gt_t = C(g_t + alpha h_t)
    memory = DecayedFeedback(Stochastic(3), DIM, np.float64, alpha, beta)
    h = np.zeros(DIM)
    for k, g in enumerate(vectors(np.float64)):
        frame = memory.encode(g, k)
        assert frame.tobytes() == Stochastic(3).encode(g + alpha * h, key=k).tobytes()
        h = beta * h + (g - Stochastic(3).decode(frame, DIM, dtype=np.float64))
        np.testing.assert_allclose(memory.h, h, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_both_ends_hold_the_same_reference(codec, dtype):
    memory = Innovation(codec, np.zeros(DIM, dtype))
    receiver, held = Accumulate(codec), np.zeros(DIM, dtype)
    for k, x in enumerate(vectors(dtype)):
        frame = memory.encode(x, k).copy()
        if k % 3:  # every third is skipped
            receiver.accept(frame, held)
            memory.commit()
        assert held.tobytes() == memory.reference.tobytes()


def test_an_innovation_knows_its_change_and_its_error():
    memory = Innovation(Uniform(2), np.zeros(DIM, np.float64))
    x = vectors(np.float64)[0]
    change = Uniform(2).decode(memory.encode(x), DIM, dtype=np.float64)
    assert memory.change_sq == pytest.approx(change @ change)
    assert memory.error_sq == pytest.approx((x - change) @ (x - change))


def test_what_a_sparse_innovation_leaves_out_comes_later():
    memory = Innovation(TopK(10), np.zeros(DIM, np.float64))
    x = vectors(np.float64)[0]
    for _ in range(11):
        memory.encode(x)
        memory.commit()
    np.testing.assert_allclose(memory.reference, x, rtol=1e-6)


def test_a_whole_vector_replaces_the_one_before():
    memory, x = Direct(Dense()), vectors(np.float32)[0]
    held = np.ones(DIM, np.float32)
    Overwrite(Dense()).accept(memory.encode(x), held)
    np.testing.assert_array_equal(held, x)


def arrays_of_size(thing, size, seen):
    """Return the ids of the arrays of ``size`` entries that an object holds."""
    if isinstance(thing, np.ndarray):
        return {id(thing)} if thing.size == size else set()
    if isinstance(thing, list | tuple | dict) or hasattr(thing, "__dict__"):
        if id(thing) in seen:
            return set()
        seen.add(id(thing))
        parts = thing if isinstance(thing, list | tuple) else None
        if parts is None:
            parts = (thing if isinstance(thing, dict) else vars(thing)).values()
        return set().union(*(arrays_of_size(part, size, seen) for part in parts))
    return set()


@pytest.mark.parametrize(
    ("algorithm", "options", "arrays"),
    [
        ("sgd", {}, 2),  # x, gradient
        ("dist-ef-sgd", {}, 3),  # and its residual; none for the downlink
        ("dist-ef-sgdm", {}, 4),  # and its velocity
        ("qgd", {}, 6),  # x, the one before, gradient, reference, change, error
        ("qgd", {"down_codec": "uniform"}, 6),  # none for a quantised downlink
    ],
)
def test_a_worker_allocates_no_array_that_it_does_not_use(algorithm, options, arrays):
    method = algorithms.make(algorithm, **options)
    problem = Quadratic(dim=77)
    plan = Plan(workers=1, rounds=1, dim=77, bounds=(0, 77))
    wire = method.wire(plan)
    link = SimpleNamespace(up=wire.up, down=wire.down, worker=0, workers=1)
    state = method.worker_state(link, problem, plan)
    assert len(arrays_of_size(state, 77, set())) == arrays


def test_a_missing_frame_is_an_error():
    with pytest.raises(LinkError, match="a frame was expected"):
        expected(None)
