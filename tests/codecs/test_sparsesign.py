"""SparseSign: tight error bounds, and the same bytes from a support alone."""

import math
import tracemalloc

import numpy as np
import pytest

from psmpi.base import ConfigError, FrameError
from psmpi.codecs import SparseSign
from tests.helpers import codec_table
from tests.reference import naive

dtypes = pytest.mark.parametrize("dtype", codec_table.DTYPES)
budgets = pytest.mark.parametrize("budget", [1.0, 0.5, 0.07])
draw = codec_table.draw


def decode(codec, x, key=0):
    return codec.decode(codec.encode(x, key=key), x.size, dtype=np.float64)


@dtypes
@budgets
@pytest.mark.parametrize("vector", codec_table.VECTORS)
def test_the_frame_from_a_support_is_that_of_the_vector(vector, budget, dtype):
    codec = SparseSign(budget)
    for n in (0, 1, 17, 300, 4000):
        x = draw(vector, n, dtype, seed=n)
        x[np.random.default_rng(n).random(n) < 0.5] = 0
        # Entries that are 0 may be in the support, or not.
        some = np.flatnonzero((x != 0) | (np.arange(n) % 3 == 0))
        for support in (np.flatnonzero(x), some, np.arange(n)):
            for key in (0, 5, 2**64 - 1):
                frame = codec.encode(x, key=key)
                again = codec.encode_at(support, x[support], n, key=key)
                assert again.tobytes() == frame.tobytes()


@budgets
def test_the_frame_from_a_support_is_written_into_its_buffer(budget):
    codec = SparseSign(budget)
    for dim, share in [(8, 1), (50, 0.9), (1000, 0.02), (2**20, 1e-5), (2**20, 0.3)]:
        rng = np.random.default_rng(dim)
        support = np.flatnonzero(rng.random(dim) < share)
        values = rng.standard_normal(support.size)
        x = np.zeros(dim)
        x[support] = values
        buffer = np.full(codec.max_nbytes(dim) + 8, 0xA5, np.uint8)
        for key in range(5):
            frame = codec.encode_at(support, values, dim, buffer[3:-5], key)
            assert np.shares_memory(frame, buffer)
            assert frame.tobytes() == codec.encode(x, key=key).tobytes()
        assert (buffer[:3] == 0xA5).all()
        assert (buffer[3 + codec.max_nbytes(dim) :] == 0xA5).all()


def test_encode_at_allocates_in_proportion_to_the_support():
    codec, support = SparseSign(), np.array([3, 10**6, 4 * 10**9])
    values = np.array([1.0, -1.0, 1.0], np.float32)
    codec.encode_at(support, values, 2**32)
    tracemalloc.start()
    frame = codec.encode_at(support, values, 2**32)
    assert tracemalloc.get_traced_memory()[1] < 10**5
    tracemalloc.stop()
    assert frame.size < 30
    assert codec.paper_bits(frame, 2**32) == 32 + 3 * 33


@dtypes
@budgets
def test_entries_are_kept_with_their_probability(budget, dtype):
    codec, keys = SparseSign(budget), 4000
    x = draw("normal", 60, dtype)
    top = np.abs(x).max()
    kept = np.zeros(60)
    for key in range(keys):
        decoded = decode(codec, x, key)
        chosen = decoded != 0
        expected = np.sign(x[chosen]) * float(top) / budget
        np.testing.assert_allclose(decoded[chosen], expected, rtol=1e-6)
        kept += chosen
    chance = budget * np.abs(x) / top
    deviation = (chance * (1 - chance) / keys) ** 0.5
    assert (abs(kept / keys - chance) <= 5 * deviation + 1e-6).all()


