"""The codecs' door: every argument checked and brought to one spelling.

Kernels are compiled per argument type, so whatever the caller wrote (an int as scale, a
NumPy scalar, a read-only or unaligned array) becomes float, uint64 or a plain
contiguous array here, and a kernel is compiled once for float32 and once for float64.
"""

from __future__ import annotations

import math
import operator
import struct
from typing import Any, NoReturn

import numpy as np

from psmpi.base import ConfigError, Frame, FrameError, Indices, Vector
from psmpi.kernels.sparse import FLOAT32_LIMIT as FLOAT32_LIMIT

FLOAT32_MAX = float(np.finfo(np.float32).max)
MAX_SPARSE_DIM = 2**32  # indices are uint32


def integer(codec: str, field: str, value: Any, low: int, high: int | None) -> int:
    """Return ``value`` as int in [low, high], or say what it must be."""
    span = f"at least {low}" if high is None else f"{low}..{high}"
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ConfigError(
            f"{codec}: {field} must be an integer, {span}; got {value!r}"
        ) from None
    if number < low or (high is not None and number > high):
        raise ConfigError(f"{codec}: {field} must be {span}, got {number}")
    return number


def bounds(codec: str, given: Any) -> tuple[int, ...]:
    """Return the bounds of blocks as a tuple: from 0, ascending."""
    try:
        found = tuple(integer(codec, "bounds", bound, 0, None) for bound in given)
    except TypeError:
        found = ()
    if found[:1] != (0,) or np.any(np.diff(found) <= 0):
        raise ConfigError(
            f"{codec}: bounds must start with 0 and ascend, got {given!r}"
        )
    return found


def amount(codec: str, k: Any) -> int | float:
    """Return a ``k`` option: a fraction of dim as float, or a count as int."""
    try:
        number = math.nan if isinstance(k, bool) else float(k)
    except (TypeError, ValueError):
        number = math.nan
    if 0 < number < 1:
        return number
    if number >= 1 and number.is_integer():
        return int(number)
    raise ConfigError(
        f"{codec}: k must be a fraction of dim (0 < k < 1) or a count (an integer, "
        f"1 or more), got {k!r}"
    )


def count(codec: str, k: int | float, dim: int) -> int:
    """Return how many of ``dim`` entries the option ``k`` means, at least one if any.

    A fraction is rounded up, but 0.07 of 100 is 7 although 0.07 * 100 > 7.
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
    """Return how many entries the option ``k`` means in blocks of these sizes.

    A count takes all of a shorter block, but some block must have as many.
    """
    if k < 1:
        shares: Indices = np.ceil(k * sizes * (1 - 2.0**-48)).astype(np.int64)
        return shares.clip(1)
    return np.minimum(count(codec, k, int(sizes.max(initial=0))), sizes)


def key64(codec: str, key: Any) -> np.uint64:
    """Return ``key`` as uint64."""
    return np.uint64(integer(codec, "key", key, 0, 2**64 - 1))


def length(codec: str, dim: Any, most: int | None = None) -> int:
    """Return ``dim`` as int."""
    return integer(codec, "dim", dim, 0, most)


def vector(codec: str, x: Any) -> Vector:
    """Return ``x`` as kernels take it; copied only if read-only or unaligned."""
    if not isinstance(x, np.ndarray):
        raise ConfigError(
            f"{codec}: x must be a NumPy array, got {type(x).__name__}; use "
            "numpy.asarray(x)"
        )
    if x.dtype != np.float32 and x.dtype != np.float64:
        raise ConfigError(
            f"{codec}: x must be float32 or float64, got {x.dtype.str}; use x.astype"
        )
    if x.ndim != 1 or not x.flags.c_contiguous:
        raise ConfigError(
            f"{codec}: x must be one-dimensional and contiguous, got shape {x.shape} "
            f"with strides {x.strides}; use numpy.ascontiguousarray(x).ravel()"
        )
    plain: Vector = _plain(x)
    return plain


def _plain(array: Any) -> Any:
    if not (array.flags.writeable and array.flags.aligned):
        return array.copy()
    return array if type(array) is np.ndarray else np.asarray(array)


def support(codec: str, support: Any, size: int, dim: int) -> Indices:
    """Return ``support``, the places of ``size`` entries of a vector, for kernels.

    They ascend, one of each, and are below ``dim``.
    """
    if (
        not isinstance(support, np.ndarray)
        or support.dtype != np.int64
        or support.shape != (size,)
    ):
        raise ConfigError(
            f"{codec}: support must be an int64 array with an index for each of {size} "
            "values"
        )
    plain: Indices = _plain(np.ascontiguousarray(support))
    if size and not (plain[0] >= 0 and plain[-1] < dim and np.all(np.diff(plain) > 0)):
        raise ConfigError(
            f"{codec}: support must ascend, without repeats, in 0..{dim - 1}"
        )
    return plain


def target(codec: str, out: Any) -> Vector:
    """Return ``out``, the vector that is added to; it can't be replaced by a copy."""
    if isinstance(out, np.ndarray) and not (out.flags.writeable and out.flags.aligned):
        raise ConfigError(f"{codec}: out must be writeable and aligned")
    try:
        return vector(codec, out)
    except ConfigError as error:
        raise ConfigError(str(error).replace(": x ", ": out ", 1)) from None


