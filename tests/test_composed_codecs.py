"""Codecs made of codecs, and how they are written in words."""

import re

import naive
import numpy as np
import pytest

from psmpi import codecs
from psmpi.base import ConfigError, FrameError
from psmpi.codecs import (
    Bernoulli,
    Dense,
    Piecewise,
    Scaled,
    Sign,
    SignTopK,
    Stochastic,
    TopK,
    Wangni,
)

BOUNDS = (0, 40, 43, 100)
PIECEWISE = Piecewise((SignTopK(0.2), Dense(), Stochastic(3)), BOUNDS)
UNBIASED = [Stochastic(1), Stochastic(4, "max"), Bernoulli(0.3), Wangni(0.2), Dense()]


def vector(n=100, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(n).astype(dtype)


@pytest.mark.parametrize("codec", UNBIASED, ids=repr)
def test_scaled_is_the_codec_divided(codec):
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
    made = Scaled(codec)
    errors = [
        np.sum((made.decode(made.encode(x, key=k), 100, dtype=np.float64) - x) ** 2)
        for k in range(500)
    ] / np.sum(x**2, dtype=np.float64)
    assert made.error(100) < 1
    assert np.mean(errors) <= made.error(100) + 5 * np.std(errors) / 500**0.5 + 1e-9


def test_scaled_bernoulli_is_rand_k():
    x, made = vector(), Scaled(Bernoulli(0.25))
    decoded = made.decode(made.encode(x, key=3), 100)
    kept = decoded != 0
    np.testing.assert_allclose(decoded[kept], x[kept], rtol=1e-6)
    assert made.error(100) == pytest.approx(1 - 0.25)


@pytest.mark.parametrize("codec", [Sign(), TopK(3), "sign", Scaled(Stochastic(2))])
def test_only_an_unbiased_codec_is_scaled(codec):
    with pytest.raises(ConfigError, match="takes an unbiased codec"):
        Scaled(codec)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_piecewise_is_its_parts(dtype):
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


def test_every_block_draws_by_itself():
    codec = Piecewise((Stochastic(1),), (0, 50, 100))
    x = np.tile(vector(50), 2)
    decoded = codec.decode(codec.encode(x, key=1), 100)
    assert (decoded[:50] != decoded[50:]).any()


def test_piecewise_errs_as_its_worst_part():
    parts = Piecewise((Sign(), TopK(0.5)), (0, 10, 20))
    assert parts.error(20) == max(Sign().error(10), TopK(0.5).error(10))
    assert not parts.unbiased
    assert Piecewise((Stochastic(), Bernoulli()), (0, 10, 20)).unbiased


def test_a_damaged_piecewise_frame_changes_nothing():
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
def test_piecewise_refuses_before_it_writes(value):
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
def test_what_cannot_be_pieced_together(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Piecewise(*arguments)


def test_bounds_must_cover_the_vector():
    with pytest.raises(ConfigError, match="cover 100 entries, the vector has 99"):
        PIECEWISE.encode(vector(99))


@pytest.mark.parametrize(
    ("spec", "options", "expected"),
    [
        ("topk", {}, TopK()),
        ("topk", {"k": 5}, TopK(5)),
        ("topk:k=0.1", {"k": 5}, TopK(0.1)),
        ("stochastic:bits=3,norm=max", {}, Stochastic(3, "max")),
        ("stochastic:bits=3,scaled", {}, Scaled(Stochastic(3))),
        ("stochastic:scaled=false", {"scaled": True}, Stochastic()),
        ("qtopk:scaled=false", {"k": 3}, codecs.QTopK(3, scaled=False)),
        ("qtopk", {"scaled": True}, codecs.QTopK(scaled=True)),
        (
            "signtopk:k=0.2+dense+stochastic:bits=3",
            {},
            PIECEWISE,
        ),
        (
            "topk+dense+topk:k=2",
            {"k": 7},
            Piecewise((TopK(7), Dense(), TopK(2)), BOUNDS),
        ),
    ],
)
def test_codecs_in_words(spec, options, expected):
    assert codecs.build(spec, options, tensors=BOUNDS) == expected


def test_blocks_go_where_they_fit():
    layers = {"bounds": BOUNDS}
    made = codecs.build("sign", {}, defaults=layers, tensors=BOUNDS)
    assert made == Sign(bounds=BOUNDS)
    made = codecs.build("sign:block=5", {}, defaults=layers, tensors=BOUNDS)
    assert made == Sign(block=5)
    made = codecs.build("dense", {}, defaults=layers, tensors=BOUNDS)
    assert made == Dense()
    made = codecs.build("sign+dense+sign", {}, defaults=layers, tensors=BOUNDS)
    assert made == Piecewise((Sign(), Dense(), Sign()), BOUNDS)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("tokp", {}, "did you mean topk?"),
        ("topk+sing", {}, "did you mean sign?"),
        ("topk:kk=3", {}, "no option 'kk'"),
        ("topk:k=", {}, "has no value; give k=VALUE"),
        ("topk", {"bits": 3}, "no option 'bits'"),
        ("sign", {"scaled": True}, "takes an unbiased codec"),
        ("topk:k=0", {}, "k must be"),
        ("piecewise", {}, "joined by + are piecewise"),
        ("scaled", {}, "NAME:scaled divides"),
    ],
)
def test_words_that_mean_nothing(spec, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        codecs.build(spec, options, tensors=BOUNDS)
