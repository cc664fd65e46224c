"""Codecs made of codecs: Scaled, Piecewise, Choice."""

import numpy as np
import pytest

from psmpi import codecs
from psmpi.base import ConfigError, FrameError
from psmpi.codecs import (
    AdaComp,
    Bernoulli,
    Choice,
    Dense,
    Piecewise,
    Scaled,
    Sign,
    SignTopK,
    Stochastic,
    TopK,
    Wangni,
)
from tests.reference import naive

BOUNDS = (0, 40, 43, 100)
PIECEWISE = Piecewise((SignTopK(0.2), Dense(), Stochastic(3)), BOUNDS)
CHOICE = Choice((Stochastic(3), SignTopK(0.2), Dense(), AdaComp(7), PIECEWISE))
PARTS = pytest.mark.parametrize("i", range(len(CHOICE.parts)))
UNBIASED = [Stochastic(1), Stochastic(4, "max"), Bernoulli(0.3), Wangni(0.2), Dense()]


def vector(n=100, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(n).astype(dtype)


@pytest.mark.parametrize("codec", UNBIASED, ids=repr)
def test_scaled_divides_what_its_codec_decodes(codec):
    x = vector()
    frame = codec.encode(x, key=5)
    assert Scaled(codec).encode(x, key=5).tobytes() == frame.tobytes()
    assert naive.encode(Scaled(codec), x, 5) == frame.tobytes()
    assert Scaled(codec).paper_bits(frame, 100) == codec.paper_bits(frame, 100)
    plain = codec.decode(frame, 100, dtype=np.float64)
    divided = Scaled(codec).decode(frame, 100, dtype=np.float64)
    np.testing.assert_allclose(divided, plain / (1 + codec.error(100)), rtol=1e-14)


@pytest.mark.parametrize("codec", UNBIASED, ids=repr)
@pytest.mark.parametrize("kind", ["normal", "one-hot", "constant"])
def test_scaled_is_a_contraction(codec, kind):
    x = {"normal": vector(), "one-hot": np.eye(100)[7], "constant": np.ones(100)}[kind]
    scaled = Scaled(codec)
    errors = [
        np.sum((scaled.decode(scaled.encode(x, key=k), 100, dtype=np.float64) - x) ** 2)
        for k in range(500)
    ] / np.sum(x**2, dtype=np.float64)
    assert scaled.error(100) < 1
    assert np.mean(errors) <= scaled.error(100) + 5 * np.std(errors) / 500**0.5 + 1e-9


def test_scaled_bernoulli_is_rand_k():
    x, rand_k = vector(), Scaled(Bernoulli(0.25))
    decoded = rand_k.decode(rand_k.encode(x, key=3), 100)
    kept = decoded != 0
    np.testing.assert_allclose(decoded[kept], x[kept], rtol=1e-6)
    assert rand_k.error(100) == pytest.approx(1 - 0.25)


@pytest.mark.parametrize("codec", [Sign(), TopK(3), "sign", Scaled(Stochastic(2))])
def test_only_an_unbiased_codec_is_scaled(codec):
    with pytest.raises(ConfigError, match="takes an unbiased codec"):
        Scaled(codec)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_piecewise_codes_each_block_by_its_part(dtype):
    x = vector(dtype=dtype)
    frame = PIECEWISE.encode(x, key=9)
    assert frame.tobytes() == naive.encode(PIECEWISE, x, 9)
    decoded = PIECEWISE.decode(frame, 100, dtype=dtype)
    np.testing.assert_array_equal(decoded[40:43], x[40:43].astype(np.float32))
    expected = SignTopK(0.2).decode(SignTopK(0.2).encode(x[:40]), 40, dtype=dtype)
    np.testing.assert_array_equal(decoded[:40], expected)
    assert np.count_nonzero(decoded[:40]) == 8
    bits = PIECEWISE.paper_bits(frame, 100)
    assert bits == (32 + 8 * (1 + 6)) + 3 * 32 + (32 + 4 * 57)
    assert frame.size <= PIECEWISE.max_nbytes(100)


def test_parts_take_turns():
    codec = Piecewise((TopK(1), Dense()), (0, 4, 6, 10, 12))
    x = vector(12)
    decoded = codec.decode(codec.encode(x), 12)
    assert [np.count_nonzero(decoded[a:b]) for a, b in [(0, 4), (6, 10)]] == [1, 1]
    np.testing.assert_array_equal(decoded[[4, 5, 10, 11]], x[[4, 5, 10, 11]])


def test_every_block_has_random_numbers_of_its_own():
    codec = Piecewise((Stochastic(1),), (0, 50, 100))
    x = np.tile(vector(50), 2)
    decoded = codec.decode(codec.encode(x, key=1), 100)
    assert (decoded[:50] != decoded[50:]).any()


def test_the_error_of_piecewise_is_that_of_its_worst_part():
    parts = Piecewise((Sign(), TopK(0.5)), (0, 10, 20))
    assert parts.error(20) == max(Sign().error(10), TopK(0.5).error(10))
    assert not parts.unbiased
    assert Piecewise((Stochastic(), Bernoulli()), (0, 10, 20)).unbiased


def test_a_damaged_piecewise_frame_leaves_the_vector_unchanged():
    rng = np.random.default_rng(0)
    frame, out = PIECEWISE.encode(vector(), key=2), np.full(100, 3, np.float32)
    refused = 0
    for _ in range(3000):
        bad = frame.copy()
        bad[rng.integers(0, bad.size, 2)] ^= rng.integers(1, 256, 2).astype(np.uint8)
        cut = rng.integers(bad.size + 1)
        for hostile in (bad, bad[:cut].copy(), np.append(bad, bad[:cut])):
            try:
                PIECEWISE.decode_add(hostile, out)
            except FrameError:
                refused += 1
                assert (out == 3).all()
            out[:] = 3
    assert refused > 3000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_piecewise_refuses_a_vector_before_it_writes(value):
    x, out = vector(), np.full(PIECEWISE.max_nbytes(100), 7, np.uint8)
    x[77] = value
    with pytest.raises(ConfigError, match=r"piecewise: x\[77\] is"):
        PIECEWISE.encode(x, out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (0, 3)), "parts must be codecs"),
        (((Sign(), 3), (0, 3, 4)), "parts must be codecs"),
        (((Sign(),), (0, 3, 3)), "ascend"),
        (((Sign(),), (1, 3)), "start with 0"),
        (((Sign(), Dense()), (0, 3, 4, 5)), "2 codecs can't take turns over 3 blocks"),
    ],
)
def test_invalid_parts_of_piecewise_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Piecewise(*arguments)


