"""What every codec promises, for all codecs and kinds of vectors of the table."""

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from psmpi import codecs
from psmpi.base import Codec, ConfigError, FrameError
from psmpi.codecs import (
    Bernoulli,
    Dense,
    Sign,
    SignTopK,
    Sparse,
    Stochastic,
    TopK,
    Uniform,
    Wangni,
)
from tests.helpers.codec_table import (
    LENGTHS,
    ROWS,
    TABLE,
    Message,
    codecs_,
    draw,
    draw_for,
    dtypes,
    vectors,
)
from tests.reference import naive

GOLDEN = Path(__file__).parents[1] / "golden"
DTYPE_NAMES = ("float32", "float64")


def leaves(cls):
    below = [leaf for sub in cls.__subclasses__() for leaf in leaves(sub)]
    return below or [cls]


def test_registry_is_complete():
    """Every codec of psmpi is in ``CODECS`` under its id and has a row in the table."""
    found = {cls for cls in leaves(Codec) if cls.__module__.startswith("psmpi.codecs")}
    assert found == set(codecs.CODECS.values())
    assert all(cls.id == id for id, cls in codecs.CODECS.items())
    assert list(codecs.CODECS) == sorted(codecs.CODECS)
    assert set(ROWS) == set(codecs.CODECS)
    for id, row in ROWS.items():
        assert row.instances
        assert {type(codec) for codec in row.instances.values()} == {codecs.CODECS[id]}
    composed = {codecs.CODECS[id] for id, row in ROWS.items() if row.is_composed}
    assert set(codecs.COMPOSED) == composed


def test_wire_ids_are_unique_and_without_gaps():
    """The next codec takes the lowest free number of 1..127, the one after the last."""
    used = sorted(cls.wire_id for cls in codecs.CODECS.values())
    free = sorted(set(range(1, 128)) - set(used))
    assert used == list(range(1, len(used) + 1)), f"free wire ids: {free}"


@codecs_
@dtypes
@pytest.mark.parametrize("n", LENGTHS)
def test_frames_equal_those_of_the_naive_encoder(codec, n, dtype):
    x = draw("normal", n, dtype, seed=n)
    assert codec.encode(x, key=n + 1).tobytes() == naive.encode(codec, x, n + 1)


@codecs_
@vectors
def test_frames_of_special_vectors_equal_the_naive_ones(codec, vector):
    x = draw_for(codec, vector, 100)
    assert codec.encode(x, key=2**64 - 1).tobytes() == naive.encode(codec, x, 2**64 - 1)


@codecs_
@dtypes
@pytest.mark.parametrize("n", LENGTHS)
def test_encode_and_decode_write_only_inside_their_buffers(codec, n, dtype):
    x = draw("normal", n, dtype)
    buffer = np.full(codec.max_nbytes(n) + 16, 0xA5, np.uint8)
    frame = codec.encode(x, buffer[5:-11], key=3)
    assert np.shares_memory(frame, buffer) or not frame.size
    assert (buffer[:5] == 0xA5).all()
    assert (buffer[5 + codec.max_nbytes(n) :] == 0xA5).all()
    assert frame.tobytes() == codec.encode(x, key=3).tobytes()
    out = np.full(n + 8, 7, dtype)
    codec.decode_add(frame, out[4 : n + 4], scale=0.0)
    assert (out == 7).all()
    decoded = codec.decode(frame, n, dtype=dtype)
    wide = codec.decode(frame, n, dtype=np.float64)
    np.testing.assert_array_equal(decoded, wide.astype(dtype))


@codecs_
@pytest.mark.parametrize("scale", [1.0, -1.0, 0.5, 3.7])
def test_decode_add_is_linear_in_scale(codec, scale):
    x = draw("normal", 300)
    frame = codec.encode(x, key=9)
    out = np.ones(300)
    codec.decode_add(frame, out, scale)
    expected = 1 + scale * codec.decode(frame, 300, dtype=np.float64)
    np.testing.assert_allclose(out, expected, rtol=1e-13, atol=1e-13)


