"""Properties of TopK, SignTopK, QTopK, AdaComp and Sparse that others do not have."""

import itertools
import math

import numpy as np
import pytest

from psmpi.base import ConfigError, FrameError
from psmpi.codecs import AdaComp, QTopK, SignTopK, Sparse, TopK
from psmpi.kernels import select
from tests.helpers import codec_table
from tests.reference import naive

DTYPES = (np.float32, np.float64)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
vectors = pytest.mark.parametrize("vector", codec_table.VECTORS)
draw = codec_table.draw
LAYOUTS = {
    "one": {},
    "block": {"block": 64},
    "bounds": {"bounds": (0, 1, 8, 65, 70, 500)},
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def parts(codec, x):
    return [x[a:b] for a, b in itertools.pairwise(codec.blocks(x.size))]


def decode(codec, x, key=0):
    return codec.decode(codec.encode(x, key=key), x.size, dtype=np.float64)


@dtypes
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 1])
@pytest.mark.parametrize("sizes", [(1,), (3, 1, 9), (2048,), (2049, 7, 2048, 5000)])
@pytest.mark.parametrize("kind", ["normal", "ties", "zero", "wide", "tiny", "close"])
def test_top_k_of_blocks_equals_sorting(kind, sizes, share, dtype):
    rng = np.random.default_rng(sum(sizes))
    n = sum(sizes)
    x = {
        "normal": rng.standard_normal(n),
        "ties": rng.integers(-2, 3, n),
        "zero": np.zeros(n),
        "wide": rng.standard_normal(n) * 10.0 ** rng.integers(-30, 30, n),
        "tiny": rng.integers(-3, 4, n) * 2.0**-149,
        "close": 1 + rng.integers(0, 4, n) * 2.0**-23,
    }[kind].astype(dtype)
    bounds = np.cumsum([0, *sizes])
    counts = np.maximum(1, (share * np.array(sizes)).astype(int))
    expected = []
    for (first, last), k in zip(itertools.pairwise(bounds), counts, strict=True):
        part = x[first:last]
        order = first + np.lexsort((np.arange(part.size), -abs(part)))[:k]
        expected += sorted(i for i in order if x[i] != 0)
    chosen = select.top_k_blocks(x, bounds, counts, np.uint64(1))
    np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize(
    ("k", "counts"), [(0.5, [1, 4, 29, 3, 215]), (1, [1] * 5), (6, [1, 6, 6, 5, 6])]
)
def test_k_counts_entries_per_block(k, counts):
    codec = TopK(k, bounds=(0, 1, 8, 65, 70, 500))
    assert codec.counts(500).tolist() == counts
    assert codec.most(500) == sum(counts)
    x = np.random.default_rng(0).standard_normal(500)
    kept = [np.count_nonzero(part) for part in parts(codec, decode(codec, x))]
    assert kept == counts


def test_a_count_above_every_block_is_refused():
    assert TopK(436, bounds=(0, 435, 871)).most(871) == 871
    with pytest.raises(ConfigError, match="k = 437 entries of 436"):
        TopK(437, bounds=(0, 435, 871)).encode(np.ones(871))


@layouts
@vectors
@dtypes
@pytest.mark.parametrize("cls", [TopK, SignTopK])
@pytest.mark.parametrize("k", [0.1, 3])
def test_every_block_is_coded_by_itself(cls, k, layout, vector, dtype):
    x = draw(vector, 500, dtype)
    codec = cls(k, **layout)
    alone = [cls(min(k, p.size)) for p in parts(codec, x)]
    expected = [decode(c, p) for c, p in zip(alone, parts(codec, x), strict=True)]
    np.testing.assert_array_equal(decode(codec, x), np.concatenate(expected))


@layouts
@vectors
@pytest.mark.parametrize("width", [1, 5, 50, 1000])
def test_every_block_of_adacomp_is_coded_by_itself(width, layout, vector):
    x = draw(vector, 500)
    codec = AdaComp(width, **layout)
    expected = [decode(AdaComp(width), part) for part in parts(codec, x)]
    np.testing.assert_array_equal(decode(codec, x), np.concatenate(expected))


