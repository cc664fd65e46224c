"""A data set in memory: features and targets, checked once.

Images stay ``uint8`` until rows are taken: many ranks on a node load the same data set,
and each rank needs only its own shard as floats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError, Indices
from psmpi.data import targets
from psmpi.data.targets import Labels, Targets

# A feature matrix: a C-contiguous ndarray (raw uint8, or floats) or a scipy csr_array.
# scipy has no types, and importing it here would slow down the start of every rank.
Features = Any

_WHOLE_BYTES = 64 * 2**20  # arrays up to this size are hashed byte by byte
_PIECES, _PIECE_BYTES = 1024, 2**16  # number and size of the parts of larger arrays


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Features and targets, for training and (where there is a test set) for testing.

    ``x`` and ``x_test`` have shape (samples, features): a C-contiguous ``uint8`` array
    whose feature values are ``x / divisor``, or floats of ``dtype`` (dense ndarray or
    ``scipy.sparse.csr_array``) which are the feature values themselves.

    ``y`` and ``y_test`` are, for classification, int64 class indices 0 .. classes - 1
    in the order of the original labels, which ``labels`` lists. For regression they are
    float64 targets of shape (samples,), or (samples, outputs) for several outputs, and
    ``labels`` is empty.

    ``source`` says where the data came from; ``files`` are the files that were read.
    """

    name: str
    source: str
    x: Features
    y: Targets
    x_test: Features = None
    y_test: Targets | None = None
    labels: Labels
    divisor: float = 1.0
    dtype: np.dtype[Any]
    files: tuple[Path, ...] = ()

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
        """Number of classes; 0 for regression."""
        return len(self.labels)

    @property
    def is_regression(self) -> bool:
        """Whether the targets are real numbers instead of classes."""
        return not self.labels

    def rows(self, which: Indices | slice) -> Features:
        """Return a copy of these training rows as floats of ``dtype``."""
        part = self.x[which]
        if is_sparse(part):
            return part.astype(self.dtype, copy=isinstance(which, slice))
        out = np.empty(part.shape, self.dtype)
        convert(part, self.divisor, out)
        return out

    def digest(self) -> str:
        """Return a hex digest of the numbers, whatever they were read from.

        It covers shapes, dtypes, divisor and labels, and all bytes of each array of up
        to 64 MiB. Of a larger array it covers 1024 evenly spaced pieces of 64 KiB and
        the sum of all 8-byte words, so that any single change alters the digest.
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
    """Return whether ``x`` is a scipy sparse matrix, without importing scipy."""
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
    kind: str = targets.CLASSES,
    files: Sequence[Path] = (),
) -> Dataset:
    """Return the data set of these features and targets, or say what is wrong.

    ``train`` and ``test`` are (features, targets). ``kind`` says what the targets are:
    ``classes`` (any integers, also as floats), ``real``, or ``auto``, which goes by the
    rule of ``psmpi.data.targets``. ``files`` are those that the data were read from.

    Raises ``ConfigError`` for empty, misshapen or not finite features, and for targets
    that don't fit: wrong number, not finite, a single class, or classes in the test set
    that training doesn't have.
    """
    scalar = np.dtype(dtype)
    if scalar not in (np.float32, np.float64):
        raise ConfigError(f"dtype: must be float32 or float64, got {scalar}")
    x = _features(name, "training", train[0], scalar)
    x_test: Features = None
    if test is not None:
        x_test = _features(name, "test", test[0], scalar)
        if x_test.shape[1] != x.shape[1]:
            raise ConfigError(
                f"{name}: test samples have {x_test.shape[1]} features, training "
                f"samples {x.shape[1]}; both need the same"
            )
    y, y_test, labels = targets.check(
        name,
        (train[1], x.shape[0]),
        None if test is None else (test[1], x_test.shape[0]),
        kind,
    )
    return Dataset(
        name=name,
        source=source,
        x=x,
        y=y,
        x_test=x_test,
        y_test=y_test,
        labels=labels,
        divisor=divisor,
        dtype=scalar,
        files=tuple(files),
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
        scalar = np.uint8 if x.dtype == np.uint8 else dtype
        values = x = np.ascontiguousarray(x, scalar)
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
        wrong = values[~np.isfinite(values)]
        raise ConfigError(
            f"{name}: {wrong.size} {which} features are not finite in {dtype} (the "
            f"first is {wrong[0]}); remove or replace them"
        )
    return x


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
