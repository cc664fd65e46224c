"""Draws the curves of a report with matplotlib, for the page and for files.

matplotlib is imported when something is drawn, not before. Its global state is left
alone: there is no pyplot, and every figure has a canvas of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from psmpi.report.curves import COUNTS, Axis, Curve, Plot
from psmpi.report.style import Palette, pen
from psmpi.report.units import units

SWATCH = (0.6, 0.2)  # size of a swatch in a legend, in inches
MANY = 15  # a curve with at least so many points has markers on some of them only


def draw(plot: Plot, palette: Palette) -> Any:
    """Return a picture as a matplotlib Figure."""
    figure, axes = _frame(plot, palette)
    for target in plot.targets:
        axes.axhline(target, color=palette.ink, lw=0.6, dashes=(2, 3), zorder=1)
    for i, curve in enumerate(plot.curves):
        _draw_curve(axes, curve, i, palette)
    if plot.top is not None:
        axes.set_ylim(top=plot.top)
    return figure


def draw_swatch(index: int, palette: Palette) -> Any:
    """Return the line and the marker of the run at ``index`` as a Figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SWATCH)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    axes.plot([0.02, 0.5, 0.98], [0.5] * 3, markevery=[1], **_line(index, palette))
    return figure


def add_legend(figure: Any, names: Sequence[str], palette: Palette) -> None:
    """Put a legend of all runs under a picture, for files that stand alone."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **_line(i, palette)) for i in range(len(names))]
    figure.legend(
        handles,
        names,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.02),
        ncols=min(len(names), 4 if max(map(len, names)) <= 12 else 2),
        frameon=False,
        fontsize=9,
        labelcolor=palette.ink,
        handlelength=3.5,
    )


def _frame(plot: Plot, palette: Palette) -> tuple[Any, Any]:
    """Return a figure and its axes, with units on the ticks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.5))
    axes = figure.add_axes((0.13, 0.14, 0.84, 0.83))
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(palette.faint)
    axes.grid(color=palette.faint, lw=0.5)
    axes.tick_params(
        which="both", color=palette.faint, labelcolor=palette.ink, labelsize=9
    )
    for axis, which, place in (
        (plot.across, axes.xaxis, 0),
        (plot.up, axes.yaxis, 1),
    ):
        values = [point[place] for curve in plot.curves for point in curve]
        _ticks(which, axis, min(values), max(values))
    axes.set_xlabel(plot.across.label, color=palette.ink, fontsize=9)
    axes.set_ylabel(plot.up.label, color=palette.ink, fontsize=9)
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
    if axis.unit or axis.name in _COUNTED:
        head, _, tail = units(value, axis.unit).partition(" ")
        return f"{float(head):g} {tail}".strip()
    # As targets are written on the command line: residual=1e-06.
    return f"{value:.0e}" if 0 < abs(value) < 1e-2 else f"{value:g}"


_COUNTED = frozenset(axis.name for axis in COUNTS)


def _draw_curve(axes: Any, curve: Curve, index: int, palette: Palette) -> None:
    if not curve:
        return
    # Markers at equal distances, which start elsewhere for each run, so that curves
    # that lie on one another can still be told apart.
    every = 1 if len(curve) < MANY else (0.03 + 0.022 * (index % 6), 0.14)
    axes.plot(*zip(*curve, strict=True), markevery=every, **_line(index, palette))


def _line(index: int, palette: Palette) -> dict[str, Any]:
    style = pen(index)
    colour = palette.hues[style.hue]
    return {
        "color": colour,
        "linestyle": style.dashes,
        "linewidth": 1.4,
        "marker": style.marker,
        "markersize": 5,
        "markerfacecolor": palette.page if style.hollow else colour,
        "zorder": 3,
    }
