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
    """Return the bytes of the codec's frame, by the naive encoder of its row."""
    from tests.helpers.codec_table import ROWS  # which names the encoders below

    return ROWS[codec.id].naive(codec, x, key)


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
    """Return an entry's 32 random bits; the even entry has the lower half of a draw."""
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


def upper32(norm):
    norm32 = np.float32(float(norm))
    # The square root is rounded to float64 before it is compared as float32.
    if float(norm32) < float(norm):
        norm32 = np.nextafter(norm32, np.float32(np.inf))
    return float(norm32)


def rounded(v, norm, bits, dtype, word):
    """Return a level that is rounded at random, by 31 bits of a random word."""
    top = 2**bits - 1
    snap = 2.0**-23 if dtype == np.float32 else 2.0**-50
    ratio = top / norm
    chance = (word >> 1) / 2**31
    level = abs(v) * ((1 + snap) * ratio) + chance * (1 - abs(v) * (2 * snap * ratio))
    return min(math.floor(level), top)


def stochastic(codec, x, key):
    if codec.norm == "l2":
        norm = exact_norm(x)
    else:
        norm = max((abs(Fraction(v)) for v in x.tolist()), default=Fraction(0))
    if norm == 0:
        return f32(0.0)
    norm = upper32(norm)
    bits = []
    for i, v in enumerate(x.tolist()):
        level = rounded(v, norm, codec.bits, x.dtype, word32(key, i))
        bits += [*code_bits(level, codec.bits), int(v < 0)]
    return f32(norm) + to_bytes(bits)


def decimal(codec, x, key):
    snap = 2.0**-23 if x.dtype == np.float32 else 2.0**-50

    def level(v, chance):
        exact = abs(v) * float(10**codec.digits)
        bend = min(snap * exact, 0.5)
        return math.floor(exact + bend + chance * (1 - 2 * bend))

    top = max((level(v, 1 - 2.0**-31) for v in x.tolist()), default=0)
    if not top:
        return b"\0"
    width = 1 + math.ceil(math.log2(top + 1))
    bits = []
    for i, v in enumerate(x.tolist()):
        drawn = min(level(v, (word32(key, i) >> 1) / 2**31), top)
        bits += [*code_bits(drawn, width - 1), int(v < 0)]
    return bytes([width]) + to_bytes(bits)


def blocks(codec, x):
    """Return (first, last) of every block."""
    bounds = codec.bounds or [*range(0, x.size, codec.block or max(x.size, 1)), x.size]
    return list(itertools.pairwise(bounds))


def sign(codec, x, key):
    scales, bits = b"", []
    for first, last in blocks(codec, x):
        part = x[first:last].tolist()
        scale = single(math.fsum(abs(v) for v in part) / len(part))
        scales += f32(scale)
        bits += [int(v < 0) for v in part if scale > 0]
    return scales + to_bytes(bits)


def ternary(codec, x, key):
    snap = 2.0**-23 if x.dtype == np.float32 else 2.0**-50
    scales, trits = b"", []
    for first, last in blocks(codec, x):
        part = x[first:last].tolist()
        scale = max(abs(v) for v in part)
        if codec.clip:
            mean = sum(map(Fraction, part)) / len(part)
            variance = sum((v - mean) ** 2 for v in part) / len(part)
            scale = min(scale, codec.clip * math.sqrt(variance) or scale)
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


def count_of(k, dim):
    """Return the entries that the option k means; 0.07 of 100 is exactly 7."""
    return min(dim, math.ceil(Fraction(repr(k)) * dim) if k < 1 else k)


def coded(indices, dim):
    """Return header and stream of ascending indices."""
    streams = []
    for parameter in range(32):
        bits, following = [], 0
        for i in indices:
            gap, following = i - following, i + 1
            bits += [0] * (gap >> parameter) + [1] + code_bits(gap, parameter)
        streams.append(bits)
    width = math.ceil(math.log2(dim)) if dim > 1 else 0
    streams.append([bit for i in indices for bit in code_bits(i, width)])
    streams.append([int(i in indices) for i in range(dim)])
    mode = min(range(34), key=lambda mode: len(streams[mode]))
    header, rest = [mode], len(indices)
    while rest >= 128:
        header.append(rest % 128 + 128)
        rest //= 128
    return bytes([*header, rest]), to_bytes(streams[mode])


def pairs(x, chosen):
    """Return the frame of the float32 values of ``chosen``, {index: value}."""
    chosen = {i: single(v) for i, v in sorted(chosen.items()) if single(v) != 0}
    header, stream = coded(list(chosen), x.size)
    return header + b"".join(f32(v) for v in chosen.values()) + stream


def largest(codec, x):
    """Yield per block the ascending indices of the largest entries."""
    for first, last in blocks(codec, x):
        order = sorted(range(first, last), key=lambda i: (-abs(x[i]), i))
        chosen = order[: count_of(codec.k, last - first)]
        yield sorted(i for i in chosen if single(float(x[i])) != 0)


def topk(codec, x, key):
    return pairs(x, {i: float(x[i]) for part in largest(codec, x) for i in part})


