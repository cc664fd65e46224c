"""Draws laq.svg, the picture of the README, from the rows of recorded runs.

``psmpi compare laq --out DIR`` makes the runs, ``python docs/pictures/laq.py DIR``
keeps their rows in laq.json and draws; without DIR it draws again from laq.json.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("gd", "qgd", "lag-wk", "laq")
WIDTH, HEIGHT = 760, 424
LEFT, RIGHT, TOP, BOTTOM = 76, 700, 64, 336
X_LOW, X_HIGH = 3.3, 7.4  # decimal exponents: bytes
Y_LOW, Y_HIGH = -6.2, 0.4  # residual
#: Light and dark colours of every line: Okabe and Ito's, told apart by all eyes.
COLOURS = {
    "gd": ("#6b6b6b", "#b0b0b0"),
    "qgd": ("#0072b2", "#56b4e9"),
    "lag-wk": ("#b86e00", "#e69f00"),
    "laq": ("#d1410c", "#ff7043"),
}
POWERS = {0: "1", -2: "10⁻²", -4: "10⁻⁴", -6: "10⁻⁶"}
SIZES = {3: "1 kB", 4: "10 kB", 5: "100 kB", 6: "1 MB", 7: "10 MB"}


def collect(folder: Path) -> dict[str, list[list[float]]]:
    """Return (uplink bytes, residual) of every evaluated round, by run."""
    curves = {}
    for name in NAMES:
        lines = (folder / name / "rows.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        curves[name] = [[row["wire_bytes_up"], row["residual"]] for row in rows]
    return curves


def draw(curves: dict[str, list[list[float]]]) -> str:
    """Return the picture as SVG text; its colours follow the reader's light or dark."""
    parts = [_head(), _axes()]
    for name in NAMES:
        points = [p for p in curves[name] if p[0] > 0 and p[1] > 0]
        inside = [p for p in points if math.log10(p[0]) >= X_LOW]
        path = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in inside)
        x, y = _x(inside[-1][0]), _y(inside[-1][1])
        parts.append(f'<polyline class="line {name}" points="{path}"/>')
        parts.append(f'<circle class="dot {name}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        for down, text in ((20, name), (36, _size(inside[-1][0]))):
            parts.append(
                f'<text class="label {name}" x="{x:.1f}" y="{BOTTOM + down}" '
                f'text-anchor="middle">{text}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def _head() -> str:
    light = "\n".join(
        f".line.{n}{{stroke:{c[0]}}} .dot.{n},.label.{n}{{fill:{c[0]}}}"
        for n, c in COLOURS.items()
    )
    dark = "\n".join(
        f".line.{n}{{stroke:{c[1]}}} .dot.{n},.label.{n}{{fill:{c[1]}}}"
        for n, c in COLOURS.items()
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"
 font-family="system-ui, sans-serif" font-size="13">
<title>Residual against bytes sent by the workers, for gd, qgd, lag-wk and laq</title>
<style>
.panel{{fill:#ffffff}} text{{fill:#333333}} .axis{{stroke:#d5d5d5;stroke-width:1}}
.line{{fill:none;stroke-width:2.5;stroke-linejoin:round}} .label{{font-weight:600}}
.title{{font-size:16px;font-weight:600}}
{light}
@media (prefers-color-scheme: dark) {{
.panel{{fill:#16181d}} text{{fill:#d8d8d8}} .axis{{stroke:#3b3f46}}
{dark}
}}
</style>
<rect class="panel" width="{WIDTH}" height="{HEIGHT}" rx="8"/>
<text class="title" x="{LEFT}" y="32">The same optimum, for fewer bytes from the \
workers</text>
<text x="{LEFT}" y="51">loss minus the optimum, softmax regression on handwritten \
digits, 4 workers over MPI</text>"""


def _axes() -> str:
    parts = []
    for power in range(math.ceil(X_LOW), math.floor(X_HIGH) + 1):
        x = _x(10**power)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{BOTTOM}"/>'
            f'<text x="{x:.1f}" y="{BOTTOM + 58}" text-anchor="middle">'
            f"{SIZES[power]}</text>"
        )
    for power in range(math.ceil(Y_LOW), math.floor(Y_HIGH) + 1, 2):
        y = _y(10.0**power)
        parts.append(
            f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">'
            f"{POWERS[power]}</text>"
        )
    parts.append(
        f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        "bytes that all workers together have handed to MPI</text>"
    )
    return "\n".join(parts)


def _x(nbytes: float) -> float:
    share = (math.log10(nbytes) - X_LOW) / (X_HIGH - X_LOW)
    return LEFT + share * (RIGHT - LEFT)


def _y(residual: float) -> float:
    share = (math.log10(residual) - Y_LOW) / (Y_HIGH - Y_LOW)
    return BOTTOM - share * (BOTTOM - TOP)


def _size(nbytes: float) -> str:
    if nbytes >= 1e6:
        return f"{nbytes / 1e6:.3g} MB"
    return f"{nbytes / 1e3:.3g} kB"


def main() -> None:
    """Collect the rows if a directory is given, then draw."""
    if len(sys.argv) > 1:
        curves = collect(Path(sys.argv[1]))
        (HERE / "laq.json").write_text(json.dumps(curves) + "\n")
    curves = json.loads((HERE / "laq.json").read_text())
    (HERE / "laq.svg").write_text(draw(curves))


if __name__ == "__main__":
    main()
