"""The bytes of every codec, entry by entry in plain Python: slow, obvious, independent.

Shares nothing with the kernels. Bits are kept in a list, one integer per bit.
"""

from __future__ import annotations

import itertools
import math
import struct
from fractions import Fraction

import numpy as np

WORD = 2**64 - 1
TWO32 = 2**32


def encode(codec, x, key=0):
    return ENCODERS[codec.id](codec, x, key)


def single(value):
    return float(np.float32(value))


def f32(value):
    return struct.pack("<f", value)


def code_bits(code, width):
    return [code >> j & 1 for j in range(width)]


def to_bytes(bits):
    bits = bits + [0] * (-len(bits) % 8)
    return bytes(
        sum(bit << j for j, bit in enumerate(bits[i : i + 8]))
        for i in range(0, len(bits), 8)
    )


def mix(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
    return z ^ z >> 31


def draw(key, index):
    golden = 0x9E3779B97F4A7C15
    return mix((mix((key + golden) & WORD) + index * golden) & WORD)


def word32(key, index):
    """Two entries share a draw: the even one has its lower half."""
    return draw(key, index // 2) >> (32 if index % 2 else 0) & (TWO32 - 1)


def exact_norm(x):
    squares = sum(Fraction(v) ** 2 for v in x.tolist())
    shift = 2000  # so that the integer square root has digits to spare
    return Fraction(math.isqrt(int(squares * 2 ** (2 * shift))), 2**shift)


def dense(codec, x, key):
    return x.astype("<f4" if codec.bits == 32 else "<f8").tobytes()


def uniform(codec, x, key):
    radius = single(max((abs(v) for v in x.tolist()), default=0.0))
    if radius == 0:
        return f32(0.0)
    top = 2**codec.bits - 1
    bits = []
    for v in x.tolist():
        level = math.floor((v + radius) * (top / (2 * radius)) + 0.5)
        bits += code_bits(min(max(level, 0), top), codec.bits)
    return f32(radius) + to_bytes(bits)


def stochastic(codec, x, key):
    if codec.norm == "l2":
        norm = exact_norm(x)
    else:
        norm = max((abs(Fraction(v)) for v in x.tolist()), default=Fraction(0))
    if norm == 0:
        return f32(0.0)
    norm32 = np.float32(float(norm))
    # sqrt is rounded to float64 before it is compared with its float32
    if float(norm32) < float(norm):
        norm32 = np.nextafter(norm32, np.float32(np.inf))
    top = 2**codec.bits - 1
    snap = 2.0**-23 if x.dtype == np.float32 else 2.0**-50
    ratio = top / float(norm32)
    bits = []
    for i, v in enumerate(x.tolist()):
        chance = (word32(key, i) >> 1) / 2**31
        level = abs(v) * ((1 + snap) * ratio) + chance * (
            1 - abs(v) * (2 * snap * ratio)
        )
        bits += [*code_bits(min(math.floor(level), top), codec.bits), int(v < 0)]
    return f32(float(norm32)) + to_bytes(bits)


def sign(codec, x, key):
    bounds = codec.bounds or [*range(0, x.size, codec.block or max(x.size, 1)), x.size]
    scales, bits = b"", []
    for first, last in itertools.pairwise(bounds):
        part = x[first:last].tolist()
        scale = single(math.fsum(abs(v) for v in part) / len(part))
        scales += f32(scale)
        bits += [int(v < 0) for v in part if scale > 0]
    return scales + to_bytes(bits)


def ternary(codec, x, key):
    bounds = codec.bounds or [*range(0, x.size, codec.block or max(x.size, 1)), x.size]
    snap = 2.0**-23 if x.dtype == np.float32 else 2.0**-50
    scales, trits = b"", []
    for first, last in itertools.pairwise(bounds):
        part = x[first:last].tolist()
        scale = max(abs(v) for v in part)
        if codec.clip:
            mean = sum(map(Fraction, part)) / len(part)
            variance = sum((v - mean) ** 2 for v in part) / len(part)
            scale = min(scale, codec.clip * math.sqrt(variance))
        scale32 = np.float32(scale)
        if float(scale32) < scale:
            scale32 = np.nextafter(scale32, np.float32(np.inf))
        scale = float(scale32)
        scales += f32(scale)
        for i, v in enumerate(part if scale else [], first):
            chance = (word32(key, i) >> 1) / 2**31
            size = min(abs(v), scale)
            level = size * ((1 + snap) / scale) + chance * (
                1 - size * (2 * snap / scale)
            )
            trits.append((2 if v < 0 else 1) if level >= 1 else 0)
    trits += [0] * (-len(trits) % 5)
    values = (trits[i : i + 5] for i in range(0, len(trits), 5))
    return scales + bytes(sum(t * 3**j for j, t in enumerate(five)) for five in values)


def plane(codec, x, key):
    return to_bytes([int(v < 0) for v in x.tolist()])


def wanted(k, dim):
    """A fraction is meant as it is written: 0.07 of 100 is 7."""
    return min(dim, math.ceil(Fraction(repr(k)) * dim) if k < 1 else k)


def pairs(x, chosen):
    """chosen: {index: value}"""
    chosen = {i: single(v) for i, v in sorted(chosen.items()) if single(v) != 0}
    indices, dim = list(chosen), x.size
    streams = []
    for parameter in range(32):
        bits, following = [], 0
        for i in indices:
            gap, following = i - following, i + 1
            bits += [0] * (gap >> parameter) + [1] + code_bits(gap, parameter)
        streams.append(bits)
    width = math.ceil(math.log2(dim)) if dim > 1 else 0
    streams.append([bit for i in indices for bit in code_bits(i, width)])
    streams.append([int(i in chosen) for i in range(dim)])
    mode = min(range(34), key=lambda mode: len(streams[mode]))
    header, rest = [mode], len(indices)
    while rest >= 128:
        header.append(rest % 128 + 128)
        rest //= 128
    values = b"".join(f32(v) for v in chosen.values())
    return bytes([*header, rest]) + values + to_bytes(streams[mode])


def topk(codec, x, key):
    order = sorted(range(x.size), key=lambda i: (-abs(x[i]), i))
    return pairs(x, {i: float(x[i]) for i in order[: wanted(codec.k, x.size)]})


def wangni(codec, x, key):
    k = wanted(codec.k, x.size)
    sizes = [abs(v) for v in x.tolist()]
    if sum(size > 0 for size in sizes) <= k:
        rate = math.inf
    else:
        rate = k / math.fsum(sizes)
        for _ in range(50):
            rest = [size for size in sizes if rate * size < 1]
            higher = (k - len(sizes) + len(rest)) / (math.fsum(rest) or math.inf)
            if not higher > rate:
                break
            rate = higher
    chosen = {}
    for i, v in enumerate(x.tolist()):
        chance = min(1.0, rate * abs(v)) if v else 0.0
        if (draw(key, i) >> 12) / 2**52 < chance:
            chosen[i] = v / chance
    return pairs(x, chosen)


def bernoulli(codec, x, key):
    share = codec.k if codec.k < 1 else codec.k / max(x.size, 1)
    limit = max(1, round(share * TWO32))
    kept = [v for i, v in enumerate(x.tolist()) if word32(key, i) < limit]
    return struct.pack("<Q", key) + b"".join(f32(single(v)) for v in kept)


ENCODERS = {
    "bernoulli": bernoulli,
    "dense": dense,
    "plane": plane,
    "sign": sign,
    "stochastic": stochastic,
    "ternary": ternary,
    "topk": topk,
    "uniform": uniform,
    "wangni": wangni,
}