@codecs_
@vectors
@dtypes
def test_paper_bits(codec, vector, dtype):
    n = 700
    frame = codec.encode(draw_for(codec, vector, n, dtype), key=4)
    row = ROWS[codec.id]
    spare = 8 * frame.size - codec.paper_bits(frame, n)
    assert spare <= 7 + row.extra_bits
    assert spare >= 0 or row.is_coded
    assert codec.paper_bits(frame, n) == row.paper_bits(Message(codec, frame, n))


def relative_error(codec, x, key):
    frame = codec.encode(x, key=key)
    decoded = codec.decode(frame, x.size, dtype=np.float64)
    total = math.fsum(x.astype(float) ** 2)
    return math.fsum((decoded - x) ** 2) / total if total else abs(decoded).max()


@codecs_
@vectors
@dtypes
@pytest.mark.parametrize("n", [1, 17, 300])
def test_the_mean_error_is_within_the_bound(codec, vector, n, dtype):
    x = draw_for(codec, vector, n, dtype)
    keys = range(200 if ROWS[codec.id].is_random else 1)
    errors = [relative_error(codec, x, key) for key in keys]
    slack = 5 * np.std(errors) / len(errors) ** 0.5
    assert np.mean(errors) <= codec.error(n) * (1 + 1e-6) + slack + 1e-12


RANDOM = {
    name: codec
    for name, codec in TABLE.items()
    if codec.unbiased and ROWS[codec.id].is_random
}


@pytest.mark.parametrize("codec", RANDOM.values(), ids=RANDOM)
@dtypes
def test_unbiased_codecs_have_the_vector_as_mean(codec, dtype):
    keys, x = 4000, draw("normal", 40, dtype)
    total, squares = np.zeros(40), np.zeros(40)
    for key in range(keys):
        decoded = codec.decode(codec.encode(x, key=key), 40, dtype=np.float64)
        total += decoded
        squares += (decoded - x) ** 2
    deviation = (squares / keys) ** 0.5
    # Never-drawn neighbours hide deviations of up to a step / sqrt(keys).
    floor = 2e-3 * abs(x).max() / keys**0.5 + 1e-7 * abs(x).max()
    assert (abs(total / keys - x) <= 5 * deviation / keys**0.5 + floor).all()


@dtypes
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 13, 16])
@pytest.mark.parametrize("key", [0, 1, 77])
def test_stochastic_keeps_grid_points(bits, dtype, key):
    codec = Stochastic(bits, "max")
    first = codec.decode(codec.encode(draw("normal", 999, dtype)), 999, dtype=dtype)
    again = codec.decode(codec.encode(first, key=key), 999, dtype=dtype)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    "codec", [Sign(), Sign(block=64), Sign(bounds=(0, 1, 65, 500))]
)
@vectors
def test_the_error_of_sign_is_its_formula(codec, vector):
    x = draw(vector, 500).astype(float)
    bounds = codec.blocks(500)
    parts = [x[a:b] for a, b in itertools.pairwise(bounds)]
    gained = sum(abs(part).sum() ** 2 / part.size for part in parts)
    error = ((codec.decode(codec.encode(x), 500, dtype=np.float64) - x) ** 2).sum()
    square = (x**2).sum()
    assert error == pytest.approx(square - gained, rel=1e-6, abs=1e-6 * square)


@pytest.mark.parametrize("bits", [1, 4, 16])
@vectors
def test_uniform_is_within_tau_radius(bits, vector):
    x = draw(vector, 500)
    decoded = Uniform(bits).decode(Uniform(bits).encode(x), 500, dtype=np.float64)
    radius = float(abs(x).max())
    assert abs(decoded - x).max() <= radius * (1 / (2**bits - 1) + 2**-52)


