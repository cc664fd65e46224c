"""Evaluates the server's models: rows of the record, and targets that are reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from psmpi.base import Problem, PsmpiError, Vector
from psmpi.links.metering import Meter
from psmpi.runs.options import RunOptions
from psmpi.runs.schema import ReachedTarget, Row
from psmpi.runs.targets import BUDGETS, Target


class Diverged(PsmpiError):
    """The loss, or a vector that was to be sent, is not finite any more."""


class Evaluation:
    """Turns models into rows, and says when a run has reached its targets.

    ``problem`` is the whole one, ``optimum`` its least loss or None. ``on_row`` is
    called with each row and its model.
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
        self.reached: dict[str, ReachedTarget] = {}
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

        ``more()`` returns further keys of the row. Raises ``Diverged`` if the loss is
        not finite.
        """
        # Overflows are reported once, as Diverged.
        with (
            self._meter.phase("evaluate"),
            np.errstate(over="ignore", invalid="ignore"),
        ):
            row = cast(Row, {**self._row(round_, x), **more()})
            self.rows.append(row)
            self._on_row(row, x)
        if not math.isfinite(row["loss"]):
            raise Diverged(
                f"diverged: the loss is {row['loss']} in round {round_}; lower --lr"
            )
        for target in self._targets:
            if str(target) not in self.reached and target.met(_value(row, target)):
                self.reached[str(target)] = _reached(row)
        return self._done()

    def unmet(self) -> list[Target]:
        """Return the targets that were not reached; budgets are no targets."""
        return [
            target
            for target in self._targets
            if target.metric not in BUDGETS and str(target) not in self.reached
        ]

    def _done(self) -> bool:
        spent = any(
            t.metric in BUDGETS and str(t) in self.reached for t in self._targets
        )
        has_targets = any(t.metric not in BUDGETS for t in self._targets)
        return spent or (has_targets and not self.unmet())

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


def _reached(row: Row) -> ReachedTarget:
    return {
        "round": row["round"],
        "uploads": row["uploads"],
        "paper_bits_up": row["paper_bits_up"],
        "paper_bits_down": row["paper_bits_down"],
        "wire_bytes_up": row["wire_bytes_up"],
        "wire_bytes_down": row["wire_bytes_down"],
        "seconds": row["seconds"],
        "loss": row["loss"],
        "accuracy": row["accuracy"],
    }


def _value(row: Row, target: Target) -> float | None:
    """Return the value of the target's metric in a row."""
    match target.metric:
        case "error":
            return None if row["accuracy"] is None else 1 - row["accuracy"]
        case "gradient-norm":
            return row["gradient_norm"]
        case "bits":
            return row["paper_bits_up"]
        case name:
            value: float | None = row[name]  # type: ignore[literal-required]
            return value