@layouts
@vectors
@pytest.mark.parametrize("k", [1, 0.01, 0.1, 0.5, 0.999])
def test_the_error_of_signtopk_is_its_formula(k, layout, vector):
    # ||x - C(x)||^2 = ||x||^2 - sum_b ||v_b||_1^2 / n_b. A float32 scale differs from
    # the mean by 2^-24, which changes the error to second order only: the mean is its
    # minimum.
    x = draw(vector, 500, np.float64)
    codec = SignTopK(k, **layout)
    gained = 0.0
    for part, k_b in zip(parts(codec, x), codec.counts(500), strict=True):
        v = np.sort(abs(part))[::-1][:k_b]
        gained += math.fsum(v) ** 2 / max(np.count_nonzero(v), 1)
    square = math.fsum(x**2)
    error = math.fsum((decode(codec, x) - x) ** 2)
    assert error == pytest.approx(square - gained, abs=1e-12 * square)


@pytest.mark.parametrize("k", [1, 3, 10, 29, 30, 99, 100])
def test_signtopk_error_is_tight(k):
    # The worst vectors: equal magnitudes, or one entry far above all others.
    equal, spike = np.ones(100), np.ones(100)
    spike[17] = 1e9
    worst = max(
        ((decode(SignTopK(k), x) - x) ** 2).sum() / (x**2).sum() for x in (equal, spike)
    )
    assert worst == pytest.approx(SignTopK(k).error(100), abs=1e-6)


@pytest.mark.parametrize("width", [2, 3, 10, 50])
def test_adacomp_error_is_nearly_tight(width):
    bins = 2000
    x = np.zeros((bins, width))
    x[:, 0] = 1.0
    below = round(bins * min(width / (2 * (width - 1)), 1 - 1 / bins))
    x[:below] = 1e-9
    error = ((decode(AdaComp(width), x.ravel()) - x.ravel()) ** 2).sum()
    bound = AdaComp(width).error(x.size)
    assert 0.99 * bound <= error / (x**2).sum() <= bound


@dtypes
@pytest.mark.parametrize("cls", [SignTopK, QTopK, AdaComp])
def test_zero_blocks_take_one_bit_and_change_nothing(cls, dtype):
    codec = cls(**({"bin": 100} if cls == AdaComp else {}), block=100)
    x = np.zeros(1600, dtype)
    assert codec.encode(x).size == 2
    x[707] = -4
    frame = codec.encode(x)
    one = cls().encode(x)  # one block: no flags
    assert frame.size == one.size + 2
    assert frame[2:4].tolist() == [1 << 7, 0]
    out = np.full(1600, -0.0, dtype)
    out[[0, 706, 1599]] = np.nan
    before = out.copy()
    codec.decode_add(frame, out)
    assert out[707] == (-4 if cls != QTopK else pytest.approx(-4 / (1 + 1 / 225)))
    out[707] = -0.0
    assert out.tobytes() == before.tobytes()


@dtypes
def test_vectors_with_fewer_nonzeros_than_k(dtype):
    x = np.zeros(90, dtype)
    x[[3, 40, 41]] = 1, -2, -6
    frame = SignTopK(30).encode(x)
    assert frame[1] == 3
    assert set(decode(SignTopK(30), x)) == {0, 3, -3}
    np.testing.assert_array_equal(decode(TopK(30), x), x)
    np.testing.assert_array_equal(np.flatnonzero(decode(QTopK(30, 16), x)), [3, 40, 41])


def test_ties_take_the_lower_index_in_every_block():
    x = np.array([1, -2, 2, 2, 0, 1, -1, 1, 1, 0], np.float32)
    expected = [0, -2, 2, 0, 0, 1, -1, 0, 0, 0]
    for codec in (TopK(2, block=5), SignTopK(2, block=5)):
        np.testing.assert_array_equal(decode(codec, x), expected)


@dtypes
@layouts
def test_sparse_is_lossless_for_a_sum_of_frames(layout, dtype):
    total = np.zeros(500, dtype)
    for worker in range(5):
        codec = TopK(0.02, **layout)
        codec.decode_add(codec.encode(draw("wide", 500, dtype, worker)), total, 0.2)
    bits = 8 * total.itemsize
    frame = Sparse(bits).encode(total)
    back = Sparse(bits).decode(frame, 500, dtype=dtype)
    assert back.tobytes() == total.tobytes()
    width = math.ceil(math.log2(500))
    nonzeros = np.count_nonzero(total)
    assert Sparse(bits).paper_bits(frame, 500) == nonzeros * (bits + width)


