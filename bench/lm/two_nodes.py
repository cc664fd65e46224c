"""Two nodes with a slow link: tokens a second, and time to a validation loss.

    python bench/lm/two_nodes.py curves --runs DIR    losses by steps; takes any load
    python bench/lm/two_nodes.py wire --runs DIR      seconds a step; as root, quiet
    python bench/lm/two_nodes.py report --runs DIR    the table, and the picture

A transformer of 1.8 million parameters on two emulated hosts of one core each
(``network.py``; needs root, ``ip``, ``tc`` and MPICH). The methods are those of PyTorch
over gloo, psmpi over MPICH, and one node alone. psmpi's server is a third process, on
the core of node 0. A run beside which other programs took more than 3 % of the cores is
repeated; the quietest counts. ``--prefer -10`` gives the nodes more weight than other
programs; node and server have the same among each other. Losses don't depend on the
wire and come from runs of their own; times to a loss are steps times seconds a step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cluster
from cluster import Measured
from curves import Method
from network import Network
from training import Setting

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

SETTING = Setting(nodes=2, look=30)
STEPS = 450  # of a curve
PARTS = 4  # of a run, for the spread of its tokens a second
RATES = {"1gbit": 1.9, "100mbit": 1.8}  # goals, in tokens a second of one node
LOCAL = {"local_steps": SETTING.every}
METHODS = (
    Method("one node alone", "alone", alone=True),
    Method("DDP, float32", "ddp"),
    Method("DDP, bf16 hook", "bf16"),
    Method("DDP, PowerSGD hook, rank 1", "powersgd"),
    Method("float32 models averaged every 15 steps", "local"),
    Method("psmpi diloco, 15 steps a round, float32", "diloco", LOCAL),
    Method("psmpi sparseloco, 15 steps a round", "sparseloco", LOCAL),
)


def nodes(method: Method, **changes: Any) -> Setting:
    return replace(SETTING, nodes=1 if method.alone else SETTING.nodes, **changes)


def curves(runs: Path) -> None:
    """Train with all methods, as far as that isn't done."""
    for method in METHODS:
        method.curve(nodes(method, steps=STEPS), runs)


def wire(runs: Path, args: argparse.Namespace) -> None:
    """Measure tokens and bytes on the emulated hosts."""
    for rate in args.rates:
        with Network(SETTING.nodes, rate).up() as network:
            found: dict[str, Any] = {"link": network.check(), "rows": {}}
            for method in METHODS:
                measured = cluster.quietest(
                    lambda method=method: run(network, method, args), args.tries
                )
                row = found["rows"][method.method] = speed(measured)
                print(rate, method.name, f"{row['tokens']:.0f}", flush=True)
        (runs / f"{rate}.json").write_text(json.dumps(found))


def run(network: Network, method: Method, args: argparse.Namespace) -> Measured:
    """Run a method once."""
    setting = nodes(method, seconds=args.seconds, prefers=args.prefer, windows=1)
    if method.options is not None:
        return cluster.psmpi(network, method.method, setting, method.options)
    return cluster.gloo(network, method.method, setting)


def speed(measured: Measured) -> dict[str, Any]:
    """Return tokens a second of the whole rounds of a run, and bytes a step."""
    tokens = SETTING.batch * SETTING.context * len(measured.nodes)
    rounds, steps = measured.steps // SETTING.every, measured.steps
    ends = [rounds * p // PARTS * SETTING.every / steps for p in range(PARTS + 1)]
    parts = [
        tokens / measured.seconds_a_step(begin, end)
        for begin, end in itertools.pairwise(ends)
        if end > begin
    ]
    out, into = measured.bytes_a_step()
    return {
        "tokens": tokens / measured.seconds_a_step(0.0, ends[-1]),
        "low": min(parts),
        "high": max(parts),
        "seconds_a_step": measured.seconds_a_step(0.0, ends[-1]),
        "steps": steps,
        "bytes_out": out,
        "bytes_in": into,
        "foreign": measured.foreign,
        "parameters": measured.nodes[0]["dim"],
    }


def report(runs: Path, rates: list[str]) -> None:
    """Write the table, its numbers and the picture."""
    found = {rate: json.loads((runs / f"{rate}.json").read_text()) for rate in rates}
    losses = {m.method: m.curve(nodes(m, steps=STEPS), runs) for m in METHODS}
    target = round(losses["alone"][-1][1], 3)
    for result in found.values():
        for method in METHODS:
            row = result["rows"][method.method]
            reached = [s for s, loss in losses[method.method] if loss <= target]
            row["steps_to_target"] = min(reached, default=None)
    lines = [
        f"{SETTING.batch} windows of {SETTING.context} letters a step and node; AdamW, "
        f"lr {SETTING.lr:g}; {found[rates[0]]['rows']['alone']['parameters']} "
        "parameters",
        f"to target: to the validation loss that one node has after {STEPS} steps, "
        f"{target}; looked at every {SETTING.look} steps",
        "bytes: through the link of node 1 a step, out and in, headers included",
    ]
    for rate, result in found.items():
        lines += ["", *table(rate, result)]
    lines += ["", *cards(found)]
    data = {"target": target, "losses": losses, "links": found}
    common.save("lm_two_nodes", "\n".join(lines), data)
    from two_nodes_picture import draw

    draw()


def table(rate: str, result: Mapping[str, Any]) -> list[str]:
    """Return the table of a rate."""
    link, rows = result["link"], result["rows"]
    lines = [
        f"{rate}: measured {link['out']:.0f} and {link['back']:.0f} Mbit/s, round trip "
        f"{link['round_trip_us']:.0f} us",
        f"{'':40}{'tokens a second':>24}{'x one':>7}{'to target':>19}"
        f"{'bytes out':>11}{'bytes in':>11}{'others':>8}",
    ]
    for method in METHODS:
        r = rows[method.method]
        tokens = f"{r['tokens']:.0f} ({r['low']:.0f}-{r['high']:.0f})"
        steps = r["steps_to_target"]
        took = "not reached"
        if steps is not None:
            took = f"{steps} steps {steps * r['seconds_a_step']:4.0f} s"
        times = r["tokens"] / rows["alone"]["tokens"]
        lines.append(
            f"{method.name:40}{tokens:>24}{times:7.2f}  {took:>17}"
            f"{r['bytes_out']:11.0f}{r['bytes_in']:11.0f}{r['foreign']:8.1%}"
        )
    return lines


def cards(found: Mapping[str, Any]) -> list[str]:
    """Return what has become of the goals."""
    lines = []
    for rate, result in found.items():
        rows, goal = result["rows"], RATES[rate]
        times = rows["sparseloco"]["tokens"] / rows["alone"]["tokens"]
        what = f" sparseloco on two nodes {times:.2f}x one node; goal {goal}"
        lines.append(common.card(f"{rate:9}", what, times >= goal))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("curves", "wire", "report"))
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--rates", nargs="+", default=list(RATES))
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--prefer", type=int, default=0)
    parser.add_argument("--tries", type=int, default=3)
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    if args.what == "curves":
        curves(args.runs)
    elif args.what == "wire":
        wire(args.runs, args)
    else:
        report(args.runs, args.rates)


if __name__ == "__main__":
    main()
