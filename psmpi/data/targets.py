"""Targets of a data set: classes or real numbers, and the rule that tells them apart.

=====================================================  ==============================
training targets                                       what they are
=====================================================  ==============================
any value is not an integer                            regression targets
integers (also stored as floats), at most 100 differ   classes
integers, more than 100 differ                         refused: the user has to choose
=====================================================  ==============================

``,targets=real`` or ``,targets=classes`` at the end of ``libsvm:`` and ``npz:`` names
overrides the rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError
from psmpi.data.spec import hint

# int64 class indices, shape (samples,); or float64 regression targets, shape (samples,)
# for one output and (samples, outputs) for several.
Targets = NDArray[Any]
Labels = tuple[int, ...]

CLASSES, REAL, AUTO = "classes", "real", "auto"
MOST_CLASSES = 100  # more distinct integers than this are not taken for classes
_OPTION = ",targets="


def split_option(name: str) -> tuple[str, str]:
    """Return ``name`` without ``,targets=KIND`` at its end, and KIND (or ``auto``)."""
    path, option, kind = name.rpartition(_OPTION)
    if not option:
        return name, AUTO
    if kind not in (CLASSES, REAL):
        raise ConfigError(
            f"targets: no kind is called {kind!r}; {hint(kind, (CLASSES, REAL))}"
        )
    return path, kind


def check(
    name: str,
    train: tuple[Any, int],
    test: tuple[Any, int] | None,
    kind: str = CLASSES,
) -> tuple[Targets, Targets | None, Labels]:
    """Return training targets, test targets (or None), and the labels of the classes.

    ``train`` and ``test`` are (targets, number of samples). The labels are the original
    values of the classes in ascending order; there are none for regression. ``kind`` is
    ``classes``, ``real`` or ``auto``, which goes by the table above. Raises
    ``ConfigError`` for targets that don't fit.
    """
    if kind == AUTO:
        kind = _guess(name, np.asarray(train[0]))
    if kind == REAL:
        y = _real(name, "training", *train)
        y_test = None if test is None else _real(name, "test", *test)
        if y_test is not None and y_test.shape[1:] != y.shape[1:]:
            raise ConfigError(
                f"{name}: test targets have shape {y_test.shape}, training targets "
                f"{y.shape}; both need the same number of outputs"
            )
        return y, y_test, ()
    return _classes(name, train, test)


def _guess(name: str, y: NDArray[Any]) -> str:
    if y.dtype.kind not in "fiub" or y.size == 0:
        return CLASSES  # where this is refused with a reason
    if y.dtype.kind == "f" and _not_integers(y).size:
        return REAL
    different = np.unique(y).size
    if different > MOST_CLASSES:
        raise ConfigError(
            f"{name}: the targets are {different} different integers, which may be "
            f"classes or numbers to predict; add {_OPTION}{REAL} to the name for least "
            f"squares, or {_OPTION}{CLASSES} for a softmax over {different} classes"
        )
    return CLASSES


def _classes(
    name: str, train: tuple[Any, int], test: tuple[Any, int] | None
) -> tuple[Targets, Targets | None, Labels]:
    labels = _integers(name, "training", *train)
    values = np.unique(labels)
    if values.size < 2:
        raise ConfigError(
            f"{name}: all training labels are {values[0]}; at least two classes are "
            "needed"
        )
    y_test = None
    if test is not None:
        test_labels = _integers(name, "test", *test)
        unseen = np.setdiff1d(test_labels, values)
        if unseen.size:
            raise ConfigError(
                f"{name}: test label {unseen[0]} doesn't occur in training, whose "
                f"labels are {_abbreviated(values)}"
            )
        y_test = np.searchsorted(values, test_labels).astype(np.int64)
    y = np.searchsorted(values, labels).astype(np.int64)
    return y, y_test, tuple(int(value) for value in values)


def _integers(name: str, which: str, array: Any, samples: int) -> Targets:
    labels: Targets = np.asarray(array)
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
        wrong = _not_integers(labels)
        if wrong.size:
            raise ConfigError(
                f"{name}: {wrong.size} {which} labels are not integers (the first is "
                f"{wrong[0]}), but classes are; real targets need {_OPTION}{REAL}"
            )
    return labels.astype(np.int64)


def _real(name: str, which: str, array: Any, samples: int) -> Targets:
    targets: Targets = np.asarray(array)
    if targets.shape[:1] != (samples,) or targets.ndim > 2 or targets.size == 0:
        raise ConfigError(
            f"{name}: {samples} {which} samples need targets of shape ({samples},) or "
            f"({samples}, outputs), got {targets.shape}"
        )
    if targets.dtype.kind not in "fiub":
        raise ConfigError(
            f"{name}: {which} targets must be numbers, got {targets.dtype}"
        )
    targets = np.ascontiguousarray(targets, np.float64)
    wrong = targets[~np.isfinite(targets)]
    if wrong.size:
        raise ConfigError(
            f"{name}: {wrong.size} {which} targets are not finite (the first is "
            f"{wrong[0]}); remove or replace them"
        )
    return targets[:, 0] if targets.shape[1:] == (1,) else targets


def _not_integers(values: NDArray[Any]) -> NDArray[Any]:
    """Return the floats that are not integers; NaN and infinity are not."""
    with np.errstate(invalid="ignore"):
        wrong: NDArray[Any] = values[~(values == np.rint(values)) | np.isinf(values)]
    return wrong


def _abbreviated(values: NDArray[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:10])
    return shown + (", ..." if values.size > 10 else "")
