"""Metered problems and the send buffer of frames."""

import inspect

import numpy as np
import pytest

from psmpi.base import ConfigError, Problem
from psmpi.codecs import Dense
from psmpi.links.envelope import unseal
from psmpi.links.messages import FrameBuffer
from psmpi.links.metering import Meter, MeteredProblem
from psmpi.problems import make_problem


def metered(problem, **options):
    times = iter(range(1000))
    return MeteredProblem(problem, Meter(lambda: float(next(times))), **options)


def test_a_metered_problem_forwards_every_method():
    methods = {
        name
        for name, _ in inspect.getmembers(Problem, inspect.isfunction)
        if not name.startswith("_")
    }
    assert "accuracy" in methods
    assert methods <= set(vars(MeteredProblem))


def test_a_metered_problem_has_the_accuracy_and_optimum_of_its_problem():
    class Known(type(make_problem("synthetic:quadratic,dim=5"))):
        def accuracy(self, x):
            return 0.75

        def optimum(self):
            return 0.125

    problem = make_problem("synthetic:quadratic,dim=5")
    problem.__class__ = Known
    own = metered(problem)
    assert own.accuracy(np.zeros(5, np.float32)) == 0.75
    assert own.optimum() == 0.125
    assert (own.dim, own.bounds, own.samples) == (5, problem.bounds, problem.samples)
    assert own.digest() == problem.digest()
    assert own.smoothness() == problem.smoothness()


def test_a_metered_gradient_is_measured_and_slowed_down():
    slowed = []
    problem = make_problem("synthetic:quadratic,dim=5,noise=0.1")
    own = metered(problem, slow_down=lambda *args: slowed.append(args))
    x, expected, out = (np.ones(5, np.float32) for _ in range(3))
    loss = problem.grad(x, expected)
    assert own.grad(x, out) == loss
    assert out.tobytes() == expected.tobytes()
    assert slowed == [(problem.samples, 1.0)]
    assert own._meter.seconds["compute"] == 3.0


def test_a_gradient_that_is_not_finite_is_rejected():
    own = metered(make_problem("synthetic:quadratic,dim=5"))
    x = np.full(5, np.inf, np.float32)
    with pytest.raises(ConfigError, match="the gradient's entry 0 is"):
        own.grad(x, np.zeros(5, np.float32))


DIM = 6


def sent(buffer, frame):
    """Return the frame in the message that the buffer makes of ``frame``."""
    return unseal(buffer.message(3, frame), Dense.wire_id, "x").frame.tobytes()


def test_a_frame_that_is_encoded_into_the_buffer_is_sent_without_a_copy():
    buffer = FrameBuffer(Dense(), DIM)
    x = np.arange(DIM, dtype=np.float32)
    frame = Dense().encode(x, buffer.space)
    message = buffer.message(3, frame)
    assert np.shares_memory(message, frame)
    assert sent(buffer, frame) == x.tobytes()


@pytest.mark.parametrize("copies", [1, 2])
def test_a_frame_from_elsewhere_is_copied_into_the_buffer(copies):
    buffer = FrameBuffer(Dense(), DIM)
    for seed in range(copies):
        x = np.arange(seed, DIM + seed, dtype=np.float32)
        assert sent(buffer, Dense().encode(x)) == x.tobytes()


def test_a_part_of_the_buffer_is_moved_to_its_start():
    """A view that begins elsewhere in the buffer must not be sent as it lies there."""
    buffer = FrameBuffer(Dense(), DIM)
    buffer.space[:] = np.arange(buffer.space.size)
    part = buffer.space[4:]
    expected = part.tobytes()
    assert sent(buffer, part) == expected


def test_an_empty_frame_is_a_message_with_data():
    assert sent(FrameBuffer(Dense(), DIM), np.empty(0, np.uint8)) == b""
