"""The curves of a report as inline SVG, drawn by matplotlib.

matplotlib is imported when something is drawn, and its global state is left alone: no
pyplot, and a canvas of one's own.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psmpi.report.style import FAINT, INK, PAGE, VARIABLES, Pen, pen
from psmpi.report.units import units
from psmpi.runs.record import Json
from psmpi.runs.recorded import RecordedRun

Point = tuple[float, float]
SWATCH = (0.6, 0.2)  # inches
COLUMNS_OF_PIXELS = 500  # across a picture, at the width it is usually seen
MANY = 15  # points from which on not every one gets a marker


@dataclass(frozen=True)
class Axis:
    """What is drawn along an axis: its words, its value in a row, its unit."""

    title: str
    value: Callable[[Json], Any]
    unit: str = ""
    log: bool = False


def _both_ways(row: Json) -> Any:
    return row["wire_bytes_up"] + row["wire_bytes_down"]


BITS = Axis("uplink, bits by the papers' formulas", lambda r: r["paper_bits_up"], "bit")
BYTES = Axis("both ways, bytes handed to MPI", _both_ways, "B")
SECONDS = Axis("time", lambda r: r["seconds"], "s")
LOSS = Axis("loss", lambda r: r["loss"])
RESIDUAL = Axis("residual (loss less the optimum)", lambda r: r["residual"], log=True)
ACCURACY = Axis("test accuracy", lambda r: r["accuracy"], "%")


@dataclass(frozen=True)
class Picture:
    """One picture: its SVG, a title, and what its reader must know."""

    title: str
    svg: str
    notes: list[str]


def pictures(runs: Sequence[RecordedRun], names: Sequence[str]) -> list[Picture]:
    """Return the pictures that these runs have points for."""
    rows = [run.rows for run in runs if run.rows]
    residual = rows and all(
        any((r["residual"] or 0) > 0 for r in some) for some in rows
    )
    y = RESIDUAL if residual else LOSS
    pairs = [(BITS, y), (BYTES, y), (SECONDS, y), (BITS, ACCURACY)]
    drawn = (_picture(runs, names, across, up) for across, up in pairs)
    return [picture for picture in drawn if picture is not None]


def swatch(index: int) -> str:
    """Return the SVG of a run's line and marker, for legends and tables."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SWATCH)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    line = _line(pen(index))
    axes.plot([0.02, 0.5, 0.98], [0.5] * 3, markevery=[1], **line)
    return _svg(figure, f"swatch{index}", "")


def swatch_again(index: int) -> str:
    """Return what shows the swatch of a run once more, on the page that has it."""
    width, height = (72 * inches for inches in SWATCH)
    inner = f'<use href="#swatch{index}-figure_1"/>'
    return f'<svg viewBox="0 0 {width:g} {height:g}" aria-hidden="true">{inner}</svg>'


def _picture(
    runs: Sequence[RecordedRun], names: Sequence[str], across: Axis, up: Axis
) -> Picture | None:
    """Draw one picture; None where there is nothing to see."""
    every = [_points(run.rows, across, up) for run in runs]
    if not any(x > 0 for curve in every for x, _ in curve):
        return None  # nothing was sent, or no time has passed
    up, top = _upward(up, every)
    across = _across(across, every)
    curves = [
        [
            (x, y)
            for x, y in curve
            if (x > 0 or not across.log) and (y > 0 or not up.log)
        ]
        for curve in every
    ]
    if not any(curves):
        return None
    notes = []
    lost = [
        n for n, some, c in zip(names, every, curves, strict=True) if some and not c
    ]
    if lost:
        notes.append(f"A logarithmic axis has no place for {', '.join(lost)}.")
    if top is not None:
        gone = [
            n for n, c in zip(names, curves, strict=True) if c and _highest(c) > top
        ]
        notes.append(f"Leaves at the top: {', '.join(gone)}.")
    words = {"bit": "uplink bits", "B": "bytes both ways", "s": "time"}
    title = f"{up.title.split(' (')[0]} against {words[across.unit]}".capitalize()
    figure, axes = _frame(across, up, curves)
    for target in _targets(runs, up):
        axes.axhline(target, color=INK, lw=0.6, dashes=(2, 3), zorder=1)
    for i, curve in enumerate(curves):
        _draw(axes, _thin(curve, across.log), i)
    if top is not None:
        axes.set_ylim(top=top)
    return Picture(title, _svg(figure, title, title), notes)


def _points(rows: Sequence[Json], across: Axis, up: Axis) -> list[Point]:
    pairs = ((across.value(row), up.value(row)) for row in rows)
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _thin(curve: list[Point], log: bool) -> list[Point]:
    """Return the curve with its extremes alone where points are finer than the eye."""
    if len(curve) <= 4 * COLUMNS_OF_PIXELS:
        return curve
    places = [math.log(x) if log else x for x, _ in curve]
    low, span = places[0], (places[-1] - places[0]) or 1.0
    buckets: dict[int, list[int]] = {}
    for i, place in enumerate(places):
        buckets.setdefault(int(COLUMNS_OF_PIXELS * (place - low) / span), []).append(i)
    kept: set[int] = set()
    for some in buckets.values():
        by_height = sorted(some, key=lambda i: curve[i][1])
        kept |= {some[0], by_height[0], by_height[-1], some[-1]}
    return [curve[i] for i in sorted(kept)]


