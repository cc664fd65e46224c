"""Kernels against naive formulas, and the rules that all kernels follow."""

import importlib
import math
import pkgutil

import numpy as np
import pytest

from psmpi import codecs, kernels
from psmpi.kernels import bits, floats, hash, indices, reduce, select, vector
from psmpi.kernels.jit import KERNELS
from psmpi.kernels.warmup import examples
from tests.helpers import codec_table
from tests.reference import naive

U = np.uint64
DTYPES = (np.float32, np.float64)


def all_kernels():
    for info in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"psmpi.kernels.{info.name}")
    return sorted(KERNELS, key=lambda kernel: (kernel.__module__, kernel.__name__))


def test_warmup_has_examples_of_all_kernels():
    names = {kernel.py_func.__name__ for kernel in all_kernels()}
    private = {name for name in names if name.startswith("_")}  # compiled by callers
    assert {
        function.__name__ for function, _ in examples(np.float32)
    } == names - private


@pytest.mark.parametrize("kernel", all_kernels(), ids=lambda k: k.py_func.__name__)
def test_all_kernels_are_compiled_with_the_same_options(kernel):
    options = dict(kernel.dispatcher.targetoptions)
    assert options.pop("nopython") is True
    assert options == {
        "boundscheck": None, "nogil": True, "error_model": "numpy"
    } or options == {"nogil": True, "error_model": "numpy"}  # fmt: skip


VARIANTS = [
    {"scale": 2},
    {"scale": np.float32(2)},
    {"scale": np.int64(2)},
    {"key": np.uint32(7)},
    {"key": np.int64(7)},
    {"key": np.uint64(2**63 + 1)},
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("id", codecs.CODECS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_argument_types_cause_no_new_compilation(id, dtype, variant):
    codec = next(iter(codec_table.ROWS[id].instances.values()))
    x = np.arange(-3, 20, dtype=dtype)
    out = np.zeros_like(x)
    codec.decode_add(codec.encode(x), out)
    before = {kernel: len(kernel.dispatcher.signatures) for kernel in all_kernels()}
    readonly = x.copy()
    readonly.flags.writeable = False
    frame = codec.encode(readonly, key=variant.get("key", 0))
    codec.decode_add(
        np.frombuffer(frame.tobytes(), np.uint8), out, scale=variant.get("scale", 1)
    )
    codec.encode(
        x.view(np.memmap), np.empty(codec.max_nbytes(x.size) + 3, np.uint8)[3:]
    )
    after = {kernel: len(kernel.dispatcher.signatures) for kernel in all_kernels()}
    assert before == after
    many = {
        k.py_func.__name__: k.dispatcher.signatures for k, n in after.items() if n > 2
    }
    assert not many


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000])
def test_reductions_equal_exact_sums(size, dtype):
    x = np.random.default_rng(size).standard_normal(size).astype(dtype)
    y = x[::-1].copy()
    assert reduce.max_abs(x) == np.abs(x).max(initial=0)
    assert reduce.sum_abs(x) == pytest.approx(math.fsum(abs(x.astype(float))))
    squares = math.fsum(x.astype(float) ** 2)
    assert reduce.sum_squares(x, 1.0) == pytest.approx(squares)
    assert reduce.norm2(x) == pytest.approx(squares**0.5)
    assert reduce.distance_squares(x, y) == pytest.approx(
        math.fsum((x.astype(float) - y) ** 2)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.4, 0.0), (0.0, 2.0), (0.4, 2.0)])
def test_proximal_step(l1, l2, dtype):
    rng = np.random.default_rng(5)
    x, direction = rng.standard_normal((2, 1000)).astype(dtype)
    v = x.astype(float) - 0.7 * direction.astype(float)
    shrunk = np.sign(v) * np.maximum(np.abs(v) - 0.7 * l1, 0)
    want = (shrunk / (1 + 0.7 * l2)).astype(dtype)
    vector.proximal_step(x, direction, 0.7, l1, l2)
    np.testing.assert_allclose(x, want, rtol=np.finfo(dtype).eps, atol=1e-15)
    assert (x == 0).any() == (l1 > 0)


def test_a_proximal_step_finds_the_minimum():
    for v in (-3.0, -0.1, 0.0, 0.2, 5.0):
        grid = np.linspace(-6, 6, 120001)
        h = 0.5 * np.abs(grid) + 0.15 * grid**2
        x = np.array([v + 1.0])
        vector.proximal_step(x, np.array([2.0]), 0.5, 0.5, 0.3)
        best = grid[np.argmin(0.5 * h + 0.5 * (grid - v) ** 2)]
        assert x[0] == pytest.approx(best, abs=1e-4)


