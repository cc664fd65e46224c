"""Draws docs/pictures/two_nodes.svg from bench/results/lm_two_nodes.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "bench" / "results" / "lm_two_nodes.json"
PICTURE = ROOT / "docs" / "pictures" / "two_nodes.svg"
NAMES = {
    "alone": "one node alone",
    "ddp": "two, PyTorch DDP fp32",
    "bf16": "two, DDP bf16",
    "powersgd": "two, DDP PowerSGD",
    "local": "two, averaged every 15 steps",
    "diloco": "two, psmpi diloco",
    "sparseloco": "two, psmpi sparseloco",
}
OURS = ("diloco", "sparseloco")
#: Light and dark colours; Okabe and Ito's, told apart by all eyes.
TEXT, PANEL, OTHER, OWN, LINE = "#333333", "#ffffff", "#7f7f7f", "#0072b2", "#b0b0b1"
DARK = {TEXT: "#d8d8d8", PANEL: "#16181d", OTHER: "#8f8f8f", OWN: "#56b4e9"}
DARK |= {LINE: "#4b4f56"}
RATES = {"1gbit": "1 Gbit/s", "100mbit": "100 Mbit/s"}


def draw() -> None:
    """Draw the picture; its colours follow the reader's light or dark."""
    links = json.loads(RESULT.read_text())["links"]
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "psmpi",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": TEXT,
        "axes.edgecolor": LINE,
        "xtick.color": TEXT,
        "ytick.color": TEXT,
        "figure.facecolor": PANEL,
        "axes.facecolor": PANEL,
    }
    with mpl.rc_context(settings):
        figure, panels = plt.subplots(
            1, len(links), figsize=(9.4, 3.5), sharey=True, squeeze=False
        )
        for axes, (rate, result) in zip(panels[0], links.items(), strict=True):
            _panel(axes, result["rows"], RATES.get(rate, rate))
        figure.suptitle(
            "Two nodes train a transformer over a slow link: tokens a second",
            x=0.01,
            ha="left",
            fontweight="bold",
            color=TEXT,
        )
        figure.tight_layout()
        figure.savefig(PICTURE, metadata={"Date": None})
        plt.close(figure)
    PICTURE.write_text(_following_the_reader(PICTURE.read_text()))


def _panel(axes: Any, rows: dict[str, dict[str, Any]], title: str) -> None:
    alone = rows["alone"]["tokens"]
    for place, (name, row) in enumerate(rows.items()):
        tokens = row["tokens"]
        colour = OWN if name in OURS else OTHER
        axes.barh(place, tokens, color=colour, height=0.66)
        axes.text(
            tokens + alone * 0.03,
            place,
            f"{tokens:,.0f}   {tokens / alone:.2f}x",
            va="center",
            color=TEXT,
            bbox={"facecolor": PANEL, "edgecolor": "none", "pad": 1},
            fontweight="bold" if name in OURS else "normal",
        )
    for times in (1, 2):
        axes.axvline(times * alone, color=LINE, linewidth=1, linestyle="--", zorder=0)
    axes.set_xlim(0, 2.75 * alone)
    axes.set_yticks(range(len(rows)), [NAMES[name] for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([0, alone, 2 * alone], ["0", "one node", "twice"])
    axes.tick_params(length=0)
    axes.set_title(title, loc="left", color=TEXT)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _following_the_reader(svg: str) -> str:
    rules = "".join(
        f'[style*="fill: {light}"]{{fill:{dark}!important}}'
        f'[style*="stroke: {light}"]{{stroke:{dark}!important}}'
        for light, dark in DARK.items()
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    head, _, rest = svg.partition("<defs>")
    svg = f"{head}{style}\n<defs>{rest}"
    return "".join(line.rstrip() + "\n" for line in svg.splitlines())