def _highest(curve: Sequence[Point]) -> float:
    return max(y for _, y in curve)


def _upward(up: Axis, curves: Sequence[list[Point]]) -> tuple[Axis, float | None]:
    """Return the axis, logarithmic where that shows more, and where to cut it."""
    if up is ACCURACY:
        return up, None
    start = max(curve[0][1] for curve in curves if curve)
    values = [y for curve in curves for _, y in curve]
    # One run that diverged would press all the others flat.
    top = 3 * start if start > 0 and max(values) > 10 * start else None
    seen = [y for y in values if top is None or y <= top]
    log = up.log or (min(seen) > 0 and max(seen) > 20 * min(seen))
    return replace(up, log=log), top


def _across(across: Axis, curves: Sequence[list[Point]]) -> Axis:
    """Return the axis: bits span decades; times do only if runs differ very much."""
    ends = [curve[-1][0] for curve in curves if curve and curve[-1][0] > 0]
    wide = bool(ends) and (across is not SECONDS or max(ends) > 20 * min(ends))
    return replace(across, log=wide)


def _targets(runs: Sequence[RecordedRun], up: Axis) -> list[float]:
    metric = up.title.split()[0]
    found = {t for run in runs if run.summary for t in run.summary["reached"]}
    pairs = (target.partition("=") for target in found)
    return [float(value) for name, _, value in pairs if name == metric]


def _frame(across: Axis, up: Axis, curves: Sequence[list[Point]]) -> tuple[Any, Any]:
    """Return a figure and its axes: quiet, with units on the ticks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.5))
    axes = figure.add_axes((0.13, 0.14, 0.84, 0.83))
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    axes.grid(color=FAINT, lw=0.5)
    axes.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=9)
    for axis, which, place in (
        (across, axes.xaxis, 0),
        (up, axes.yaxis, 1),
    ):
        values = [point[place] for curve in curves for point in curve]
        _ticks(which, axis, min(values), max(values))
    axes.set_xlabel(across.title, color=INK, fontsize=9)
    axes.set_ylabel(up.title, color=INK, fontsize=9)
    axes.yaxis.set_label_coords(-0.115, 0.5)
    return figure, axes


def _ticks(which: Any, axis: Axis, low: float, high: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if axis.log:
        which._set_axes_scale("log")
        decades = math.log10(high / low)
        which.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.5 else (1,)))
        which.set_minor_locator(NullLocator())
    else:
        which.set_major_locator(MaxNLocator(6, steps=(1, 2, 2.5, 5, 10)))
    which.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, axis)))


def _tick(value: float, axis: Axis) -> str:
    if axis.unit == "%":
        return f"{100 * value:.3g} %"
    if axis.unit:
        head, _, tail = units(value, axis.unit).partition(" ")
        return f"{float(head):g} {tail}"
    # As targets are written on the command line: residual=1e-06.
    return f"{value:.0e}" if 0 < abs(value) < 1e-2 else f"{value:g}"


def _draw(axes: Any, curve: Sequence[Point], index: int) -> None:
    style = pen(index)
    few = len(curve) < MANY
    # Markers a fixed way apart, each run's elsewhere, so that curves that lie on one
    # another can still be told apart.
    every = 1 if few else (0.03 + 0.022 * (index % 6), 0.14)
    axes.plot(
        *zip(*curve, strict=True), markevery=every, **_line(style)
    ) if curve else 0


def _line(style: Pen) -> dict[str, Any]:
    return {
        "color": style.colour,
        "linestyle": style.dashes,
        "linewidth": 1.4,
        "marker": style.marker,
        "markersize": 5,
        "markerfacecolor": PAGE if style.hollow else style.colour,
        "zorder": 3,
    }


def _svg(figure: Any, key: str, label: str) -> str:
    """Return a figure as an SVG element that stands inside an HTML page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    nothing = dict.fromkeys(("Format", "Type", "Creator", "Date"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    text = out.getvalue()
    text = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->",
        "",
        text,
        flags=re.DOTALL,
    )
    box = re.search(r'viewBox="[^"]*"', text)
    body = text[text.index(">", text.index("<svg")) + 1 :]
    # Ids are the page's, and several pictures share a page.
    prefix = re.sub(r"\W+", "-", key) + "-"
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font-family:[^;\"]*;?|font-stretch:[^;\"]*;?", "", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    about = f'role="img" aria-label="{label}"' if label else 'aria-hidden="true"'
    return f"<svg {box.group() if box else ''} {about}>{body.strip()}"
