"""The curves of a report: which pictures there are, and the points that each one shows.

Nothing is drawn here, so matplotlib is not needed; ``drawing`` does that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psmpi.report.metrics import clock
from psmpi.runs.recorded import RecordedRun
from psmpi.runs.schema import Json

Point = tuple[float, float]
Curve = list[Point]
PIXELS_ACROSS = 500  # of a picture, at the width at which it is usually seen


@dataclass(frozen=True)
class Axis:
    """What an axis shows: its label, the name in titles, the value in a row, its unit.

    ``unit`` is put on the ticks; "%" shows a fraction in percent, and "" a plain
    number. ``log`` is whether the scale is logarithmic.
    """

    label: str
    name: str
    value: Callable[[Json], Any]
    unit: str = ""
    log: bool = False


def _bytes_both_ways(row: Json) -> Any:
    if not row["uploads"]:
        return None  # control messages alone would stretch a logarithmic axis
    return row["wire_bytes_up"] + row["wire_bytes_down"]


BITS = Axis(
    "uplink, bits by the papers' formulas",
    "uplink bits",
    lambda row: row["paper_bits_up"],
    "bit",
)
BYTES = Axis("both ways, bytes handed to MPI", "bytes both ways", _bytes_both_ways, "B")
ROUNDS = Axis("rounds", "rounds", lambda row: row["round"])
UPLOADS = Axis(
    "uploads (frames from all workers)", "uploads", lambda row: row["uploads"]
)
SECONDS = Axis("time", "time", lambda row: row["seconds"], "s")
LOSS = Axis("loss", "loss", lambda row: row["loss"])
RESIDUAL = Axis(
    "residual (loss minus the optimum)",
    "residual",
    lambda row: row["residual"],
    log=True,
)
ACCURACY = Axis("test accuracy", "test accuracy", lambda row: row["accuracy"], "%")
COUNTS = (ROUNDS, UPLOADS)


@dataclass(frozen=True)
class Plot:
    """One picture before it is drawn.

    ``curves`` has one list of points for each run, empty where a run has none to show.
    Curves are cut at ``top``. ``targets`` are heights of the targets that runs reached.
    """

    title: str
    across: Axis
    up: Axis
    curves: list[Curve]
    top: float | None
    targets: list[float]
    notes: list[str]


def plots(runs: Sequence[RecordedRun], names: Sequence[str]) -> list[Plot]:
    """Return the pictures for which these runs have points.

    They show the residual (the loss, where not all runs have residuals) against what
    was sent and against time, and the test accuracy against the uplink bits.
    """
    rows = [run.rows for run in runs if run.rows]
    has_residual = rows and all(
        any((row["residual"] or 0) > 0 for row in some) for some in rows
    )
    y = RESIDUAL if has_residual else LOSS
    pairs = [
        *((across, y) for across in (BITS, BYTES, ROUNDS, UPLOADS, SECONDS)),
        (BITS, ACCURACY),
        *((BITS, axis) for axis in _own_axes(runs)),
    ]
    every = (_plot(runs, names, across, up) for across, up in pairs)
    return [plot for plot in every if plot is not None]


def _own_axes(runs: Sequence[RecordedRun]) -> list[Axis]:
    """Return an axis for each metric of the users' own problems and loops."""
    found = (name for run in runs for name in (run.summary or {}).get("metrics") or {})

    def axis(name: str) -> Axis:
        return Axis(name, name, lambda row: row.get(name))

    return [axis(name) for name in dict.fromkeys(found)]


def _plot(
    runs: Sequence[RecordedRun], names: Sequence[str], across: Axis, up: Axis
) -> Plot | None:
    """Return one picture; None where no run has points to show."""
    every = [_points(run.rows, across, up) for run in runs]
    if not any(x > 0 for curve in every for x, _ in curve):
        return None  # nothing was sent, or no time has passed
    up, top = _vertical(up, every)
    across = _horizontal(across, every)
    curves = [_visible(curve, across, up) for curve in every]
    if not any(curves):
        return None
    notes = _notes(names, every, curves, top)
    if across.unit == "s":
        notes += _time_notes(runs, names)
    return Plot(
        title=f"{up.name} against {across.name}".capitalize(),
        across=across,
        up=up,
        curves=[thin(curve, across.log) for curve in curves],
        top=top,
        targets=_targets(runs, up),
        notes=notes,
    )