def test_topk_prefers_the_lower_index_and_sends_no_zeros():
    x = np.array([1, -2, 2, 0, -1, 1, 2], np.float32)
    decoded = TopK(4).decode(TopK(4).encode(x), 7)
    np.testing.assert_array_equal(decoded, [1, -2, 2, 0, 0, 0, 2])
    frame = TopK(5).encode(np.array([0, 0, 3, 0, -0.0], np.float32))
    assert TopK(5).paper_bits(frame, 5) == 32 + 3


@pytest.mark.parametrize(
    ("k", "dim", "count"),
    [(0.01, 7850, 79), (0.07, 100, 7), (0.5, 1, 1), (0.001, 10, 1), (40, 7850, 40)],
)
def test_k_is_a_fraction_or_a_count(k, dim, count):
    assert TopK(k).most(dim) == count


def exact_vector(n):
    """Return multiples of 1/256, which are exact in every type and on every machine."""
    return ((np.arange(n, dtype=np.int64) * 7919 + 13) % 2003 - 1001) / 256


@codecs_
@dtypes
def test_frames_are_the_recorded_ones(codec, dtype, request):
    name = f"{request.node.callspec.id}.bin"
    frame = codec.encode(exact_vector(203).astype(dtype), key=20240229)
    if request.config.getoption("--regen-golden"):
        (GOLDEN / name).write_bytes(frame.tobytes())
    assert frame.tobytes() == (GOLDEN / name).read_bytes()


def test_every_recorded_frame_belongs_to_a_codec():
    expected = {f"{dtype}-{name}.bin" for name in TABLE for dtype in DTYPE_NAMES}
    assert {path.name for path in GOLDEN.iterdir()} == expected


@codecs_
@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_refused(codec, dtype, value):
    x = draw("normal", 90, dtype)
    x[[41, 80]] = value
    out = np.full(codec.max_nbytes(90), 0xA5, np.uint8)
    with pytest.raises(ConfigError, match=r"x\[41\] is .*2 of 90"):
        codec.encode(x, out)
    assert (out == 0xA5).all()


WRONG = {
    "list": [1.0],
    "int": np.ones(4, int),
    "half": np.ones(4, np.float16),
    "big-endian": np.ones(4, ">f4"),
    "matrix": np.ones((2, 2), np.float32),
    "strided": np.ones(8, np.float32)[::2],
}


@codecs_
@pytest.mark.parametrize("x", WRONG.values(), ids=WRONG)
def test_wrong_vectors_are_refused(codec, x):
    with pytest.raises(ConfigError, match=codec.id):
        codec.encode(x)
    with pytest.raises(ConfigError, match=f"{codec.id}: out"):
        codec.decode_add(codec.encode(np.ones(4, np.float32)), x)


@codecs_
def test_small_buffers_are_refused(codec):
    out = np.zeros(codec.max_nbytes(50) - 1, np.uint8)
    with pytest.raises(ConfigError, match="max_nbytes"):
        codec.encode(np.ones(50, np.float32), out)
    assert not out.any()


# Codecs that send float64 or no magnitude, or have a range of their own.
WIDE = ("dense64", "plane", "sparse64", "decimal", "decimal0", "decimal7")
NARROW = {id: c for id, c in TABLE.items() if id not in WIDE}


@pytest.mark.parametrize("codec", NARROW.values(), ids=NARROW)
def test_overflow_of_float32_is_refused(codec):
    with pytest.raises(ConfigError, match="does not fit into a float32"):
        codec.encode(np.resize([1e300, -1e300], 20))


def damaged(frame, rng):
    """Return a frame with flipped bits, cut, extended, or replaced by noise."""
    kind = rng.integers(5)
    if kind == 0:
        return frame[: rng.integers(frame.size + 1)].copy()
    if kind == 1:
        return np.append(frame, rng.integers(0, 256, rng.integers(1, 9), np.uint8))
    if kind == 2:
        return rng.integers(0, 256, rng.integers(0, 2 * frame.size + 8), np.uint8)
    frame = frame.copy()
    places = rng.integers(0, min(frame.size, 8) if kind == 3 else frame.size, 2)
    frame[places] ^= rng.integers(1, 256, 2).astype(np.uint8)
    return frame