def feedback(codec: str, e: Any, x: Any) -> tuple[Vector, Vector]:
    """Return an error memory and what is added to it, of one type; no entries for None.

    The memory is written to and can't be replaced by a copy.
    """
    try:
        e = target(codec, e)
    except ConfigError as error:
        raise ConfigError(str(error).replace(": out ", ": e ", 1)) from None
    if x is None:
        return e, e[:0]
    x = vector(codec, x)
    if x.dtype != e.dtype or x.size != e.size:
        raise ConfigError(
            f"{codec}: x must be like e, {e.size} entries of {e.dtype}; got {x.size} "
            f"of {x.dtype}"
        )
    return e, x


def received(codec: str, frame: Any) -> Frame:
    """Return a frame as kernels take it; what isn't bytes is the caller's error."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        what = frame.dtype if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ConfigError(
            f"{codec}: a frame is a uint8 array, got {what}; use "
            "numpy.frombuffer(bytes, numpy.uint8)"
        )
    if frame.ndim != 1 or not frame.flags.c_contiguous:
        raise ConfigError(
            f"{codec}: a frame is one-dimensional and contiguous, got shape "
            f"{frame.shape} with strides {frame.strides}"
        )
    plain: Frame = _plain(frame)
    return plain


def factor(codec: str, scale: Any, field: str = "scale") -> float:
    """Return ``scale`` as a finite float."""
    number = float(scale)
    if not math.isfinite(number):
        raise ConfigError(f"{codec}: {field} must be finite, got {number}")
    return number


def room(codec: str, out: Frame | None, nbytes: int) -> Frame:
    """Return a buffer of at least ``nbytes``: ``out``, or a new one."""
    if out is None:
        return np.empty(nbytes, np.uint8)
    out = received(codec, out) if out.flags.writeable else out
    if not out.flags.writeable or out.size < nbytes:
        raise ConfigError(
            f"{codec}: out must be writeable and hold max_nbytes(dim) = {nbytes} "
            f"bytes, got {out.size}"
        )
    return out


def refuse(codec: str, x: Vector, what: str = "entry") -> NoReturn:
    """Raise for the first entry that isn't finite, else for ``what`` beyond float32."""
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        i = int(bad[0])
        raise ConfigError(
            f"{codec}: x[{i}] is {x[i]}; only finite vectors can be encoded "
            f"({bad.size} of {x.size} entries are not)"
        )
    raise ConfigError(
        f"{codec}: the {what} does not fit into a float32 (at most {FLOAT32_MAX:.4g}); "
        "scale the vector down"
    )


def damaged(codec: str, what: str) -> NoReturn:
    """Raise FrameError: ``what`` no encoder writes."""
    raise FrameError(f"{codec}: {what}; not a frame of this codec for this vector")


def check_padding(codec: str, frame: Frame, used_bits: int) -> None:
    """Raise unless the bits of the last byte after ``used_bits`` of them are zero."""
    if used_bits % 8 and int(frame[-1]) >> (used_bits % 8):
        damaged(codec, "its padding bits are not zero")


def is_zero(codec: str, frame: Frame, size: int, dim: int) -> bool:
    """Check a frame of one float32 norm and codes; return whether it says zero.

    ``size`` bytes belong to a norm above 0, four to the norm 0.
    """
    norm = struct.unpack("<f", frame[:4].tobytes())[0] if frame.size >= 4 else math.nan
    if not 0 <= norm < math.inf or math.copysign(1.0, norm) < 0:
        damaged(codec, f"{frame.size} bytes, its norm is {norm}")
    if frame.size != (size if norm else 4) or (norm and not dim):
        damaged(codec, f"{frame.size} bytes for {dim} entries and the norm {norm}")
    return bool(norm == 0)
