"""What the public methods of Codec do for every codec: check, book time, find room."""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from psmpi import codecs
from psmpi.base import Codec, ConfigError
from psmpi.codecs import Choice, Dense, Piecewise, Scaled, Sign, SparseSign, TopK
from tests.helpers.codec_table import DTYPES, ROWS, draw

N = 23
ALL = {name: codec for row in ROWS.values() for name, codec in row.instances.items()}
all_codecs = pytest.mark.parametrize("codec", ALL.values(), ids=ALL)
PUBLIC = {
    name
    for name, value in vars(Codec).items()
    if callable(value)
    and not name.startswith("_")
    and not getattr(value, "__isabstractmethod__", False)
}


class Meter:
    """Notes the phases that are begun, and whether one begins inside another."""

    def __init__(self):
        self.phases, self.depth = [], 0

    @contextmanager
    def phase(self, name):
        assert self.depth == 0, f"{name} inside of {self.phases[-1]}"
        self.phases.append(name)
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


def test_the_list_of_public_methods_is_complete():
    expected = {"max_nbytes", "paper_bits", "encode", "encode_at", "encode_feedback"}
    assert expected | {"decode_add", "decode", "metered"} == PUBLIC


@pytest.mark.parametrize("cls", codecs.CODECS.values(), ids=codecs.CODECS)
def test_no_codec_overrides_a_public_method(cls):
    """So that its arguments are checked, and its time is booked, once a message."""
    bases = cls.__mro__[: cls.__mro__.index(Codec)]
    assert not PUBLIC & {name for base in bases for name in vars(base)}


@all_codecs
def test_a_metered_codec_books_each_call_once(codec):
    meter, x = Meter(), draw("normal", N)
    metered = codec.metered(meter.phase)
    frame = metered.encode(x, key=1)
    metered.encode_at(np.arange(N), x, N, key=1)
    metered.encode_feedback(x.copy(), x)
    metered.decode(frame, N)
    metered.decode_add(frame, np.zeros(N))
    assert meter.phases == ["encode"] * 3 + ["decode"] * 2
    codec.encode(x)
    codec.decode(frame, N)
    assert len(meter.phases) == 5  # the original stays as it was


@all_codecs
def test_a_metered_codec_is_equal_and_writes_into_its_outbox(codec):
    x, key = draw("normal", N), 3
    outbox = np.full(codec.max_nbytes(N) + 8, 0xA5, np.uint8)
    metered = codec.metered(Meter().phase, outbox)
    assert metered == codec
    assert hash(metered) == hash(codec)
    assert repr(metered) == repr(codec)
    frame = codec.encode(x, key=key)
    in_outbox = metered.encode(x, key=key)
    assert np.shares_memory(in_outbox, outbox)
    assert in_outbox.tobytes() == frame.tobytes() == outbox[: frame.size].tobytes()
    assert (outbox[codec.max_nbytes(N) :] == 0xA5).all()
    for again in (
        metered.encode_at(np.arange(N), x, N, key=key),
        metered.encode_feedback(x.copy(), key=key),
    ):
        assert np.shares_memory(again, outbox)
    given = np.empty_like(outbox)
    assert np.shares_memory(metered.encode(x, given), given)
    assert not np.shares_memory(codec.encode(x), outbox)


def test_too_small_an_outbox_is_refused():
    metered = Dense().metered(Meter().phase, np.empty(7, np.uint8))
    with pytest.raises(ConfigError, match=r"dense: out must .* = 8 bytes, got 7"):
        metered.encode(np.ones(2))
    metered.encode(np.ones(1))


WRONG_CALLS = {
    "key": (lambda c, x, f: c.encode(x, key=-1), "key must be"),
    "key-of-feedback": (
        lambda c, x, f: c.encode_feedback(x, key=2**64),
        "key must be",
    ),
    "values": (
        lambda c, x, f: c.encode_at(np.arange(N), [1.0], N),
        "values must be a NumPy array, got list; use numpy.asarray.values",
    ),
    "support": (
        lambda c, x, f: c.encode_at(np.arange(N - 1), x, N),
        "support must be an int64 array",
    ),
    "support-order": (
        lambda c, x, f: c.encode_at(np.arange(N)[::-1].copy(), x, N),
        "support must ascend",
    ),
    "dim": (lambda c, x, f: c.max_nbytes(-1), "dim must be at least 0, got -1"),
    "dim-float": (lambda c, x, f: c.decode(f, 23.0), "dim must be an integer"),
    "e": (
        lambda c, x, f: c.encode_feedback(x.astype(int)),
        "e must be float32 or float64, got <i8; use e.astype",
    ),
    "x-of-feedback": (
        lambda c, x, f: c.encode_feedback(x, x[:3]),
        "x must be like e, 23 entries of float32; got 3 of float32",
    ),
    "ratio": (lambda c, x, f: c.encode_feedback(x, ratio=np.inf), "ratio must be fin"),
    "scale": (lambda c, x, f: c.decode_add(f, x, np.nan), "scale must be finite"),
    "out": (
        lambda c, x, f: c.decode_add(f, x.reshape(1, N)),
        "out must be one-dimensional and contiguous",
    ),
    "out-length": (
        lambda c, x, f: c.decode(f, N, x[1:]),
        "out must have dim = 23 entries, got 22",
    ),
    "frame": (lambda c, x, f: c.decode_add(f.tobytes(), x), "a frame is a uint8 array"),
    "frame-of-bits": (lambda c, x, f: c.paper_bits([1], N), "a frame is a uint8 array"),
    "buffer": (
        lambda c, x, f: c.encode(x, np.empty(5, np.float32)),
        "a frame is a uint8 array, got float32",
    ),
}


