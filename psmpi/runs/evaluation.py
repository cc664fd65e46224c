"""Looks at the server's iterates: metrics, rows of the record, targets reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from psmpi.base import Problem, PsmpiError, Vector
from psmpi.links.metering import Meter
from psmpi.runs.config import BUDGETS, RunOptions, Target

Row = dict[str, Any]
_BOOKED = (
    "round",
    "uploads",
    "paper_bits_up",
    "paper_bits_down",
    "wire_bytes_up",
    "wire_bytes_down",
    "seconds",
    "loss",
    "accuracy",
)


class Diverged(PsmpiError):
    """The loss is not finite any more."""


class Evaluation:
    """Turns iterates into rows, and says when the run has what was asked of it.

    ``problem`` is the whole one, ``optimum`` its least loss or None; ``on_row`` gets
    each row as it is made, and its model.
    """

    def __init__(
        self,
        problem: Problem,
        options: RunOptions,
        optimum: float | None,
        meter: Meter,
        now: Callable[[], float],
        on_row: Callable[[Row, Vector], None],
    ) -> None:
        self.rows: list[Row] = []
        self.reached: dict[str, Row] = {}
        self._problem = problem
        self._targets = options.targets
        self._optimum = optimum
        self._meter = meter
        self._now = now
        self._on_row = on_row
        self._start = now()
        wants_gradient = any(t.metric == "gradient-norm" for t in self._targets)
        self._gradient = (
            np.zeros(problem.dim, options.scalar) if wants_gradient else None
        )

    def take(
        self,
        round_: int,
        x: Vector,
        more: Callable[[], Mapping[str, Any]] = dict,
    ) -> bool:
        """Evaluate ``x``, record a row, and return whether the run may end here.

        ``more()`` is what the row has besides.
        """
        quiet = np.errstate(over="ignore", invalid="ignore")  # told as Diverged
        with self._meter.phase("evaluate"), quiet:
            row = {**self._row(round_, x), **more()}
            self.rows.append(row)
            self._on_row(row, x)
        if not math.isfinite(row["loss"]):
            raise Diverged(
                f"diverged: the loss is {row['loss']} in round {round_}; lower --lr"
            )
        for target in self._targets:
            if str(target) not in self.reached and target.met(_value(row, target)):
                self.reached[str(target)] = {name: row[name] for name in _BOOKED}
        return self._done()

    def unmet(self) -> list[Target]:
        """Return the targets that were not reached; budgets are none."""
        return [
            target
            for target in self._targets
            if target.metric not in BUDGETS and str(target) not in self.reached
        ]

    def _done(self) -> bool:
        spent = any(
            t.metric in BUDGETS and str(t) in self.reached for t in self._targets
        )
        goals = any(t.metric not in BUDGETS for t in self._targets)
        return spent or (goals and not self.unmet())

    def _row(self, round_: int, x: Vector) -> Row:
        meter = self._meter
        seconds = self._now() - self._start
        if self._gradient is None:
            loss, norm = self._problem.loss(x), None
        else:
            loss = self._problem.grad(x, self._gradient)
            norm = float(np.linalg.norm(self._gradient))
        return {
            "round": round_,
            "loss": loss,
            "residual": None if self._optimum is None else loss - self._optimum,
            "accuracy": self._problem.accuracy(x),
            "gradient_norm": norm,
            "uploads": meter.uploads,
            "paper_bits_up": meter.paper_bits_up,
            "paper_bits_down": meter.paper_bits_down,
            "wire_bytes_up": meter.wire_bytes_up,
            "wire_bytes_down": meter.wire_bytes_down,
            "seconds": seconds,
        }


def _value(row: Row, target: Target) -> float | None:
    match target.metric:
        case "error":
            return None if row["accuracy"] is None else 1 - row["accuracy"]
        case "gradient-norm":
            value = row["gradient_norm"]
        case "bits":
            value = row["paper_bits_up"]
        case name:
            value = row[name]
    return None if value is None else float(value)
