"""What senders remember: both ends agree to the bit, and nothing is lost."""

import numpy as np
import pytest

from psmpi.base import LinkError
from psmpi.codecs import Dense, Sign, Stochastic, TopK, Uniform
from psmpi.memory import Direct, ErrorFeedback, Innovation, expected

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


def test_error_feedback_keeps_what_was_not_sent():
    memory = ErrorFeedback(Sign(), DIM)
    x = vectors(np.float32)[0]
    memory.encode(x)  # no commit: skipped
    np.testing.assert_array_equal(memory.e, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_both_ends_hold_the_same_reference(codec, dtype):
    memory = Innovation(codec, np.zeros(DIM, dtype))
    held = np.zeros(DIM, dtype)
    for k, x in enumerate(vectors(dtype)):
        frame = memory.encode(x, k).copy()
        if k % 3:  # every third is skipped
            memory.accept(frame, held)
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


def test_direct_replaces():
    memory, x = Direct(Dense()), vectors(np.float32)[0]
    held = np.ones(DIM, np.float32)
    memory.accept(memory.encode(x), held)
    np.testing.assert_array_equal(held, x)


def test_a_missing_frame_is_an_error():
    with pytest.raises(LinkError, match="a frame was expected"):
        expected(None)
