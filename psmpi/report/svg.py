"""Turns matplotlib figures into SVG elements that stand inside an HTML page."""

from __future__ import annotations

import io
import re
from typing import Any

from psmpi.report.curves import Plot
from psmpi.report.drawing import SWATCH, draw, draw_swatch
from psmpi.report.style import PLACEHOLDERS, VARIABLES

POINTS = 72  # an inch


def picture(plot: Plot) -> str:
    """Return a picture as an SVG element."""
    return _svg(draw(plot, PLACEHOLDERS), plot.title, plot.title)


def swatch(index: int) -> str:
    """Return the line and the marker of a run, for the legend."""
    return _svg(draw_swatch(index, PLACEHOLDERS), f"swatch{index}", "")


def swatch_again(index: int) -> str:
    """Return a reference to the swatch of a run, for pages that have ``swatch``."""
    width, height = (POINTS * inches for inches in SWATCH)
    inner = f'<use href="#swatch{index}-figure_1"/>'
    return f'<svg viewBox="0 0 {width:g} {height:g}" aria-hidden="true">{inner}</svg>'


def _svg(figure: Any, key: str, label: str) -> str:
    """Return a figure as an SVG element, its ids starting with ``key``.

    Its colours become CSS variables, and its fonts those of the page.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    nothing = dict.fromkeys(("Format", "Type", "Creator", "Date"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    text = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->",
        "",
        out.getvalue(),
        flags=re.DOTALL,
    )
    box = re.search(r'viewBox="[^"]*"', text)
    body = text[text.index(">", text.index("<svg")) + 1 :]
    # An id must be unique on the whole page, which has several pictures.
    prefix = re.sub(r"\W+", "-", key) + "-"
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font-family:[^;\"]*;?|font-stretch:[^;\"]*;?", "", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    about = f'role="img" aria-label="{label}"' if label else 'aria-hidden="true"'
    return f"<svg {box.group() if box else ''} {about}>{body.strip()}"