@codecs_
@pytest.mark.parametrize("n", [1, 9, 130])
def test_damaged_frames_are_refused_or_decode_to_finite_numbers(codec, n):
    rng = np.random.default_rng(n)
    frame = codec.encode(draw("normal", n), key=1)
    memory = np.full(n + 64, 3, np.float32)
    out = memory[32:-32]
    for _ in range(1500):
        try:
            codec.decode_add(damaged(frame, rng), out, 0.5)
        except FrameError:
            assert (out == 3).all()
        assert (memory[:32] == 3).all()
        assert (memory[-32:] == 3).all()
        # A float64 frame may be too large for this out; nothing else may.
        assert np.isfinite(out).all() or codec in (Dense(64), Sparse(64))
        out[:] = 3


BAD_OPTIONS = [
    ("uniform", {"bits": 0}, r"uniform: bits must be 1..16, got 0"),
    ("uniform", {"bits": 17}, r"1..16, got 17"),
    ("uniform", {"bits": 4.5}, "must be an integer"),
    ("uniform", {"bit": 4}, "no option 'bit'; its options are bits"),
    ("unifrom", {}, "did you mean uniform"),
    ("dense", {"bits": 48}, "32 or 64, got 48"),
    ("stochastic", {"norm": "l1"}, "'l2' or 'max', got 'l1'"),
    ("sign", {"block": 0}, "block must be at least 1, got 0"),
    ("sign", {"bounds": (0, 5, 5)}, "ascend"),
    ("sign", {"block": 2, "bounds": (0, 5)}, "give one"),
    ("ternary", {"clip": -1}, r"clip must be 0 \(none\) or .*, got -1"),
    ("ternary", {"clip": math.inf}, "clip must be 0"),
    ("ternary", {"clip": "few"}, "got 'few'"),
    ("topk", {"k": 0}, "k must be"),
    ("topk", {"k": 2.5}, "got 2.5"),
    ("topk", {"k": math.nan}, "got nan"),
    ("wangni", {"k": -1}, "got -1"),
    ("sparse", {"bits": 33}, "32 or 64, got 33"),
    ("signtopk", {"k": 0, "block": 5}, "k must be"),
    ("signtopk", {"block": 2, "bounds": (0, 5)}, "give one"),
    ("qtopk", {"bits": 17}, r"1..16, got 17"),
    ("qtopk", {"scaled": 2}, "True or False, got 2"),
    ("decimal", {"digits": 8}, r"digits must be 0..7, got 8"),
    ("decimal", {"digits": -1}, r"0..7, got -1"),
    ("decimal", {"digits": 2.5}, "must be an integer"),
    ("sparsesign", {"budget": 0}, "budget must be above 0 and at most 1, got 0"),
    ("sparsesign", {"budget": 1.01}, "got 1.01"),
    ("sparsesign", {"budget": math.nan}, "got nan"),
    ("sparsesign", {"budget": True}, "got True"),
    ("adacomp", {"bin": 0}, "bin must be at least 1, got 0"),
]


@pytest.mark.parametrize(("id", "options", "message"), BAD_OPTIONS)
def test_bad_options_are_explained(id, options, message):
    with pytest.raises(ConfigError, match=message):
        codecs.make(id, **options)


@pytest.mark.parametrize("codec", [TopK(8), Wangni(8), Bernoulli(8), SignTopK(8)])
def test_a_count_above_the_length_is_refused(codec):
    with pytest.raises(ConfigError, match="at most 7"):
        codec.encode(np.ones(7, np.float32))


@codecs_
def test_repr_evaluates_to_an_equal_codec(codec):
    assert eval(repr(codec), vars(sys.modules["psmpi.codecs"])) == codec


def test_numpy_integers_are_stored_as_int():
    assert repr(Uniform(np.int64(3))) == "Uniform(bits=3)"
    assert repr(Sign(bounds=np.array([0, 3]))) == "Sign(block=None, bounds=(0, 3))"
