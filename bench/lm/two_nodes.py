"""Two nodes with a slow link: tokens a second, and time to a validation loss.

    python bench/lm/two_nodes.py [--seconds 40] [--rates 1gbit 100mbit]
        [--methods NAME ...] [--tries 3] [--draw]

A transformer of 1.8 million parameters on two emulated hosts of one core each
(``network.py``; needs root, ``ip``, ``tc`` and MPICH). The methods are those of PyTorch
over gloo, psmpi over MPICH, and one node alone. psmpi's server is a third process, on
the core of node 0. A run beside which other programs took more than 3 % of the cores is
repeated; the quietest counts. ``--draw`` only draws the picture from the result.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cluster
from cluster import Measured
from network import Network
from training import Setting

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

ROUND = 15  # local steps a round
TARGET = 2.6  # validation loss, nats a letter
PARTS = 4  # of a run, for the spread of its tokens a second
#: Name -> what it is, its method or algorithm, and options if it is psmpi's.
METHODS: Mapping[str, tuple[str, str, dict[str, Any] | None]] = {
    "alone": ("one node alone", "alone", None),
    "ddp": ("DDP, float32", "ddp", None),
    "bf16": ("DDP, bf16 hook", "bf16", None),
    "powersgd": ("DDP, PowerSGD hook, rank 1", "powersgd", None),
    "local": (f"models averaged every {ROUND} steps, float32", "local", None),
    "diloco": (
        f"psmpi diloco, {ROUND} steps a round, float32",
        "diloco",
        {"local_steps": ROUND},
    ),
    "sparseloco": (
        f"psmpi sparseloco, {ROUND} steps a round",
        "sparseloco",
        {"local_steps": ROUND},
    ),
}


def measure(network: Network, name: str, setting: Setting) -> Measured:
    """Run a method once."""
    _, method, options = METHODS[name]
    if options is not None:
        return cluster.psmpi(network, method, setting, options)
    nodes = 1 if name == "alone" else setting.nodes
    return cluster.gloo(network, method, replace(setting, nodes=nodes))


def row(name: str, measured: Measured, setting: Setting) -> dict[str, Any]:
    """Return what the table and the picture show of a run."""
    tokens = setting.batch * setting.context * len(measured.nodes)
    rounds = measured.steps // setting.every
    ends = [rounds * part // PARTS * setting.every for part in range(PARTS + 1)]
    rates = [
        tokens / measured.seconds_a_step(a / measured.steps, b / measured.steps)
        for a, b in itertools.pairwise(ends)
        if b > a
    ]
    whole = ends[-1] / measured.steps
    out, into = measured.bytes_a_step()
    curve = measured.curve()
    reached = [seconds for _, seconds, loss in curve if loss <= TARGET]
    return {
        "name": name,
        "tokens_a_second": tokens / measured.seconds_a_step(0.0, whole),
        "tokens_low": min(rates),
        "tokens_high": max(rates),
        "steps": measured.steps,
        "bytes_out": out,
        "bytes_in": into,
        "seconds_to_target": min(reached, default=None),
        "curve": curve,
        "foreign": measured.foreign,
        "parameters": measured.nodes[0]["dim"],
    }


def table(links: Mapping[str, Any], setting: Setting) -> str:
    """Return the table of all rates."""
    lines = [
        f"target: validation loss {TARGET}; {setting.batch} windows of "
        f"{setting.context} letters a step and node; AdamW, lr {setting.lr:g}",
        "bytes: through the link of node 1 a step, out and in, headers included",
    ]
    for rate, result in links.items():
        link, rows = result["link"], result["rows"]
        parameters = rows[0]["parameters"]
        lines += [
            "",
            f"{rate}: measured {link['out']:.0f} and {link['back']:.0f} Mbit/s, round "
            f"trip {link['round_trip_us']:.0f} us; {parameters} parameters",
            f"{'':42}{'tokens a second':>24}{'x one':>7}{'s to target':>13}"
            f"{'bytes out':>11}{'bytes in':>11}{'others':>8}",
        ]
        alone = rows[0]["tokens_a_second"]
        for r in rows:
            spread = f"{r['tokens_a_second']:.0f} ({r['tokens_low']:.0f}-"
            spread += f"{r['tokens_high']:.0f})"
            reached = r["seconds_to_target"]
            took = "not reached" if reached is None else f"{reached:.1f}"
            lines.append(
                f"{METHODS[r['name']][0]:42}{spread:>24}"
                f"{r['tokens_a_second'] / alone:7.2f}{took:>13}"
                f"{r['bytes_out']:11.0f}{r['bytes_in']:11.0f}{r['foreign']:8.1%}"
            )
    return "\n".join([*lines, "", *cards(links)])


def cards(links: Mapping[str, Any]) -> list[str]:
    """Return what has become of the goals."""
    lines = []
    for rate, goal in (("1gbit", 1.9), ("100mbit", 1.8)):
        if rate not in links:
            continue
        tokens = {r["name"]: r["tokens_a_second"] for r in links[rate]["rows"]}
        if not {"alone", "sparseloco"} <= set(tokens):
            continue
        times = tokens["sparseloco"] / tokens["alone"]
        what = f"sparseloco on two nodes {times:.2f}x one node; goal {goal}"
        lines.append(common.card(f"{rate:9}", what, times >= goal))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--rates", nargs="+", default=["1gbit", "100mbit"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--draw", action="store_true")
    args = parser.parse_args()
    if not args.draw:
        setting = Setting(every=ROUND, seconds=args.seconds)
        links = {}
        for rate in args.rates:
            with Network(setting.nodes, rate).up() as network:
                link = network.check()
                rows = []
                for name in args.methods:
                    run = lambda name=name: measure(network, name, setting)  # noqa: E731
                    rows.append(row(name, cluster.quietest(run, args.tries), setting))
                    print(rate, name, f"{rows[-1]['tokens_a_second']:.0f}", flush=True)
                links[rate] = {"link": link, "rows": rows}
        common.save("lm_two_nodes", table(links, setting), links)
    import two_nodes_picture

    two_nodes_picture.draw()


if __name__ == "__main__":
    main()
