"""Properties of ChunkTopK that other codecs don't have."""

import math

import numpy as np
import pytest

from psmpi import codecs
from psmpi.base import ConfigError, FrameError
from psmpi.codecs import ChunkTopK, TopK
from tests.helpers.codec_table import VECTORS, draw

LIMIT = (math.lgamma(4097) - math.lgamma(65) - math.lgamma(4033)) / math.log(2) / 64 + 2


def decode(codec, x):
    return codec.decode(codec.encode(x), x.size, dtype=np.float64)


@pytest.mark.parametrize("vector", ["normal", "wide"])
def test_a_kept_entry_takes_less_than_9_7_bits(vector):
    """What leaves is near log2 C(4096, 64) / 64 + 2 bits an entry, 9.36."""
    x = draw(vector, 10**6)
    frame = ChunkTopK().encode(x)
    kept = ChunkTopK().most(x.size)
    assert kept == 64 * 245  # the last of 245 chunks has 576 entries
    assert LIMIT < 8 * frame.size / kept < 9.7
    assert 32 * x.size / (8 * frame.size) > 210


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_the_entries_are_those_of_topk_in_every_chunk(vector, bits):
    x = draw(vector, 1003)
    edges = (0, 64, 128, 192, 256, 300, 364, 428, 492, 556, 620, 684, 748, 812, 876,
             940, 1003)  # fmt: skip
    codec = ChunkTopK(64, 5, bits, bounds=(0, 300, 1003))
    assert codec.chunks(1003)[0].tolist() == list(edges)
    largest = decode(TopK(5, bounds=edges), x)
    found = decode(codec, x)
    assert not found[largest == 0].any()
    # a code's value is the mean of its entries, so that the error is least
    for part in (slice(0, 300), slice(300, 1003)):
        kept = largest[part] != 0
        for value in set(found[part][kept]):
            own = largest[part][kept & (found[part] == value)]
            assert value == pytest.approx(
                own.mean(), rel=1e-6, abs=1e-6 * abs(own).max()
            )


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_entries_are_exact(count):
    x = np.zeros(500, np.float32)
    x[[3, 77, 78, 400][:count]] = [1, -1, 1, 7][:count]
    np.testing.assert_array_equal(decode(ChunkTopK(), x), x)


def test_equal_values_are_exact():
    for value in (0.1, -3e-30, 1e30):
        x = np.full(500, value, np.float32)
        x[100:] = 0
        np.testing.assert_array_equal(decode(ChunkTopK(k=100), x), x)


@pytest.mark.parametrize("n", [5, 9, 40, 400, 4096])
@pytest.mark.parametrize("bits", [2, 3, 5])
def test_the_bound_holds_for_its_worst_vectors(n, bits):
    """One huge entry shares a cell with m others, and the rest is near the mean."""
    codec, worst = ChunkTopK(4096, 1 - 1e-9, bits), 0.0
    for m in {1, 2, round(n**0.5 / 2), round(n**0.5), n // 4, n // 2}:
        for huge in (1.0, n**0.5, 3 * n**0.5, 10 * n):
            x = np.full(n, 0.01, np.float32)
            x[1 : n // 2] = -0.01
            x[1 : 1 + m] = 1.0
            x[0] = huge
            error = ((decode(codec, x) - x) ** 2).sum() / (x.astype(float) ** 2).sum()
            worst = max(worst, error)
    if n <= 2**bits:
        assert worst == codec.error(n) == 0
    else:
        assert 0 < worst <= codec.error(n) < 1


def test_bounds_of_the_error_fall_with_the_share_that_is_sent():
    errors = [ChunkTopK(4096, k).error(10**5) for k in (16, 64, 256)]
    assert 1 > errors[0] > errors[1] > errors[2]
    assert ChunkTopK(4, 1).error(4) == pytest.approx(0.75)  # as TopK: it is exact


def test_numbers_of_a_frame_are_checked():
    x = draw("normal", 500)
    frame = ChunkTopK(k=50).encode(x)
    out = np.zeros(500, np.float32)
    for bad in (np.nan, np.inf, -np.inf):
        hostile = frame.copy()
        hostile[2:6] = np.frombuffer(np.float32(bad).tobytes(), np.uint8)
        with pytest.raises(FrameError, match="not finite"):
            ChunkTopK(k=50).decode_add(hostile, out)
    with pytest.raises(FrameError, match="at most 40"):
        ChunkTopK(k=40).decode_add(frame, out)
    assert not out.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"chunk": 32}, "k = 64 entries of chunks of 32; .*at most 32"),
        ({"k": 0}, "k must be"),
        ({"k": 2.5}, "got 2.5"),
        ({"bits": 1}, r"bits must be 2..8, got 1"),
        ({"bits": 32}, r"2..8, got 32"),
        ({"block": 5, "bounds": (0, 5)}, "give one"),
    ],
)
def test_bad_options_are_explained(options, message):
    with pytest.raises(ConfigError, match=message):
        codecs.make("chunktopk", **options)