def test_a_proximal_step_keeps_entries_that_are_not_finite():
    x = np.array([np.nan, np.inf, -np.inf, 1])
    vector.proximal_step(x, np.array([0, 0, 0, np.nan]), 1.0, 0.5, 0.5)
    np.testing.assert_array_equal(x, [np.nan, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("dtype", DTYPES)
def test_extrapolate(dtype):
    x, snapshot, y = np.random.default_rng(5).standard_normal((3, 1000)).astype(dtype)
    base = snapshot.astype(float)
    want = (base + 0.3 * (y - base)).astype(dtype)
    vector.extrapolate(x, snapshot, y, 0.3)
    np.testing.assert_allclose(x, want, rtol=1e-15 if dtype == np.float64 else 0)


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1e-100, 1e200, 1e307])
def test_the_norm_neither_overflows_nor_underflows(size):
    assert reduce.norm2(np.array([3, 4]) * size) == pytest.approx(5 * size)


@pytest.mark.parametrize("place", [0, 70, 99])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_max_abs_is_not_finite_if_an_entry_is_not(dtype, value, place):
    x = np.ones(100, dtype)
    x[place] = value
    assert not reduce.max_abs(x) < np.inf


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 17, 64, 65, 1000])
@pytest.mark.parametrize("width", range(1, 33))
def test_packed_bits_equal_the_naive_stream(width, size):
    codes = np.random.default_rng(width).integers(0, 2**width, size, np.uint32)
    stream = naive.to_bytes([b for c in codes for b in naive.code_bits(int(c), width)])
    frame = np.full(len(stream) + 20, 0xAA, np.uint8)
    bits.pack(codes, U(width), frame, 3)
    assert frame.tobytes() == b"\xaa" * 3 + stream + b"\xaa" * 17
    back = np.full(size + 4, 77, np.uint32)
    # The buffer ends with the stream: a read past it would be outside.
    bits.unpack(frame[: 3 + len(stream)], 3, U(width), back[:size])
    np.testing.assert_array_equal(back[:size], codes)
    assert (back[size:] == 77).all()


@pytest.mark.parametrize("index", [0, 1, 2, 12345, 2**40])
@pytest.mark.parametrize("key", [0, 1, 2**64 - 1])
def test_draws_equal_the_naive_ones(key, index):
    assert int(hash.draw(U(hash.start(U(key))), U(index))) == naive.draw(key, index)
    chance = hash.uniform(U(hash.start(U(key))), U(index))
    assert chance == (naive.draw(key, index) >> 12) / 2**52


def test_draws_of_neighbouring_keys_are_not_correlated():
    words = np.empty((4, 20000), np.uint32)
    for key in range(4):
        hash.draw_words(U(hash.start(U(key))), U(0), words[key])
    rows = np.vstack([words[:, :-1], words[:, 1:]]).astype(float)
    matrix = np.corrcoef(rows)
    assert abs(matrix - np.eye(8)).max() < 5 / 20000**0.5
    assert abs(words.mean(1) / 2**32 - 0.5).max() < 5 / (12 * 20000) ** 0.5


@pytest.mark.parametrize("value", [0.0, -2.5, 3e38, 1e-45, np.inf, np.nan])
def test_largest_value_of_a_frame(value):
    values = np.array([1e-46, value, -0.0], "<f4")
    frame = np.concatenate([np.zeros(3, np.uint8), values.view(np.uint8)])
    expected = float(np.abs(values).max())
    np.testing.assert_equal(floats.largest(frame, 3, 3), expected)


VECTORS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "ties": lambda rng, n: rng.integers(-2, 3, n),
    "zero": lambda rng, n: np.zeros(n),
    "equal": lambda rng, n: np.ones(n),
    "wide": lambda rng, n: rng.standard_normal(n) * 10.0 ** rng.integers(-30, 30, n),
    "close": lambda rng, n: 1 + rng.integers(0, 4, n) * 2.0**-23,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 1])
@pytest.mark.parametrize("size", [1, 2, 17, 1000, 5000])
@pytest.mark.parametrize("vector", VECTORS)
def test_top_k_equals_sorting(vector, size, share, dtype):
    x = VECTORS[vector](np.random.default_rng(size), size).astype(dtype)
    k = max(1, int(share * size))
    order = np.lexsort((np.arange(size), -abs(x)))[:k]
    expected = np.sort(order[x[order] != 0])
    np.testing.assert_array_equal(select.top_k(x, k, U(1)), expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("count", "dim"), [(40, 7850), (10, 1000), (78, 7850), (1000, 10**6), (50, 10**6)]
)
def test_index_code_is_near_the_bound(count, dim, seed):
    rng = np.random.default_rng(seed)
    lengths = []
    for _ in range(50):  # the mean is claimed, single draws vary
        chosen = np.sort(rng.choice(dim, count, replace=False)).astype(np.uint32)
        mode, length = indices.shortest_mode(chosen, dim)
        stream = np.empty((length + 7) // 8, np.uint8)
        indices.write_indices(chosen, dim, mode, stream)
        back = np.empty_like(chosen)
        assert indices.read_indices(stream, dim, mode, back)
        assert (back == chosen).all()
        lengths.append(
            8 * (stream.size + codecs.layout.index_stream.header_nbytes(count))
        )
    bound = math.log2(math.comb(dim, count))
    overhead = 0 if count > 20 else 16  # two header bytes weigh more than 8 % of ten
    assert np.mean(lengths) <= 1.08 * bound + overhead
