"""Argument checks that need no knowledge of a codec: vectors, frames, buffers, numbers.

Kernels are compiled per argument type. So whatever the caller passes (an int as scale,
a NumPy scalar, a read-only or unaligned array) becomes float, uint64 or a plain
contiguous array here, and a kernel is compiled once for float32 and once for float64.

Every check takes the id of the codec, and the name of the argument, for its message.
All raise ``ConfigError``.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from psmpi.base.arrays import Frame, Indices, Vector
from psmpi.errors import ConfigError


def integer(codec: str, name: str, value: Any, low: int, high: int | None) -> int:
    """Return ``value`` as int; refuse floats, booleans and what is not in [low, high].

    ``high`` None means that there is no upper bound.
    """
    if type(value) is int and low <= value and (high is None or value <= high):
        return value  # the common case, several times a message
    span = f"at least {low}" if high is None else f"{low}..{high}"
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ConfigError(
            f"{codec}: {name} must be an integer, {span}; got {value!r}"
        ) from None
    if number < low or (high is not None and number > high):
        raise ConfigError(f"{codec}: {name} must be {span}, got {number}")
    return number


def key64(codec: str, key: Any) -> np.uint64:
    """Return a random key as uint64."""
    return np.uint64(integer(codec, "key", key, 0, 2**64 - 1))


def length(codec: str, dim: Any, most: int | None = None) -> int:
    """Return the length of a vector as int, at most ``most``."""
    return integer(codec, "dim", dim, 0, most)


def finite(codec: str, value: Any, name: str) -> float:
    """Return ``value`` as a finite float."""
    number = float(value)
    if not math.isfinite(number):
        raise ConfigError(f"{codec}: {name} must be finite, got {number}")
    return number


def vector(codec: str, x: Any, name: str = "x") -> Vector:
    """Return ``x`` as kernels take it; copied only if read-only or unaligned."""
    if not isinstance(x, np.ndarray):
        raise ConfigError(
            f"{codec}: {name} must be a NumPy array, got {type(x).__name__}; use "
            f"numpy.asarray({name})"
        )
    if x.dtype != np.float32 and x.dtype != np.float64:
        raise ConfigError(
            f"{codec}: {name} must be float32 or float64, got {x.dtype.str}; use "
            f"{name}.astype"
        )
    if x.ndim != 1 or not x.flags.c_contiguous:
        raise ConfigError(
            f"{codec}: {name} must be one-dimensional and contiguous, got shape "
            f"{x.shape} with strides {x.strides}; use "
            f"numpy.ascontiguousarray({name}).ravel()"
        )
    plain: Vector = _plain(x)
    return plain


def target(codec: str, out: Any, name: str = "out") -> Vector:
    """Return a vector that is written to, and so can't be replaced by a copy."""
    if isinstance(out, np.ndarray) and not (out.flags.writeable and out.flags.aligned):
        raise ConfigError(f"{codec}: {name} must be writeable and aligned")
    return vector(codec, out, name)


def error_memory(codec: str, e: Any, x: Any) -> tuple[Vector, Vector | None]:
    """Return an error memory and the vector to be added to it, both of one type."""
    e = target(codec, e, "e")
    if x is None:
        return e, None
    x = vector(codec, x)
    if x.dtype != e.dtype or x.size != e.size:
        raise ConfigError(
            f"{codec}: x must be like e, {e.size} entries of {e.dtype}; got {x.size} "
            f"of {x.dtype}"
        )
    return e, x


def support(codec: str, support: Any, size: int, dim: int) -> Indices:
    """Return the indices of ``size`` entries of a vector: ascending, below ``dim``."""
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


def frame(codec: str, frame: Any) -> Frame:
    """Return ``frame`` if it is a one-dimensional uint8 array; it may be read-only."""
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
    return frame


def received(codec: str, received: Any) -> Frame:
    """Return a frame as kernels take it; copied only if read-only or unaligned."""
    plain: Frame = _plain(frame(codec, received))
    return plain


def room(codec: str, out: Any, nbytes: int) -> Frame:
    """Return ``out``, a buffer that a frame of up to ``nbytes`` is written to."""
    out = frame(codec, out)
    if not out.flags.writeable or out.size < nbytes:
        raise ConfigError(
            f"{codec}: out must be writeable and hold max_nbytes(dim) = {nbytes} "
            f"bytes, got {out.size}"
        )
    return out if type(out) is np.ndarray else np.asarray(out)


def _plain(array: Any) -> Any:
    """Return a writeable aligned ndarray, the only kind that kernels are compiled for.

    Numba has types of their own for read-only arrays and for unaligned ones.
    """
    if not (array.flags.writeable and array.flags.aligned):
        return array.copy()
    return array if type(array) is np.ndarray else np.asarray(array)
