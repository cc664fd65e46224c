"""Evaluates the server's models: rows of the record, and targets that are reached."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from psmpi.base import ConfigError, Problem, PsmpiError, Vector
from psmpi.links.metering import Meter
from psmpi.links.notes import Notes
from psmpi.runs.options import RunOptions
from psmpi.runs.schema import Json, ReachedTarget, Row
from psmpi.runs.targets import BUDGETS, Target

_ROW_NAMES = frozenset(Row.__annotations__)


class Diverged(PsmpiError):
    """The loss, or a vector that was to be sent, is not finite any more."""


@dataclass(frozen=True)
class Measured:
    """The metrics of one model; ``more`` are the caller's own ones by their names.

    The loss is None where a caller's own loop has not given any.
    """

    loss: float | None
    residual: float | None = None
    accuracy: float | None = None
    gradient_norm: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)


class Measure(Protocol):
    """What measures models for the rows of the record."""

    def __call__(self, x: Vector, end: bool) -> Measured | None:
        """Return the metrics of ``x``; None if there is nothing to record now.

        At the ``end`` of a run there is always something.
        """

    def pending(self) -> bool:
        """Return whether a row should be recorded even if none is due."""

    def saved(self) -> bool:
        """Return what it remembers, to go on from."""
        return False

    def resume(self, saved: bool) -> None:
        """Go on from what ``saved`` gave."""
        return


class ProblemMeasure(Measure):
    """Measures models by the problem's own loss, accuracy and metrics.

    ``problem`` is the whole one, ``optimum`` its least loss or None.
    """

    def __init__(
        self, problem: Problem, options: RunOptions, optimum: float | None
    ) -> None:
        self._problem = problem
        self._optimum = optimum
        wants_gradient = any(t.metric == "gradient-norm" for t in options.targets)
        self._gradient = (
            np.zeros(problem.dim, options.scalar) if wants_gradient else None
        )

    def pending(self) -> bool:
        return False

    def __call__(self, x: Vector, end: bool) -> Measured:
        if self._gradient is None:
            loss, norm = self._problem.loss(x), None
        else:
            loss = self._problem.grad(x, self._gradient)
            norm = float(np.linalg.norm(self._gradient))
        return Measured(
            loss=loss,
            residual=None if self._optimum is None else loss - self._optimum,
            accuracy=self._problem.accuracy(x),
            gradient_norm=norm,
            more=own_metrics(self._problem.metrics(x)),
        )


class ReportedMeasure(Measure):
    """Takes over what callers have measured in loops of their own.

    The loss is the mean over workers of the losses that they gave with their gradients
    since the last row, unless one of them reported a loss. Without news there is no
    row, unless the run has a budget, which rows are held against.
    """

    def __init__(self, notes: Notes, options: RunOptions) -> None:
        self._notes = notes
        self._budget = any(target.metric in BUDGETS for target in options.targets)
        self._recorded = False  # whether there is a row

    def pending(self) -> bool:
        return bool(self._notes.metrics)

    def saved(self) -> bool:
        return self._recorded

    def resume(self, saved: bool) -> None:
        self._recorded = saved

    def __call__(self, x: Vector, end: bool) -> Measured | None:
        metrics, loss = dict(self._notes.metrics), self._notes.mean_loss()
        first_at_end = end and not self._recorded
        if not (metrics or loss is not None or first_at_end or self._budget):
            return None
        self._notes.clear()
        self._recorded = True
        return Measured(
            loss=metrics.pop("loss", loss),
            accuracy=metrics.pop("accuracy", None),
            more=metrics,
        )


def own_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return metrics of the caller's as plain numbers; refuse names of a row's keys."""
    for name, value in metrics.items():
        if name in _ROW_NAMES or not name.isidentifier():
            raise ConfigError(
                f"metric {name!r}: a metric of your own needs a name like a variable's "
                f"that is none of {', '.join(sorted(_ROW_NAMES))}; rename it"
            )
        if not isinstance(value, numbers.Real):
            raise ConfigError(f"metric {name!r}: must be a number, got {value!r}")
    return {name: float(value) for name, value in metrics.items()}


class Evaluation:
    """Turns models into rows, and says when a run has reached its targets.

    ``on_row`` is called with each row and its model.
    """

    def __init__(
        self,
        measure: Measure,
        options: RunOptions,
        meter: Meter,
        now: Callable[[], float],
        on_row: Callable[[Row, Vector], None],
    ) -> None:
        self.rows: list[Row] = []
        self.reached: dict[str, ReachedTarget] = {}
        self.metrics: dict[str, float] = {}  # of the caller's own, their last values
        self._measure = measure
        self._targets = options.targets
        self._meter = meter
        self._now = now
        self._on_row = on_row
        self._start = now()

    def take(
        self,
        round_: int,
        x: Vector,
        more: Callable[[], Mapping[str, Any]] = dict,
        end: bool = False,
    ) -> bool:
        """Measure ``x``, record a row, and return whether the run may end here.

        ``more()`` returns further keys of the row; ``end``: there is no later round.
        Raises ``Diverged`` if the loss is
        not finite.
        """
        # Overflows are reported once, as Diverged.
        with (
            self._meter.phase("evaluate"),
            np.errstate(over="ignore", invalid="ignore"),
        ):
            measured = self._measure(x, end)
            if measured is None:
                return False
            self.metrics |= measured.more
            row = cast(Row, {**self._row(round_, measured), **more()})
            self.rows.append(row)
            self._on_row(row, x)
        if row["loss"] is not None and not math.isfinite(row["loss"]):
            raise Diverged(
                f"diverged: the loss is {row['loss']} in round {round_}; lower --lr"
            )
        for target in self._targets:
            if str(target) not in self.reached and target.met(_value(row, target)):
                self.reached[str(target)] = _reached(row)
        return self._done()

    def saved(self) -> Json:
        """Return what targets and rows there are, to go on from."""
        return {
            "rows": len(self.rows),
            "reached": dict(self.reached),
            "metrics": dict(self.metrics),
            "start": self._start,
            "seconds": self._now() - self._start,
            "measure": self._measure.saved(),
        }

    def resume(self, saved: Json, rows: Sequence[Row], virtual: bool) -> None:
        """Go on from what ``saved`` gave, with its ``rows``."""
        self.rows = list(rows)
        self.reached, self.metrics = saved["reached"], saved["metrics"]
        self._start = saved["start"] if virtual else self._now() - saved["seconds"]
        self._measure.resume(saved["measure"])

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

    def _row(self, round_: int, measured: Measured) -> Json:
        meter = self._meter
        return {
            "round": round_,
            "loss": measured.loss,
            "residual": measured.residual,
            "accuracy": measured.accuracy,
            "gradient_norm": measured.gradient_norm,
            "uploads": meter.uploads,
            "paper_bits_up": meter.paper_bits_up,
            "paper_bits_down": meter.paper_bits_down,
            "wire_bytes_up": meter.wire_bytes_up,
            "wire_bytes_down": meter.wire_bytes_down,
            "seconds": self._now() - self._start,
            **measured.more,
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