def test_sparse_leaves_out_entries_that_are_zero_as_float32():
    x = np.array([1e-60, 2.0**-150, -1.1 * 2.0**-150, 5e-324, -0.0, 1e-300, 7])
    narrow = Sparse().encode(x)
    assert narrow[1] == 2
    decoded = Sparse().decode(narrow, 7, dtype=np.float64)
    np.testing.assert_array_equal(decoded, x.astype(np.float32))
    np.testing.assert_array_equal(decode(Sparse(64), x), x)


REFUSED = [
    (QTopK(1000, 4, scaled=False), 4000, "k = 1000 entries and s = 15 levels"),
    (QTopK(1, 1, scaled=False), 5, "beta = 1 at k = 1 entries and s = 1 levels"),
    (QTopK(0.1, 2, scaled=False, bounds=(0, 5, 4000)), 4000, "k = 400 .* s = 3 "),
]


@pytest.mark.parametrize(("codec", "dim", "message"), REFUSED)
def test_unscaled_qtopk_is_refused_where_beta_is_too_large(codec, dim, message):
    for action in (
        lambda: codec.max_nbytes(dim),
        lambda: codec.error(dim),
        lambda: codec.encode(np.ones(dim, np.float32)),
    ):
        with pytest.raises(ConfigError, match=message + ".*more bits, a smaller k"):
            action()
    scaled = QTopK(codec.k, codec.bits, bounds=codec.bounds)
    assert 0 < scaled.error(dim) < 1


@dtypes
@layouts
@pytest.mark.parametrize("scaled", [False, True])
def test_mean_of_qtopk_is_top_k(scaled, layout, dtype):
    keys, x = 3000, draw("normal", 500, dtype)
    codec = QTopK(0.1, scaled=scaled, **layout)
    kept = decode(TopK(0.1, **layout), x)
    if scaled:
        beta = codec.beta(500)
        kept /= np.repeat(1 + beta, np.diff(codec.blocks(500)))
    total, squares = np.zeros(500), np.zeros(500)
    for key in range(keys):
        decoded = decode(codec, x, key)
        total += decoded
        squares += (decoded - kept) ** 2
    assert (total[kept == 0] == 0).all()
    deviation = (squares / keys) ** 0.5
    # Never-drawn neighbours hide deviations of up to a step / sqrt(keys).
    floor = 2e-3 * abs(x).max() / keys**0.5 + 1e-7 * abs(x).max()
    assert (abs(total / keys - kept) <= 5 * deviation / keys**0.5 + floor).all()


@dtypes
@pytest.mark.parametrize("key", [0, 1, 77, 2**64 - 1])
def test_qtopk_keeps_grid_points(key, dtype):
    x = np.zeros(40, dtype)
    x[[3, 9, 25, 39]] = 3, -4, -8, 6  # norms 5 and 10; s = 15
    codec = QTopK(2, scaled=False, block=20)
    np.testing.assert_array_equal(decode(codec, x, key), x)


@codec_table.codecs_
@dtypes
@pytest.mark.parametrize("with_x", [True, False])
@pytest.mark.parametrize("ratio", [1.0, 0.75, 0.3])
def test_feedback_equals_its_steps_one_by_one(codec, dtype, with_x, ratio):
    e, x = draw("normal", 300, dtype, seed=1), draw("normal", 300, dtype, seed=2)
    p = e * dtype(ratio) + x if with_x else e * dtype(ratio)
    kept = x.copy()
    frame = codec.encode_feedback(e, x if with_x else None, ratio, key=5)
    if codec.id != "adacomp":
        assert frame.tobytes() == codec.encode(p, key=5).tobytes()
    codec.decode_add(frame, p, -1.0)
    assert e.tobytes() == p.tobytes()
    assert x.tobytes() == kept.tobytes()
    buffer = np.empty(codec.max_nbytes(300), np.uint8)
    again = codec.encode_feedback(draw("normal", 300, dtype, 1), x, out=buffer)
    assert np.shares_memory(again, buffer)


