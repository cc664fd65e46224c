"""Decimal: its absolute error bound, its widths, and where it can not be used."""

import math
import re

import numpy as np
import pytest

from psmpi.base import ConfigError, FrameError
from psmpi.codecs import Choice, Decimal, Dense, Piecewise, Scaled, Stochastic
from psmpi.parts.downlink import require_contraction
from tests.helpers import codec_table
from tests.reference import naive

dtypes = pytest.mark.parametrize("dtype", codec_table.DTYPES)
every_digits = pytest.mark.parametrize("digits", range(8))


def decode(codec, x, key=0, dtype=np.float64):
    return codec.decode(codec.encode(x, key=key), x.size, dtype=dtype)


def square(x):
    return math.fsum(x.astype(np.float64) ** 2)


@dtypes
@every_digits
@pytest.mark.parametrize("vector", ["normal", "constant", "sparse", "one-hot", "tiny"])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 1, 20])
def test_the_error_is_within_the_absolute_bound(vector, size, digits, dtype):
    codec = Decimal(digits)
    x = codec_table.draw(vector, 300, dtype) * dtype(size)
    errors = [square(decode(codec, x, key) - x) for key in range(100)]
    slack = 5 * np.std(errors) / 10 + 1e-12 * codec.spread(300)
    assert np.mean(errors) <= codec.spread(300) + slack
    assert np.abs(decode(codec, x) - x).max() <= 10.0**-digits * (1 + 1e-7)


@dtypes
@every_digits
def test_midpoints_attain_the_bound(digits, dtype):
    # Whatever is drawn, both neighbours are half a step away.
    codec = Decimal(digits)
    x = ((np.arange(-40, 40) + 0.5) / 10**digits).astype(dtype)
    for key in range(20):
        error = square(decode(codec, x, key) - x)
        assert error == pytest.approx(codec.spread(80), rel=1e-4)
    assert codec.spread(80) == pytest.approx(80 * 10.0 ** (-2 * digits) / 4, rel=1e-15)


@dtypes
@every_digits
@pytest.mark.parametrize("most", [1, 9, 1000, 10**6, 2**31 - 1])
def test_multiples_are_kept_and_decoded_exactly(most, digits, dtype):
    levels = np.random.default_rng(most).integers(-most, most + 1, 200)
    if dtype == np.float32 and most == 2**31 - 1:
        levels //= 256  # what rounds up to 2^31 is refused
    exact = levels / 10**digits  # the float64 nearest to each
    codec = Decimal(digits)
    x = exact.astype(dtype)
    for key in (0, 1, 77):
        assert (decode(codec, x, key, dtype) == x).all()
    if dtype == np.float64:
        assert (decode(codec, x) == [float(f"{n}e-{digits}") for n in levels]).all()


@dtypes
@pytest.mark.parametrize("levels", [0.3, 1, 1.5, 3, 3.5, 4, 2047, 2048, 2**24 - 1])
def test_the_width_fits_the_largest_level(levels, dtype):
    codec = Decimal(3)
    x = np.array([0, -levels / 1000, 0.0001], dtype)
    width = 1 + math.ceil(math.log2(levels + 1))
    for key in range(50):
        frame = codec.encode(x, key=key)
        assert frame[0] == width
        assert codec.paper_bits(frame, 3) == 32 + 3 * width
        assert frame.size == 1 + (3 * width + 7) // 8


@dtypes
def test_vectors_that_round_to_zero_take_one_byte(dtype):
    for x in (np.zeros(50), -np.zeros(50), np.full(50, 2.0**-32), np.empty(0)):
        frame = Decimal(0).encode(x.astype(dtype))
        assert frame.tolist() == [0]
        assert Decimal(0).paper_bits(frame, x.size) == 32
        assert not decode(Decimal(0), x.astype(dtype)).any()
    assert Decimal(0).encode(np.full(50, 2.0**-31, dtype))[0] == 2


@dtypes
@pytest.mark.parametrize("width", range(2, 33))
def test_frames_of_every_width_equal_the_naive_ones(width, dtype):
    x = np.array([2 ** (width - 1) - 1, -(2 ** (width - 2)), 0.3, -0.0, 7e-9], dtype)
    if dtype == np.float32:
        x[0] = min(x[0], 2**31 - 256)
    for key in range(5):
        frame = Decimal(0).encode(x, key=key)
        wider = x[0] == 2 ** (width - 1)  # beyond 2^24 - 1 as float32
        assert frame[0] == width + wider
        assert frame.tobytes() == naive.encode(Decimal(0), x, key)
        assert np.abs(Decimal(0).decode(frame, 5, dtype=np.float64) - x).max() <= 1


@dtypes
@every_digits
def test_entries_beyond_31_bits_are_refused(digits, dtype):
    codec, limit = Decimal(digits), 2**31 / 10**digits
    x = np.ones(5, dtype)
    remedy = "give fewer digits" if digits else "scale the vector down"
    for value in (limit * 1.001, -limit * 1.001, 1e30, -3e38):
        x[3] = value
        out = np.full(codec.max_nbytes(5), 7, np.uint8)
        message = rf"decimal: x\[3\] is .* with digits = {digits}; {remedy}"
        with pytest.raises(ConfigError, match=message):
            codec.encode(x, out)
        assert (out == 7).all()
    x[3] = limit * 0.999
    assert codec.encode(x)[0] == 32
    if dtype == np.float64:
        x[3] = 1.7e308
        with pytest.raises(ConfigError, match=r"is 1\.7e"):
            codec.encode(x)


def test_forged_frames_are_refused():
    codec, out = Decimal(), np.ones(9)
    frame = codec.encode(np.linspace(-1, 1, 9))  # 11 bits, 99 of 104
    assert frame.size == 1 + 13
    hostile = [frame[:0], frame[:-1], np.append(frame, 0), [1, 0, 0], [0, 0], [0] * 14]
    hostile += [[width, *frame[1:]] for width in (0, 1, 10, 12, 33, 255)]
    hostile += [[*frame[:-1], frame[-1] | 8], [33] + [0] * 38]
    for bad in hostile:
        with pytest.raises(FrameError, match="decimal: "):
            codec.decode_add(np.array(bad, np.uint8), out)
    assert (out == 1).all()
    for bad in ([], [2], [2, 0]):
        with pytest.raises(FrameError):
            codec.decode_add(np.array(bad, np.uint8), np.empty(0))
    with pytest.raises(FrameError):
        codec.paper_bits(np.empty(0, np.uint8), 9)


def test_users_of_a_relative_bound_refuse_this_codec():
    codec = Decimal()
    assert codec.error(5) == math.inf
    mixed = Choice((Stochastic(), codec)), Piecewise((codec, Dense()), (0, 4, 5))
    for wrapped in (codec, *mixed):
        with pytest.raises(ConfigError, match=r"may lose inf .*; take another codec"):
            require_contraction(wrapped, 5, "up")
        with pytest.raises(ConfigError, match=re.escape("has no omega")):
            Scaled(wrapped).max_nbytes(5)
        with pytest.raises(ConfigError, match="has no omega"):
            Scaled(wrapped).error(5)
        frame, out = wrapped.encode(np.ones(5)), np.ones(5)
        with pytest.raises(ConfigError, match="has no omega"):
            Scaled(wrapped).decode_add(frame, out)
        assert (out == 1).all()
    with pytest.raises(ConfigError, match="1 \\+ omega"):
        require_contraction(Stochastic(1), 5000, "up")