@budgets
@pytest.mark.parametrize("dim", [1, 2, 17, 400])
def test_the_error_bound_is_attained(budget, dim):
    # One entry 1, the others 1 / (1 + sqrt(d)); the mean square is s ||x||_1.
    codec, keys = SparseSign(budget), 3000
    x = np.full(dim, 1 / (1 + math.sqrt(dim)))
    x[dim // 3] = 1
    square, scale = np.sum(x**2), 1 / budget
    assert scale * np.sum(x) / square - 1 == pytest.approx(codec.error(dim), abs=1e-12)
    errors = [np.sum((decode(codec, x, key) - x) ** 2) / square for key in range(keys)]
    slack = 5 * np.std(errors) / keys**0.5 + 1e-6
    assert np.mean(errors) == pytest.approx(codec.error(dim), abs=slack)


@budgets
def test_no_vector_exceeds_the_error_bound(budget):
    codec, rng = SparseSign(budget), np.random.default_rng(1)
    for dim in (1, 2, 3, 10, 100):
        for power in (0, 0.1, 0.5, 1, 2, 5):
            x = rng.random(dim) ** power + 1e-9
            exact = x.max() * x.sum() / (budget * np.sum(x**2)) - 1
            assert exact <= codec.error(dim) + 1e-12


def test_the_largest_entry_is_always_sent_at_budget_one():
    x = draw("normal", 99)
    for key in range(200):
        assert decode(SparseSign(), x, key)[np.argmax(np.abs(x))] != 0
    frame = SparseSign(0.001).encode(np.array([0, 1.0, 0]))
    assert frame.tobytes() == naive.f32(1000) + bytes(2)  # nobody
    assert not SparseSign().decode(frame, 3).any()
    for x in (np.zeros(5), -np.zeros(5), np.empty(0)):
        assert SparseSign().encode(x).tobytes() == bytes(4)
        assert SparseSign().encode_at(np.empty(0, int), x[:0], 5).tobytes() == bytes(4)


def test_forged_frames_are_refused():
    x = np.zeros(100)
    x[[5, 33, 34]] = 4, -4, 4
    codec, out = SparseSign(), np.ones(100)
    frame = codec.encode(x)
    assert frame[4:7].tolist() == [frame[4], 3, 0b010]
    hostile = [frame[:size] for size in range(frame.size)]
    hostile += [[*naive.f32(v), *frame[4:]] for v in (0.0, -0.0, -1, np.inf, np.nan)]
    hostile += [np.append(frame, 0), [*frame[:6], 0b1010, *frame[7:]]]
    hostile += [[*frame[:5], 4, *frame[6:]], [*frame[:4], 34, *frame[5:]]]
    for bad in hostile:
        with pytest.raises(FrameError, match="sparsesign: "):
            codec.decode_add(np.array(bad, np.uint8), out)
    with pytest.raises(FrameError):
        codec.decode_add(frame, np.ones(0))
    with pytest.raises(FrameError):
        codec.paper_bits(frame[:3], 100)
    assert (out == 1).all()


ONES = np.ones(3)


@pytest.mark.parametrize(
    ("support", "values", "message"),
    [
        ([0, 1, 2], ONES, "support must be an int64 array"),
        (np.arange(3, dtype=np.int32), ONES, "support must be an int64 array"),
        (np.arange(2), ONES, "an index for each of 3 values"),
        (np.array([0, 2, 2]), ONES, "ascend, without repeats, in 0..9"),
        (np.array([0, 2, 1]), ONES, "ascend"),
        (np.array([-1, 2, 3]), ONES, "ascend"),
        (np.array([1, 2, 10]), ONES, "ascend"),
        (np.arange(3), np.array([1, np.nan, 1]), r"values\[1\] is nan"),
        (np.arange(3), ONES * 1e300, "largest entry over the budget does not fit"),
        (np.arange(3), [1.0], "values must be a NumPy array"),
    ],
)
def test_invalid_supports_are_refused(support, values, message):
    out = np.full(SparseSign().max_nbytes(10), 7, np.uint8)
    with pytest.raises(ConfigError, match=f"sparsesign: .*{message}"):
        SparseSign().encode_at(support, values, 10, out)
    assert (out == 7).all()


@dtypes
def test_supports_of_any_memory_layout(dtype):
    x, codec = np.array([0, 3, 0, -3, 0, 3], dtype), SparseSign()
    frame = codec.encode(x)
    support = np.array([1, 0, 3, 0, 5, 0])[::2]
    values = x[support]
    assert codec.encode_at(support, values, 6).tobytes() == frame.tobytes()
    support = support.copy()
    support.flags.writeable = values.flags.writeable = False
    assert codec.encode_at(support, values, 6, key=0).tobytes() == frame.tobytes()
