"""Arguments for every kernel, with which it is compiled, or loaded from the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from psmpi.kernels import (
    bits,
    coins,
    decimal,
    floats,
    grouped,
    hash,
    indices,
    reduce,
    rounding,
    scales,
    select,
    signs,
    trits,
    variance,
    vector,
    votes,
)

U = np.uint64


def examples(dtype: Any) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Return all kernels with the arguments that codecs give them, callees first."""
    x = np.arange(1, 9, dtype=dtype)
    frame = np.zeros(64, np.uint8)
    words = np.arange(8, dtype=np.uint32)
    bounds = np.array([0, 8])
    planes = np.zeros((2, 1), np.uint64)
    least = U(1)
    return [
        (hash.mix, (U(1),)),
        (hash.start, (U(1),)),
        (hash.draw, (U(1), U(1))),
        (hash.uniform, (U(1), U(1))),
        (hash.draw_words, (U(1), U(0), words.copy())),
        (bits.pack, (words, U(4), frame, 0)),
        (bits.window, (frame, U(0))),
        (bits.unpack, (frame, 0, U(4), words.copy())),
        (reduce.max_abs, (x,)),
        (reduce.add_abs, (x, np.zeros(reduce.LANES))),
        (reduce.add_up, (np.zeros(reduce.LANES),)),
        (reduce.sum_abs, (x,)),
        (reduce.sum_squares, (x, 1.0)),
        (reduce.distance_squares, (x, x)),
        (reduce.norm2, (x,)),
        (rounding.upper_float32, (1.0,)),
        (rounding.nearest_encode, (x, U(4), frame)),
        (rounding.nearest_add, (frame, U(4), x.copy(), 1.0)),
        (rounding.stochastic_codes, (x, words, 1.0, U(4), 0.0, words.copy())),
        (rounding.stochastic_encode, (x, U(4), True, 0.0, U(1), frame)),
        (rounding.stochastic_add, (frame, U(4), x.copy(), 1.0)),
        (decimal.decimal_level, (1.0, 1.0, 0.0, 0.5)),
        (decimal.decimal_encode, (x, 1.0, 0.0, 8.0, U(5), U(1), frame)),
        (decimal.decimal_add, (frame, 1.0, U(5), x.copy(), 1.0)),
        (scales.write_scales, (x[:1].astype(np.float32), frame)),
        (scales.entries_sent, (frame, bounds)),
        (signs.sign_encode, (x, bounds, frame)),
        (signs.sign_feedback, (x.copy(), x, 1.0, bounds, frame)),
        (signs.sign_add, (frame, bounds, x.copy(), 1.0)),
        (signs.plane_encode, (x, frame)),
        (signs.plane_add, (frame, x.copy(), 1.0)),
        (select.leading_histogram, (x, U(20 if x.itemsize == 4 else 52))),
        (select.from_top, (np.ones(select.BINS, np.int64), 1)),
        (select.from_bin, (x, least, x.size)),
        (select.all_from, (x, least)),
        (select.top_k, (x, 2, least)),
        (select.threshold, (x, 2)),
        (select.top_k_few, (x, 2, least, words.copy())),
        (select.top_k_blocks, (x, bounds, np.array([2]), least)),
        (indices.index_width, (8,)),
        (indices.rice_length, (words, 0)),
        (indices.shortest_mode, (words, 8)),
        (indices.write_indices, (words, 8, 0, frame[:1])),
        (indices.read_indices, (frame[:1], 8, 0, words.copy())),
        (grouped.group_starts, (words, bounds)),
        (grouped.group_means, (x, bounds)),
        (grouped.group_levels, (x, bounds, U(4), 0.0, U(1), words.copy())),
        (grouped.group_add, (words, words, bounds, np.ones(1), U(4), x.copy(), 1.0)),
        (grouped.cluster, (x, bounds, U(2), words.copy())),
        (
            grouped.cluster_add,
            (words % 4, words, bounds, np.ones((1, 4), np.float32), x.copy(), 1.0),
        ),
        (grouped.bin_means, (x, bounds, 4)),
        (grouped.bin_choose, (x, x, bounds, 4, np.ones(1, np.float32))),
        (floats.values_ok, (frame, 0, 1, False, np.uint32(0))),
        (floats.largest, (frame, 0, 1)),
        (floats.scatter_add, (frame, 0, False, words[:1], x.copy(), 1.0)),
        (floats.dense_write, (x, False, frame)),
        (floats.dense_add, (frame, False, x.copy(), 1.0)),
        (coins.coin_mask, (U(1), U(1), 8)),
        (coins.coin_gather, (x, U(1), U(1), frame)),
        (coins.coin_add, (frame[:8], U(1), x.copy(), 1.0)),
        (coins.below_one, (x, 1.0)),
        (coins.saturating_rate, (x, 2, 50)),
        (coins.weighted_coins, (x, 1.0, U(1), words.copy(), x.astype(np.float32))),
        (coins.is_kept, (1.0, 1.0, U(1), 1)),
        (coins.sign_coins, (x, 8.0, U(1), np.zeros(9, np.uint32))),
        (coins.sign_coins_at, (bounds, x[:2], 8.0, U(1), words[:3].copy())),
        (trits.ternary_encode, (x, bounds, 2.5, 0.0, U(1), frame)),
        (trits.trits_ok, (frame[:2], 8)),
        (trits.ternary_add, (frame, bounds, x.copy(), 1.0)),
        (variance.add_variances, (x, 1.0, 0.0, np.zeros(reduce.LANES))),
        (variance.grid_variance, (x, 8.0, U(4), 0.0, 1.0)),
        (variance.stochastic_variance, (x, U(4), True, 0.0, 1.0)),
        (variance.narrowest_bits, (x, 1.0, 1, 15, 0.0)),
        (vector.adamw, (*(x.copy() for _ in range(4)), (0.9, 0.9), 1.0, 0.1, 1.0, 0.1)),
        (vector.add_nonzeros, (x.copy(), np.zeros(8, np.uint16), x.copy())),
        (vector.mean_of_senders, (x.copy(), np.ones(8, np.uint16))),
        (vector.add_scaled, (x.copy(), x, 1.0)),
        (vector.average, (x.copy(), x, 0.5)),
        (vector.decay, (x.copy(), x.copy(), 0.5, 0.5, 0.5)),
        (vector.extrapolate, (x.copy(), x, x, 0.5)),
        (vector.local_step, (x.copy(), x.copy(), x, 0.5)),
        (vector.nesterov, (x.copy(), x.copy(), 0.5)),
        (vector.proximal_step, (x.copy(), x, 0.5, 0.5, 0.5)),
        (votes.vote_add, (planes, frame[:1], 8)),
        (votes.vote_result, (planes, 1, frame[:1], 8)),
    ]