def test_bounds_must_cover_the_vector():
    with pytest.raises(ConfigError, match="cover 100 entries, the vector has 99"):
        PIECEWISE.encode(vector(99))


@PARTS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_frame_of_choice_is_an_index_and_the_part_s_frame(i, dtype):
    x, part, codec = vector(dtype=dtype), CHOICE.parts[i], CHOICE.part(i)
    frame = codec.encode(x, key=9)
    assert frame.tobytes() == naive.encode(codec, x, 9)
    assert frame.tobytes() == bytes([i]) + part.encode(x, key=9).tobytes()
    for end in (CHOICE, *map(CHOICE.part, range(5))):
        expected = part.decode(frame[1:], 100, dtype=dtype)
        np.testing.assert_array_equal(end.decode(frame, 100, dtype=dtype), expected)
        assert end.paper_bits(frame, 100) == part.paper_bits(frame[1:], 100)
    buffer = np.full(CHOICE.max_nbytes(100) + 8, 0xA5, np.uint8)
    again = codec.encode(x, buffer[3:-5], key=9)
    assert np.shares_memory(again, buffer)
    assert again.tobytes() == frame.tobytes()
    assert (buffer[:3] == 0xA5).all()
    assert (buffer[-5:] == 0xA5).all()


@PARTS
@pytest.mark.parametrize("with_x", [True, False])
def test_choice_uses_the_feedback_rule_of_its_part(i, with_x):
    part, codec = CHOICE.parts[i], CHOICE.part(i)
    e, x = vector(seed=1), vector(seed=2) if with_x else None
    other, buffer = e.copy(), np.empty(CHOICE.max_nbytes(100), np.uint8)
    frame = codec.encode_feedback(e, x, 0.5, buffer, key=3)
    expected = part.encode_feedback(other, x, 0.5, key=3)
    assert np.shares_memory(frame, buffer)
    assert frame.tobytes() == bytes([i]) + expected.tobytes()
    assert e.tobytes() == other.tobytes()


