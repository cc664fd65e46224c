"""Properties of Sign, Plane and Ternary: fused feedback, majority votes, trits."""

import numpy as np
import pytest

from psmpi.base import Codec, ConfigError, FrameError
from psmpi.codecs import Majority, Plane, Sign, Ternary
from tests.reference import naive

DTYPES = (np.float32, np.float64)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
SIGNS = {
    "one": (lambda n: Sign()),
    "sevens": (lambda n: Sign(block=7)),
    "sixty-fours": (lambda n: Sign(block=64)),
    "tensors": (lambda n: Sign(bounds=(0, *sorted({1, 65, 70, n // 3, n - 1}), n))),
}


def feedback_inputs(n, dtype, seed=0):
    """Return two vectors with zeros of both signs, zero blocks and denormals."""
    rng = np.random.default_rng(seed)
    e, x = rng.standard_normal((2, n)).astype(dtype)
    e[rng.random(n) < 0.1] = -0.0
    x[rng.random(n) < 0.1] = 0.0
    e[70:160], x[70:160] = -0.0, 0.0
    e[90:120] = -0.0
    x[90:120] = -0.0
    e[5], x[5] = 1e-42, 0
    e[6], x[6] = 0.25, -0.25
    return e, x


def one_by_one(codec, e, x, ratio, key=0):
    """Error feedback by the default of Codec, step by step."""
    return Codec._encode_feedback(codec, e, x, ratio, None, np.uint64(key))


@dtypes
@pytest.mark.parametrize("with_x", [True, False], ids=["x", "no-x"])
@pytest.mark.parametrize("ratio", [1.0, 0.1, 10.0, 0.0, -1.5])
@pytest.mark.parametrize("n", [250, 1000, 1024, 9001])
@pytest.mark.parametrize("make", SIGNS.values(), ids=SIGNS)
def test_fused_feedback_equals_its_steps_one_by_one(make, n, ratio, with_x, dtype):
    codec = make(n)
    e, x = feedback_inputs(n, dtype)
    generic, fused = e.copy(), e.copy()
    for key in range(3):
        more = x * dtype(key + 1) if with_x else None
        frame = one_by_one(codec, generic, more, ratio, key)
        room = np.full(codec.max_nbytes(n) + 8, 0xA5, np.uint8)
        same = codec.encode_feedback(fused, more, ratio, room[3:-5], key)
        assert same.tobytes() == frame.tobytes()
        assert fused.tobytes() == generic.tobytes()
        assert (room[:3] == 0xA5).all()
        assert (room[3 + same.size :] == 0xA5).all()


@dtypes
@pytest.mark.parametrize("n", [*range(4), 63, 64, 65, 127])
def test_feedback_of_short_vectors(n, dtype):
    e = np.linspace(-1, 2, n).astype(dtype)
    generic, fused = e.copy(), e.copy()
    frame = one_by_one(Sign(), generic, e, 0.5)
    assert Sign().encode_feedback(fused, e, 0.5).tobytes() == frame.tobytes()
    assert fused.tobytes() == generic.tobytes()


@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_feedback_refuses_what_encode_refuses(value, dtype):
    e, x = np.ones((2, 90), dtype)
    x[[41, 80]] = value
    out = np.full(60, 0xA5, np.uint8)
    with pytest.raises(ConfigError, match=r"sign: x\[41\] is .*2 of 90"):
        Sign(block=8).encode_feedback(e, x, 1.0, out)
    assert (out == 0xA5).all()
    np.testing.assert_array_equal(e, 1 + x)  # as after the steps one by one


def test_feedback_distinguishes_overflow_from_infinity():
    e = np.full(20, np.float32(3e38))
    with pytest.raises(ConfigError, match=r"x\[0\] is inf"):
        Sign().encode_feedback(e, e.copy())
    for size in (1e300, 1.5e308):  # the second one's sum isn't finite, the entries are
        with pytest.raises(ConfigError, match="mean magnitude of a block"):
            Sign().encode_feedback(np.full(20, size))
        with pytest.raises(ConfigError, match="mean magnitude of a block"):
            Sign().encode(np.full(20, size))


def test_feedback_explains_wrong_vectors():
    e = np.ones(4, np.float32)
    with pytest.raises(ConfigError, match="x must be like e, 4 entries of float32"):
        Sign().encode_feedback(e, np.ones(4))
    with pytest.raises(ConfigError, match="got 1 of float32"):
        Sign().encode_feedback(e, e[:1])
    with pytest.raises(ConfigError, match="sign: e must be float32 or float64"):
        Sign().encode_feedback(np.ones(4, np.float16))
    with pytest.raises(ConfigError, match="ratio must be finite"):
        Sign().encode_feedback(e, ratio=np.nan)
    readonly = np.ones(4, np.float32)
    readonly.flags.writeable = False
    with pytest.raises(ConfigError, match="e must be writeable"):
        Sign().encode_feedback(readonly)
    Sign().encode_feedback(e, readonly)


@dtypes
def test_zero_blocks_send_a_scale_and_change_nothing(dtype):
    codec = Sign(bounds=(0, 3, 10, 75, 80, 90))
    x = np.random.default_rng(1).standard_normal(90).astype(dtype)
    x[3:10], x[75:80] = 0.0, -0.0
    frame = codec.encode(x)
    assert frame.size == 4 * 5 + (90 - 7 - 5 + 7) // 8
    assert codec.paper_bits(frame, 90) == 90 + 32 * 5
    out = np.full(90, -0.0, dtype)
    codec.decode_add(frame, out, 2.5)
    assert np.signbit(out[[*range(3, 10), *range(75, 80)]]).all()
    assert (out[3:10] == 0).all()
    assert codec.encode(np.zeros(90, dtype)).size == 20


def test_the_scales_determine_the_number_of_signs():
    codec = Sign(block=16)
    x = np.ones(40, np.float32)
    frame = codec.encode(x)
    silent = frame.copy()
    silent[:4] = 0  # the first block as a zero block: its 16 bits are too many
    with pytest.raises(FrameError, match="17 bytes for 40"):
        codec.decode_add(silent, x)
    codec.decode_add(np.delete(silent, [12, 13]), x)
    np.testing.assert_array_equal(x, [1] * 16 + [2] * 24)
    minus_zero = frame.copy()
    minus_zero[3] = 0x80
    with pytest.raises(FrameError, match="negative"):
        codec.decode_add(minus_zero, x)


@pytest.mark.parametrize("dim", [1, 7, 8, 63, 64, 65, 200, 4096, 9001])
@pytest.mark.parametrize("votes", range(1, 10))
def test_majority_equals_counting(votes, dim):
    rng = np.random.default_rng(votes)
    xs = rng.choice(np.array([-2, -0.0, 0, 1], np.float32), (votes, dim))
    vote = Majority(dim, votes)
    for _ in range(2):
        for number, x in enumerate(xs):
            negative = (xs[:number] < 0).sum(0)
            so_far = Plane().decode(vote.result(), dim)
            np.testing.assert_array_equal(so_far, 1 - 2 * (2 * negative > number))
            vote.add(Plane().encode(x))
        room = np.full(dim // 8 + 5, 0xA5, np.uint8)
        frame = vote.result(room)
        assert (room[frame.size :] == 0xA5).all()
        wanted = np.where(2 * (xs < 0).sum(0) > votes, -1, 1)
        np.testing.assert_array_equal(Plane().decode(frame, dim), wanted)
        vote.reset()


@pytest.mark.parametrize("votes", [2, 4, 6, 8])
def test_ties_are_decided_for_plus(votes):
    vote = Majority(100, votes)
    for number in range(votes):
        vote.add(Plane().encode(np.full(100, (-1.0) ** number)))
    assert not vote.result().any()


def test_majority_of_fewer_votes_than_most_votes():
    vote = Majority(10, 255)
    for _ in range(200):
        vote.add(Plane().encode(-np.ones(10)))
    np.testing.assert_array_equal(Plane().decode(vote.result(), 10), -np.ones(10))


def test_majority_refuses_damaged_frames_and_too_many_votes():
    vote = Majority(10, 1)
    good = Plane().encode(-np.ones(10, np.float32))
    for bad in (good[:1], np.append(good, good[:1]), good | np.uint8(4)):
        with pytest.raises(FrameError, match=r"plane: .*not a frame"):
            vote.add(bad)
    assert vote.votes == 0
    assert not vote.result().any()
    vote.add(good)
    with pytest.raises(ConfigError, match="1 votes already"):
        vote.add(good)
    assert vote.result().tobytes() == good.tobytes()
    with pytest.raises(ConfigError, match="a frame is a uint8 array"):
        vote.add(good.tobytes())
    with pytest.raises(ConfigError, match="max_nbytes"):
        vote.result(np.empty(1, np.uint8))
    with pytest.raises(ConfigError, match="most_votes must be at least 1, got 0"):
        Majority(10, 0)


@dtypes
@pytest.mark.parametrize("clip", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("n", [1, 6, 1281, 4000])
def test_trits_of_uneven_blocks_equal_the_naive_ones(n, clip, dtype):
    x = np.random.default_rng(n).standard_normal(n).astype(dtype)
    x[2:5], x[n // 2 : n // 2 + 40] = 0.0, -0.0
    bounds = (0, *sorted({1, 2, 5, n // 3 + 1, n // 2, n // 2 + 40} - {0, 1, n}), n)
    codec = Ternary(clip, bounds=tuple(b for b in bounds if b <= n))
    assert codec.encode(x, key=n).tobytes() == naive.encode(codec, x, n)
    wide = codec.decode(codec.encode(x, key=n), n, dtype=np.float64)
    scales = np.repeat(codec.encode(x)[: 4 * len(codec.bounds) - 4].view("<f4"),
                       np.diff(codec.bounds))  # fmt: skip
    assert np.isin(wide, [0, *scales, *-scales]).all()
    assert (wide * x >= 0).all()


@dtypes
def test_the_largest_entry_of_a_block_is_always_sent(dtype):
    x = np.random.default_rng(5).standard_normal(60).astype(dtype)
    codec = Ternary(block=20)
    tops = abs(x).reshape(3, 20).argmax(1) + 20 * np.arange(3)
    for key in range(2000):
        decoded = codec.decode(codec.encode(x, key=key), 60, dtype=np.float64)
        np.testing.assert_allclose(decoded[tops], x[tops], rtol=2**-23)


@dtypes
def test_the_mean_of_clipped_trits_is_the_clipped_vector(dtype):
    x = np.random.default_rng(6).standard_normal(40).astype(dtype)
    codec, keys = Ternary(1.2), 4000
    limit = 1.2 * np.std(x.astype(float))
    mean = (
        sum(
            codec.decode(codec.encode(x, key=key), 40, dtype=np.float64)
            for key in range(keys)
        )
        / keys
    )
    assert abs(mean - np.clip(x, -limit, limit)).max() < 5 * limit / 2 / keys**0.5
    assert not codec.unbiased
    assert Ternary().unbiased


@pytest.mark.parametrize("d", [1, 2, 16, 400])
def test_ternary_error_is_attained(d):
    x = np.full(d, 1 / (1 + d**0.5))
    x[d // 2] = -1
    errors = [
        (
            (Ternary().decode(Ternary().encode(x, key=key), d, dtype=float) - x) ** 2
        ).sum()
        for key in range(3000)
    ]
    slack = 5 * np.std(errors) / len(errors) ** 0.5 + 1e-6
    assert abs(np.mean(errors) / (x @ x) - Ternary().error(d)) <= slack / (x @ x)
    assert Ternary(2.5).error(d) == max(1, Ternary().error(d))


@dtypes
def test_zero_blocks_of_trits_send_a_scale_and_change_nothing(dtype):
    codec = Ternary(block=10)
    x = np.random.default_rng(1).standard_normal(35).astype(dtype)
    x[10:20] = -0.0
    frame = codec.encode(x)
    assert frame.size == 4 * 4 + 5
    assert codec.paper_bits(frame, 35) == 4 * 32 + 70
    out = np.full(35, -0.0, dtype)
    codec.decode_add(frame, out)
    assert np.signbit(out[10:20]).all()
    silent = codec.encode(np.zeros(35, dtype))
    assert silent.size == 16
    assert codec.paper_bits(silent, 35) == 4 * 32


@dtypes
def test_blocks_of_equal_entries_are_not_clipped(dtype):
    codec, x = Ternary(2.5, block=7), np.full(35, 0.1, dtype)
    decoded = codec.decode(codec.encode(x), 35, dtype=dtype)
    np.testing.assert_allclose(decoded, x, rtol=1e-6)


def test_bytes_that_are_not_trits_are_refused():
    x = np.array([1, -1, 1, -1, 1, -1, 1], np.float32)
    frame = Ternary().encode(x)
    np.testing.assert_array_equal(Ternary().decode(frame, 7), x)
    assert frame[4:].tolist() == [1 + 6 + 9 + 54 + 81, 2 + 3]
    for at, byte in ((4, 243), (4, 255), (5, 9), (5, 242)):
        bad = frame.copy()
        bad[at] = byte
        with pytest.raises(FrameError, match="trits"):
            Ternary().decode_add(bad, x)
    for bad in (frame[:5], frame[:4], frame[:3], np.append(frame, frame[:1])):
        with pytest.raises(FrameError, match="bytes for 7"):
            Ternary().decode_add(bad, x)
    np.testing.assert_array_equal(x, [1, -1, 1, -1, 1, -1, 1])