def _points(rows: Sequence[Json], across: Axis, up: Axis) -> Curve:
    pairs = ((across.value(row), up.value(row)) for row in rows)
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _visible(curve: Curve, across: Axis, up: Axis) -> Curve:
    """Return the points that have a place on the axes: log scales have none for 0."""
    return [
        (x, y) for x, y in curve if (x > 0 or not across.log) and (y > 0 or not up.log)
    ]


def _notes(
    names: Sequence[str],
    every: Sequence[Curve],
    curves: Sequence[Curve],
    top: float | None,
) -> list[str]:
    """Return what the picture does not show, a sentence each."""
    notes = []
    lost = [
        name
        for name, points, curve in zip(names, every, curves, strict=True)
        if points and not curve
    ]
    if lost:
        notes.append(
            f"Not shown: {', '.join(lost)} (no values above 0 for a logarithmic axis)."
        )
    if top is not None:
        cut = [n for n, c in zip(names, curves, strict=True) if c and _highest(c) > top]
        notes.append(f"Cut off at the top: {', '.join(cut)}.")
    return notes


def _time_notes(runs: Sequence[RecordedRun], names: Sequence[str]) -> list[str]:
    which = [
        name for run, name in zip(runs, names, strict=True) if clock(run) == "in turns"
    ]
    if not which:
        return []
    whose = "all runs" if len(which) == len(runs) else ", ".join(which)
    return [f"Not the time of a parallel run: the ranks of {whose} took turns."]


def thin(curve: Curve, log: bool) -> Curve:
    """Return the curve with fewer points where these are finer than the pixels.

    The first, lowest, highest and last point of each column of pixels are kept.
    """
    if len(curve) <= 4 * PIXELS_ACROSS:
        return curve
    places = [math.log(x) if log else x for x, _ in curve]
    low, span = places[0], (places[-1] - places[0]) or 1.0
    buckets: dict[int, list[int]] = {}
    for i, place in enumerate(places):
        buckets.setdefault(int(PIXELS_ACROSS * (place - low) / span), []).append(i)
    kept: set[int] = set()
    for column in buckets.values():
        by_height = sorted(column, key=lambda i: curve[i][1])
        kept |= {column[0], by_height[0], by_height[-1], column[-1]}
    return [curve[i] for i in sorted(kept)]


def _highest(curve: Curve) -> float:
    return max(y for _, y in curve)


def _vertical(up: Axis, curves: Sequence[Curve]) -> tuple[Axis, float | None]:
    """Return the axis, logarithmic where that shows more, and where to cut it off."""
    if up is ACCURACY:
        return up, None
    start = max(curve[0][1] for curve in curves if curve)
    values = [y for curve in curves for _, y in curve]
    # Without a cut, one run that diverged would press all others flat.
    top = 3 * start if start > 0 and max(values) > 10 * start else None
    seen = [y for y in values if top is None or y <= top]
    log = up.log or (min(seen) > 0 and max(seen) > 20 * min(seen))
    return replace(up, log=log), top


def _horizontal(across: Axis, curves: Sequence[Curve]) -> Axis:
    """Return the axis, logarithmic for what is sent, since runs differ by decades.

    Time and rounds are linear, unless one run has over 20 times that of another.
    """
    ends = [curve[-1][0] for curve in curves if curve and curve[-1][0] > 0]
    if across in (SECONDS, ROUNDS):
        return replace(across, log=bool(ends) and max(ends) > 20 * min(ends))
    return replace(across, log=bool(ends))


def _targets(runs: Sequence[RecordedRun], up: Axis) -> list[float]:
    metric = up.name.split()[-1]  # residual, loss or accuracy
    reached = {t for run in runs if run.summary for t in run.summary["reached"]}
    pairs = (target.partition("=") for target in sorted(reached))
    return [float(value) for name, _, value in pairs if name == metric]
