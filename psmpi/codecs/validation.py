"""Checks of codecs' options, of vectors' magnitudes, and of what frames contain.

``codec`` is the id of the codec, for the messages. Options and vectors raise
``ConfigError``, frames ``FrameError``.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NoReturn

import numpy as np

from psmpi.base import ConfigError, Frame, FrameError, Indices, Vector, checks
from psmpi.kernels.floats import FLOAT32_LIMIT as FLOAT32_LIMIT
from psmpi.kernels.reduce import max_abs

FLOAT32_MAX = float(np.finfo(np.float32).max)
MAX_SPARSE_DIM = 2**32  # indices are uint32


def bounds(codec: str, value: Any) -> tuple[int, ...]:
    """Return the option ``bounds`` as a tuple that starts with 0 and ascends."""
    try:
        numbers = tuple(checks.integer(codec, "bounds", b, 0, None) for b in value)
    except TypeError:
        numbers = ()
    if numbers[:1] != (0,) or np.any(np.diff(numbers) <= 0):
        raise ConfigError(
            f"{codec}: bounds must start with 0 and ascend, got {value!r}"
        )
    return numbers


def real(value: Any) -> float:
    """Return a number as float; NaN for anything else, booleans and text included."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def flag(codec: str, name: str, value: Any) -> bool:
    """Return an option that is True or False as bool."""
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{codec}: {name} must be True or False, got {value!r}")
    return bool(value)


def float_bits(codec: str, value: Any) -> int:
    """Return the option ``bits`` of a codec that sends floats: 32 or 64."""
    bits = checks.integer(codec, "bits", value, 32, 64)
    if bits not in (32, 64):
        raise ConfigError(f"{codec}: bits must be 32 or 64, got {bits}")
    return bits


def amount(codec: str, k: Any) -> int | float:
    """Return the option ``k``: a fraction of dim as float, or a count as int."""
    number = real(k)
    if 0 < number < 1:
        return number
    if number >= 1 and number.is_integer():
        return int(number)
    raise ConfigError(
        f"{codec}: k must be a fraction of dim (0 < k < 1) or a count (an integer, "
        f"1 or more), got {k!r}"
    )


def count(codec: str, k: int | float, dim: int) -> int:
    """Return the number of entries that the option ``k`` means for ``dim`` entries.

    At least one, unless ``dim`` is 0. A fraction is rounded up, but 0.07 of 100 is 7
    although 0.07 * 100 > 7 in floating point.
    """
    if dim == 0:
        return 0
    if k < 1:
        return max(1, math.ceil(k * dim * (1 - 2.0**-48)))
    if k > dim:
        raise ConfigError(
            f"{codec}: k = {k} entries of {dim}; give a count of at most {dim}, or a "
            "fraction below 1"
        )
    return int(k)


def counts(codec: str, k: int | float, sizes: Indices) -> Indices:
    """Return the number of entries that ``k`` means in each block, int64.

    A count takes all entries of a shorter block; at least one block must be as long.
    """
    if k < 1:
        shares: Indices = np.ceil(k * sizes * (1 - 2.0**-48)).astype(np.int64)
        return shares.clip(1)
    return np.minimum(count(codec, k, int(sizes.max(initial=0))), sizes)


def check_finite(
    codec: str, x: Vector, limit: float = math.inf, name: str = "x"
) -> None:
    """Raise ConfigError unless all magnitudes of ``x`` are below ``limit``.

    ``limit`` is ``FLOAT32_LIMIT`` for codecs that send entries as float32.
    """
    if not max_abs(x) < limit:
        refuse(codec, x, name=name)


def refuse(codec: str, x: Vector, what: str = "entry", name: str = "x") -> NoReturn:
    """Raise ConfigError: an entry isn't finite, or else ``what`` overflows float32.

    ``name`` is that of the argument ``x``.
    """
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        i = int(bad[0])
        raise ConfigError(
            f"{codec}: {name}[{i}] is {x[i]}; only finite vectors can be encoded "
            f"({bad.size} of {x.size} entries are not)"
        )
    raise ConfigError(
        f"{codec}: the {what} does not fit into a float32 (at most {FLOAT32_MAX:.4g}); "
        "scale the vector down"
    )


def damaged(codec: str, what: str) -> NoReturn:
    """Raise FrameError; ``what`` says what is wrong with the frame."""
    raise FrameError(f"{codec}: {what}; not a frame of this codec for this vector")


def check_padding(codec: str, frame: Frame, used_bits: int) -> None:
    """Raise FrameError unless the bits of the last byte after ``used_bits`` are 0."""
    if used_bits % 8 and int(frame[-1]) >> (used_bits % 8):
        damaged(codec, "its padding bits are not zero")


def is_zero(codec: str, frame: Frame, size: int, dim: int) -> bool:
    """Check a frame of a float32 norm and codes; return whether its norm is 0.

    A frame with a norm above 0 has ``size`` bytes, one with the norm 0 has four.
    """
    norm = struct.unpack("<f", frame[:4].tobytes())[0] if frame.size >= 4 else math.nan
    if not 0 <= norm < math.inf or math.copysign(1.0, norm) < 0:
        damaged(codec, f"{frame.size} bytes, its norm is {norm}")
    if frame.size != (size if norm else 4) or (norm and not dim):
        damaged(codec, f"{frame.size} bytes for {dim} entries and the norm {norm}")
    return bool(norm == 0)
