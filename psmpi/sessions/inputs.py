"""Checks of what a caller's own loop gives to its session."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from psmpi.base import ConfigError, Vector
from psmpi.runs.evaluation import Diverged, own_metrics

_OF_A_ROW = ("loss", "accuracy")  # metrics that a row has of itself


def fitting(vector: Any, like: Vector, name: str) -> Vector:
    """Return a vector that the caller gives in place of ``like``, checked."""
    if vector is None:
        raise ConfigError(
            f"{name}: got None; give a vector of shape {like.shape}, or nothing if it "
            "is written into the session's own"
        )
    array = np.asarray(vector)
    if array.shape != like.shape or array.dtype.kind not in "fiu":
        raise ConfigError(
            f"{name}: must be numbers of shape {like.shape}, got shape {array.shape} "
            f"of {array.dtype}"
        )
    return array


def metrics(given: Mapping[str, float]) -> dict[str, float]:
    """Return metrics that the caller reports as plain finite numbers."""
    others = {name: value for name, value in given.items() if name not in _OF_A_ROW}
    named = {name: float(given[name]) for name in _OF_A_ROW if name in given}
    named |= own_metrics(others)
    for name, value in named.items():
        if not math.isfinite(value):
            raise ConfigError(f"report: {name} is {value}; it must be finite")
    if not 0 <= named.get("accuracy", 0.0) <= 1:
        raise ConfigError(
            f"report: accuracy is a share between 0 and 1, got {named['accuracy']:g}"
        )
    return named


def step_size(value: Any, id: str, fixed: bool) -> float:
    """Return a step size that the caller sets, checked.

    ``fixed``: the algorithm ``id`` can't change its own.
    """
    if fixed:
        raise ConfigError(
            f"lr: {id} can't change its step size in the middle of a run; give lr and "
            "lr_schedule when the session is opened"
        )
    size = float(value)
    if not 0 <= size < math.inf:
        raise ConfigError(f"lr: must be a number of at least 0, got {value}")
    return size


def finite_loss(loss: float, where: str) -> float:
    """Return the loss as a number; raise ``Diverged`` if it is not finite."""
    number = float(loss)
    if not math.isfinite(number):
        raise Diverged(f"{where}: the loss is {number}; if it diverged, lower lr")
    return number