def grouped(x, groups, width):
    """Return the frame of ``groups``, which has per block floats and {index: code}."""
    filled = [(scale, codes) for scale, codes in groups if codes]
    entries = [entry for _, codes in filled for entry in sorted(codes.items())]
    header, stream = coded([i for i, _ in entries], x.size)
    flags = [int(bool(codes)) for _, codes in groups]
    flags = to_bytes(flags) if len(groups) > 1 and entries else b""
    bits = [bit for _, code in entries for bit in code_bits(code, width)]
    scales = b"".join(f32(v) for scale, _ in filled for v in np.atleast_1d(scale))
    return header + flags + scales + to_bytes(bits) + stream


def signtopk(codec, x, key):
    groups = []
    for chosen in largest(codec, x):
        total = math.fsum(abs(float(x[i])) for i in chosen)
        codes = {i: int(x[i] < 0) for i in chosen}
        groups.append((single(total / max(len(chosen), 1)), codes))
    return grouped(x, groups, 1)


def qtopk(codec, x, key):
    groups, place = [], 0
    for chosen in largest(codec, x):
        norm, codes = upper32(exact_norm(x[chosen])), {}
        for i in chosen:
            word = word32(key, place)
            level = rounded(float(x[i]), norm, codec.bits, x.dtype, word)
            if level:
                codes[i] = level + (int(x[i] < 0) << codec.bits)
            place += 1
        groups.append((norm, codes))
    return grouped(x, groups, codec.bits + 1)


def chunktopk(codec, x, key):
    groups, L = [], 2**codec.bits
    for first, last in blocks(codec, x):
        v = {}
        for a in range(first, last, codec.chunk):
            b = min(a + codec.chunk, last)
            k = count_of(codec.k, b - a) if codec.k < 1 else codec.k
            order = sorted(range(a, b), key=lambda i: (-abs(x[i]), i))[:k]
            v |= {i: single(float(x[i])) for i in sorted(order) if single(x[i]) != 0}
        n, values = len(v), np.zeros(L)
        if n <= L:
            codes = {i: code for code, i in enumerate(v)}
            values[:n] = list(v.values())
            groups.append((values, codes))
            continue
        total = 0.0
        for value in v.values():
            total += value  # by and by, as Python's sum() is exact since 3.12
        shift = single(total / n)
        squares = 0.0
        for value in v.values():
            squares += (value - shift) ** 2
        sigma = math.sqrt(squares / (n - 1))
        scale = 6 * sigma / L if sigma else 1.0
        codes = {
            i: min(max(round((value - shift) / scale + L / 2), 0), L - 1)
            for i, value in v.items()
        }
        for code in set(codes.values()):
            total, own = 0.0, [v[i] for i in v if codes[i] == code]
            for value in own:
                total += value
            values[code] = single(total / len(own))
        groups.append((values, codes))
    return grouped(x, groups, codec.bits)


def adacomp(codec, x, key, latest=None):
    latest = x if latest is None else latest
    groups = []
    for first, last in blocks(codec, x):
        edges = [*range(first, last, codec.bin), last]
        bins = [range(a, b) for a, b in itertools.pairwise(edges)]
        tops = [max(abs(float(x[i])) for i in part) for part in bins]
        scale = single(math.fsum(tops) / len(tops))
        codes = {
            i: int(x[i] < 0)
            for part, top in zip(bins, tops, strict=True)
            for i in part
            if scale and x[i] != 0 and abs(float(x[i]) + float(latest[i])) >= top
        }
        groups.append((scale, codes))
    return grouped(x, groups, 1)


def sparse(codec, x, key):
    if codec.bits == 32:
        return pairs(x, dict(enumerate(x.tolist())))
    chosen = {i: v for i, v in enumerate(x.tolist()) if v != 0}
    header, stream = coded(list(chosen), x.size)
    return header + struct.pack(f"<{len(chosen)}d", *chosen.values()) + stream


def wangni(codec, x, key):
    k = count_of(codec.k, x.size)
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


def sparsesign(codec, x, key):
    top = max((abs(v) for v in x.tolist()), default=0.0)
    if top == 0:
        return f32(0.0)
    scale = upper32(top / codec.budget)
    kept = [
        i
        for i, v in enumerate(x.tolist())
        if (draw(key, i) >> 12) / 2**52 < abs(v) / scale
    ]
    header, stream = coded(kept, x.size)
    return f32(scale) + header + to_bytes([int(x[i] < 0) for i in kept]) + stream


def bernoulli(codec, x, key):
    share = codec.k if codec.k < 1 else codec.k / max(x.size, 1)
    limit = max(1, round(share * TWO32))
    kept = [v for i, v in enumerate(x.tolist()) if word32(key, i) < limit]
    return struct.pack("<Q", key) + b"".join(f32(single(v)) for v in kept)


def scaled(codec, x, key):
    return encode(codec.codec, x, key)


def choice(codec, x, key):
    return bytes([codec.chosen]) + encode(codec.parts[codec.chosen], x, key)


def piecewise(codec, x, key):
    frame = b""
    for b, (first, last) in enumerate(itertools.pairwise(codec.bounds)):
        part = codec.parts[b % len(codec.parts)]
        piece = encode(part, x[first:last], draw(key, b))
        frame += struct.pack("<I", len(piece)) + piece
    return frame
