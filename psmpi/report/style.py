"""The look of a report: colours, dashes and markers of the runs, and the style sheet.

Colours on the page are CSS variables, so that one picture serves browsers in light and
in dark mode. The six hues follow those of Okabe and Ito, which stay distinct under the
common forms of colour blindness; dashes and markers tell runs apart without colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LIGHT = ("#005a9c", "#b83a00", "#00856a", "#c46aa0", "#49a9e0", "#b8960a")
DARK = ("#58a6f0", "#f2844a", "#2fc79c", "#e394c4", "#a8d8ff", "#f0c44c")
#: Colours for the phases of time: shades of grey, since the hues stand for runs.
RAMP = tuple(
    f"color-mix(in srgb, var(--ink) {percent}%, var(--page))"
    for percent in (90, 68, 50, 34, 22, 10)
)
MARKERS = "os^DvPX<>p*h"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


@dataclass(frozen=True)
class Palette:
    """The colours of a picture: text and lines, grid, background, and the six hues."""

    ink: str
    faint: str
    page: str
    hues: tuple[str, ...]


#: For files: on white paper.
PAPER = Palette("#24292f", "#d5dae0", "#ffffff", LIGHT)
#: For the page: colours that occur nowhere else, to be replaced by CSS variables.
PLACEHOLDERS = Palette(
    "#010203",
    "#010204",
    "#010205",
    tuple(f"#0a0b{i:02x}" for i in range(len(LIGHT))),
)
VARIABLES = {
    PLACEHOLDERS.ink: "ink",
    PLACEHOLDERS.faint: "rule",
    PLACEHOLDERS.page: "page",
    **{colour: f"s{i}" for i, colour in enumerate(PLACEHOLDERS.hues)},
}


@dataclass(frozen=True)
class Pen:
    """How one run is drawn, in every picture; ``hue`` is an index into a palette."""

    hue: int
    dashes: Any
    marker: str
    hollow: bool


def pen(index: int) -> Pen:
    """Return the pen of the run at ``index``; the first 24 differ."""
    hue, turn = index % len(LIGHT), index // len(LIGHT)
    return Pen(
        hue,
        DASHES[turn % len(DASHES)],
        MARKERS[index % len(MARKERS)],
        turn % 2 == 1,
    )


def _variables(colours: tuple[str, ...], **others: str) -> str:
    named = {f"s{i}": colour for i, colour in enumerate(colours)} | others
    return " ".join(f"--{name}: {colour};" for name, colour in named.items())


_LIGHT = _variables(
    LIGHT, page="#ffffff", ink="#24292f", soft="#5c6670", rule="#d5dae0"
)
_DARK = _variables(DARK, page="#14171b", ink="#e3e6ea", soft="#9aa4af", rule="#3a424b")

CSS = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
"""
CSS += """
body { margin: 2.5rem auto; padding: 0 1.5rem; max-width: 76rem;
  background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.5rem; font-weight: 600; margin: 0; }
h2 { font-size: 1.05rem; font-weight: 600; margin: 2.5rem 0 .6rem; }
p { max-width: 46rem; margin: .4rem 0; }
.lead { font-size: 1.15rem; margin: .8rem 0 0; }
.soft, figcaption, footer { color: var(--soft); font-size: .87rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.6rem; list-style: none;
  margin: 1.6rem 0 .8rem; padding: 0; }
.legend svg, th svg { width: 2.6rem; height: .9rem; vertical-align: -.1rem;
  margin-right: .5rem; }
.pictures { display: grid; gap: 1.4rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
figure { margin: 0; }
figcaption b { color: var(--ink); font-weight: 600; }
figure svg { width: 100%; height: auto; display: block;
  overflow: visible; }
svg text { font-family: inherit; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .5rem; text-align: right; white-space: nowrap; }
th { font-weight: 500; }
thead th { color: var(--soft); border-bottom: 1px solid var(--rule);
  vertical-align: bottom; }
tbody th, thead th:first-child { text-align: left; padding-left: 0; }
.settings th, .settings td { text-align: left; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.bar { display: flex; width: min(26rem, 45vw); height: .8rem; }
.bar span + span { border-left: 1px solid var(--page); }
.swatch { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem;
  vertical-align: -.08rem; }
"""