@dtypes
@layouts
@pytest.mark.parametrize("width", [1, 7, 50])
def test_adacomp_chooses_by_the_latest_gradient(width, layout, dtype):
    codec = AdaComp(width, **layout)
    e = draw("normal", 500, dtype)
    for seed in range(1, 6):
        x = draw("sparse" if seed % 2 else "normal", 500, dtype, seed)
        p = e * dtype(0.9) + x
        frame = codec.encode_feedback(e, x, 0.9)
        assert frame.tobytes() == naive.adacomp(codec, p, 0, latest=x)
        assert frame.tobytes() != codec.encode(p).tobytes()
        p = e * dtype(1)
        assert codec.encode_feedback(e).tobytes() == codec.encode(p).tobytes()


@pytest.mark.parametrize(
    ("bin", "bits"), [(1, 8), (50, 8), (64, 8), (65, 16), (500, 16)]
)
def test_adacomp_counts_whole_bytes(bin, bits):
    frame = AdaComp(bin).encode(np.eye(1, 9000, dtype=np.float32)[0])
    assert AdaComp(bin).paper_bits(frame, 9000) == 32 + bits


@pytest.mark.parametrize(("k", "dim"), [(0.01, 7850), (0.01, 100_000), (1000, 10**6)])
def test_signtopk_indices_are_near_the_bound(k, dim):
    codec, sizes = SignTopK(k), []
    for seed in range(20):  # the bound holds for the mean, not for every draw
        size = codec.encode(draw("normal", dim, seed=seed)).size
        sizes.append(8 * (size - 4) - codec.most(dim))
    assert np.mean(sizes) <= 1.08 * math.log2(math.comb(dim, codec.most(dim)))


def forged(frame, at, value):
    frame = frame.copy()
    frame[at : at + len(value)] = list(value)
    return frame


def test_forged_frames_are_refused():
    x = np.zeros(100, np.float32)
    x[[5, 33, 34]] = 4, -3, 1
    codec = SignTopK(2, block=20)
    frame = codec.encode(x)
    # header 2, flags 1, scales 8, signs 1, indices
    assert frame[:3].tolist() == [frame[0], 3, 0b00011]
    quantised = QTopK(2, bits=3, block=20)
    levels = quantised.encode(x, key=1)
    bad = {
        "flags": [(2, [0b00101]), (2, [0b00001]), (2, [0b00111]), (2, [0])],
        "padding": [(2, [0b100011]), (11, [frame[11] | 8])],
        "scale": [(3, naive.f32(v)) for v in (0.0, -0.0, -1.0, math.inf, math.nan)],
    }
    out = np.ones(100, np.float32)
    for at, value in itertools.chain(*bad.values()):
        with pytest.raises(FrameError):
            codec.decode_add(forged(frame, at, value), out)
    for size in range(frame.size):
        with pytest.raises(FrameError):
            codec.decode_add(frame[:size], out)
    with pytest.raises(FrameError, match="level is 0"):
        quantised.decode_add(forged(levels, 11, [levels[11] & 0xF0]), out)
    assert (out == 1).all()


@pytest.mark.parametrize(
    "codec", [TopK(2), SignTopK(2, block=4), QTopK(2, block=4), AdaComp(3), Sparse()]
)
def test_an_empty_vector_has_a_frame(codec):
    frame = codec.encode(np.empty(0, np.float32))
    assert frame.tolist() == [0, 0]
    assert codec.error(0) <= 1
    codec.decode_add(frame, np.empty(0, np.float32))


@dtypes
def test_the_smallest_float32_magnitudes_are_sent(dtype):
    x = np.full(60, 2.0**-149, dtype)
    for codec in (SignTopK(0.5), SignTopK(5, block=30), AdaComp(7)):
        np.testing.assert_array_equal(np.unique(decode(codec, x)[:5]), [2.0**-149])
    # A block whose scale rounds to 0 as float32 sends nothing.
    x[7:] = 0
    assert AdaComp(7).encode(x).size == 2