def test_choice_has_the_properties_that_all_parts_have():
    assert CHOICE.error(100) == max(part.error(100) for part in CHOICE.parts)
    assert CHOICE.max_nbytes(100) == 1 + max(p.max_nbytes(100) for p in CHOICE.parts)
    assert not CHOICE.unbiased
    assert not CHOICE.is_sparse
    assert Choice((Stochastic(), Wangni())).unbiased
    assert not Choice((Stochastic(), Wangni())).is_sparse
    assert Choice((TopK(), Wangni())).is_sparse
    assert CHOICE.part(0) == CHOICE == CHOICE.part(3).part(0)
    assert codecs.has_blocks(CHOICE)
    assert not codecs.has_blocks(Choice((Stochastic(),)))


@PARTS
def test_a_damaged_frame_of_choice_leaves_the_vector_unchanged(i):
    rng = np.random.default_rng(i)
    frame, out = CHOICE.part(i).encode(vector(), key=2), np.full(100, 3, np.float32)
    for hostile in ([], *([tag, *frame[1:]] for tag in (5, 6, 255))):
        with pytest.raises(FrameError, match=r"choice: .* 5 parts"):
            CHOICE.decode_add(np.array(hostile, np.uint8), out)
    with pytest.raises(FrameError):
        CHOICE.paper_bits(frame[:0], 100)
    refused = 0
    for _ in range(2000):
        bad = frame.copy()
        bad[rng.integers(0, min(bad.size, 9), 2)] ^= rng.integers(1, 256, 2, np.uint8)
        for hostile in (bad, bad[: rng.integers(bad.size)].copy(), np.append(bad, bad)):
            try:
                CHOICE.decode_add(hostile, out)
            except FrameError:
                refused += 1
                assert (out == 3).all()
            out[:] = 3
    assert refused > 2000


@PARTS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_choice_refuses_a_vector_before_it_writes(i, value):
    x, out = vector(), np.full(CHOICE.max_nbytes(100), 7, np.uint8)
    x[77] = value
    with pytest.raises(ConfigError, match=r"x\[77\] is"):
        CHOICE.part(i).encode(x, out)
    with pytest.raises(ConfigError, match="choice: out must"):
        CHOICE.part(i).encode(vector(), out[1:])
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((),), "parts must be codecs"),
        (((Sign(), "dense"),), "parts must be codecs"),
        (((Sign(), Choice((Dense(),))),), "a part is a choice itself"),
        ((tuple([Dense()] * 256),), "256 parts; give at most 255"),
        (((Sign(),), 1), r"chosen must be 0..0, got 1"),
    ],
)
def test_invalid_parts_of_choice_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=f"choice: {message}"):
        Choice(*arguments)
    with pytest.raises(ConfigError, match=r"chosen must be 0..4, got 5"):
        CHOICE.part(5)


def test_choice_takes_255_parts():
    codec = Choice(tuple(Stochastic(1 + i % 16) for i in range(255)))
    x = vector()
    frame = codec.part(254).encode(x, key=1)
    expected = Stochastic(15).encode(x, key=1)
    assert frame.tobytes() == b"\xfe" + expected.tobytes()