@all_codecs
@pytest.mark.parametrize(("call", "message"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_wrong_arguments_are_named(codec, call, message):
    x = draw("normal", N)
    frame, before = codec.encode(x), x.copy()
    with pytest.raises(ConfigError, match=f"^{codec.id}: {message}"):
        call(codec, x, frame)
    np.testing.assert_array_equal(x, before)


@all_codecs
def test_decode_overwrites_its_output_vector(codec):
    frame, out = codec.encode(draw("normal", N), key=2), np.full(N, np.nan)
    assert codec.decode(frame, N, out) is out
    np.testing.assert_array_equal(out, codec.decode(frame, N, dtype=np.float64))


@all_codecs
def test_read_only_frames_are_decoded(codec):
    frame = codec.encode(draw("normal", N), key=2)
    received = np.frombuffer(frame.tobytes(), np.uint8)
    assert codec.paper_bits(received, N) == codec.paper_bits(frame, N)
    np.testing.assert_array_equal(codec.decode(received, N), codec.decode(frame, N))


BOUNDS = (0, 1, 9, 20, 400)
WRAPPED = {
    "plain": SparseSign(),
    "scaled": Scaled(SparseSign(0.5)),
    "piecewise": Piecewise((SparseSign(), TopK(0.5), Dense(), Sign()), BOUNDS),
    "choice": Choice((Sign(), Scaled(SparseSign())), 1),
    "scaled-piecewise": Scaled(Piecewise((SparseSign(), Dense()), BOUNDS)),
    "choice-piecewise": Choice((Piecewise((SparseSign(),), BOUNDS),)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 1])
@pytest.mark.parametrize("codec", WRAPPED.values(), ids=WRAPPED)
def test_the_frame_from_a_support_is_that_of_the_vector(codec, share, dtype):
    x = draw("normal", 400, dtype)
    x[np.random.default_rng(1).random(400) >= share] = 0
    for support in (np.flatnonzero(x), np.arange(400)):
        for key in (0, 2**64 - 1):
            frame = codec.encode(x, key=key)
            again = codec.encode_at(support, x[support], 400, key=key)
            assert again.tobytes() == frame.tobytes()
            room = np.full(codec.max_nbytes(400) + 3, 0xA5, np.uint8)
            inside = codec.encode_at(support, x[support], 400, room, key)
            assert np.shares_memory(inside, room)
            assert inside.tobytes() == frame.tobytes()
            assert (room[-3:] == 0xA5).all()


LARGE = 2**26
HALVES = (0, LARGE // 2, LARGE)
ON_DEMAND = {
    "scaled": Scaled(SparseSign()),
    "piecewise": Piecewise((SparseSign(),), HALVES),
    "choice": Choice((SparseSign(), Dense())),
    "scaled-piecewise": Scaled(Piecewise((SparseSign(),), HALVES)),
}


@pytest.mark.parametrize("codec", ON_DEMAND.values(), ids=ON_DEMAND)
def test_encode_at_allocates_in_proportion_to_the_support(codec):
    """No vector, and no buffer, of the whole dimension is made."""
    support = np.array([3, 10**6, LARGE - 1])
    values = np.array([1.0, -1.0, 1.0], np.float32)
    codec.encode_at(support, values, LARGE)
    tracemalloc.start()
    frame = codec.encode_at(support, values, LARGE)
    assert tracemalloc.get_traced_memory()[1] < 10**5
    tracemalloc.stop()
    assert frame.size < 50


@pytest.mark.parametrize("codec", WRAPPED.values(), ids=WRAPPED)
def test_values_that_are_not_finite_are_refused_before_anything_is_written(codec):
    out = np.full(codec.max_nbytes(400), 7, np.uint8)
    values = np.array([1, np.nan, 1])
    with pytest.raises(ConfigError, match=r"values\[1\] is nan"):
        codec.encode_at(np.array([0, 5, 300]), values, 400, out)
    assert (out == 7).all()
