"""A data set in memory, checked once, small until its rows are used.

Bytes (images) stay ``uint8`` until rows are taken: many ranks on a node load the same
set, and each needs only its own shard as floats.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError, Indices

# A feature matrix: C-contiguous ndarray (uint8 = raw, or float) or scipy csr_array.
# scipy has no types, and importing it here would cost each rank's start-up.
Features = Any

_WHOLE_BYTES = 64 * 2**20  # arrays up to this size are hashed byte by byte
_PIECES, _PIECE_BYTES = 1024, 2**16  # what is hashed of larger ones


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Features and class indices, for training and (where there is one) for testing.

    ``x`` and ``x_test`` have shape (samples, features): a C-contiguous ``uint8`` array
    whose feature values are ``x / divisor``, or floats of ``dtype`` (dense ndarray or
    ``scipy.sparse.csr_array``) which are the feature values themselves. ``y`` and
    ``y_test`` are int64 class indices 0 .. classes - 1, in the order of the original
    labels, which ``labels`` lists. ``source`` says where the data came from.
    """

    name: str
    source: str
    x: Features
    y: Indices
    x_test: Features = None
    y_test: Indices | None = None
    labels: tuple[int, ...]
    divisor: float = 1.0
    dtype: np.dtype[Any]

    @property
    def samples(self) -> int:
        """Number of training samples."""
        return int(self.x.shape[0])

    @property
    def features(self) -> int:
        """Number of features of a sample."""
        return int(self.x.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    def rows(self, which: Indices | slice) -> Features:
        """Return these training rows as floats of ``dtype``, in memory of their own."""
        part = self.x[which]
        if is_sparse(part):
            return part.astype(self.dtype, copy=isinstance(which, slice))
        out = np.empty(part.shape, self.dtype)
        convert(part, self.divisor, out)
        return out

    def digest(self) -> str:
        """Return a hex digest of what the numbers are, not of where they came from.

        It covers shapes, dtypes, divisor and labels, and of each array all bytes up to
        64 MiB. Of a larger array it covers 1024 evenly spaced pieces of 64 KiB, and
        all of it by the sum of its 8-byte words, so that any single change shows.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256(repr((self.labels, self.divisor)).encode())
        parts: tuple[Features, ...] = (self.x, self.y, self.x_test, self.y_test)
        for part in parts:
            if part is None:
                sha.update(b"none")
            elif is_sparse(part):
                sha.update(repr(part.shape).encode())
                for array in (part.indptr, part.indices, part.data):
                    _hash_array(sha, array)
            else:
                _hash_array(sha, part)
        return sha.hexdigest()


def is_sparse(x: Features) -> bool:
    """Whether ``x`` is a scipy sparse matrix; asks without importing scipy."""
    return not isinstance(x, np.ndarray)


def convert(part: NDArray[Any], divisor: float, out: NDArray[Any]) -> None:
    """Write a dense part's feature values into ``out``, a float array of its shape."""
    if part.dtype == np.uint8:
        np.divide(part, divisor, out=out, dtype=out.dtype, casting="unsafe")
    else:
        np.copyto(out, part, casting="unsafe")


def assemble(
    name: str,
    source: str,
    train: tuple[Features, NDArray[Any]],
    test: tuple[Features, NDArray[Any]] | None = None,
    *,
    divisor: float = 1.0,
    dtype: Any = np.float32,
) -> Dataset:
    """Return the data set of these features and labels, or say what is wrong with them.

    ``train`` and ``test`` are (features, labels); labels are any integers, also as
    floats. Raises ``ConfigError`` for empty, misshapen or not finite features, and for
    labels that don't fit: wrong number, NaN, not integer, a single class, or classes
    in the test set that training doesn't have.
    """
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise ConfigError(f"dtype: must be float32 or float64, got {kind}")
    x = _features(name, "training", train[0], kind)
    raw = _labels(name, "training", train[1], x.shape[0])
    values = np.unique(raw)
    if values.size < 2:
        raise ConfigError(
            f"{name}: all training labels are {values[0]}; at least two classes are "
            "needed"
        )
    x_test = y_test = None
    if test is not None:
        x_test = _features(name, "test", test[0], kind)
        if x_test.shape[1] != x.shape[1]:
            raise ConfigError(
                f"{name}: test samples have {x_test.shape[1]} features, training "
                f"samples {x.shape[1]}; both need the same"
            )
        raw_test = _labels(name, "test", test[1], x_test.shape[0])
        unseen = np.setdiff1d(raw_test, values)
        if unseen.size:
            raise ConfigError(
                f"{name}: test label {unseen[0]} doesn't occur in training, whose "
                f"labels are {_few(values)}"
            )
        y_test = np.searchsorted(values, raw_test).astype(np.int64)
    return Dataset(
        name=name,
        source=source,
        x=x,
        y=np.searchsorted(values, raw).astype(np.int64),
        x_test=x_test,
        y_test=y_test,
        labels=tuple(int(value) for value in values),
        divisor=divisor,
        dtype=kind,
    )


def _features(name: str, which: str, x: Features, dtype: np.dtype[Any]) -> Features:
    if is_sparse(x):
        from scipy.sparse import csr_array

        x = csr_array(x, dtype=dtype)
        x.sum_duplicates()
        values = x.data
    elif x.dtype.kind not in "fiub":
        raise ConfigError(f"{name}: {which} features must be numbers, got {x.dtype}")
    else:
        kind = np.uint8 if x.dtype == np.uint8 else dtype
        values = x = np.ascontiguousarray(x, kind)
    if len(x.shape) != 2:
        raise ConfigError(
            f"{name}: {which} features must have shape (samples, features), "
            f"got {x.shape}"
        )
    if 0 in x.shape:
        raise ConfigError(
            f"{name}: the {which} set is empty: {x.shape[0]} samples of "
            f"{x.shape[1]} features"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = values[~np.isfinite(values)]
        raise ConfigError(
            f"{name}: {bad.size} {which} features are not finite in {dtype} (the first "
            f"is {bad[0]}); remove or replace them"
        )
    return x


def _labels(name: str, which: str, labels: NDArray[Any], samples: int) -> Indices:
    labels = np.asarray(labels)
    if labels.shape != (samples,):
        raise ConfigError(
            f"{name}: {samples} {which} samples need as many labels, got labels of "
            f"shape {labels.shape}"
        )
    if labels.dtype.kind not in "fiub":
        raise ConfigError(
            f"{name}: {which} labels must be integers, got {labels.dtype}"
        )
    if labels.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            bad = labels[~(labels == np.rint(labels)) | np.isinf(labels)]
        if bad.size:
            raise ConfigError(
                f"{name}: {bad.size} {which} labels are not integers (the first is "
                f"{bad[0]}); psmpi's problems are classification"
            )
    return labels.astype(np.int64)


def _few(values: NDArray[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:10])
    return shown + (", ..." if values.size > 10 else "")


def _hash_array(sha: Any, array: NDArray[Any]) -> None:
    sha.update(repr((array.shape, array.dtype.str)).encode())
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if data.size <= _WHOLE_BYTES:
        sha.update(data)
        return
    words = data[: data.size // 8 * 8].view(np.uint64)
    sha.update(int(words.sum(dtype=np.uint64)).to_bytes(8, "little"))
    for start in np.linspace(0, data.size - _PIECE_BYTES, _PIECES).astype(np.int64):
        sha.update(data[start : start + _PIECE_BYTES])
