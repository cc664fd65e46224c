"""Four workers at an emulated 100 Mbit/s: time and bytes to a validation loss.

    python bench/lm/table.py curves --runs DIR    losses by steps; takes any load
    python bench/lm/table.py wire --runs DIR      seconds and bytes a step; as root
    python bench/lm/table.py report --runs DIR

Losses don't depend on the wire, so they come from runs without it: psmpi's in one
process, PyTorch's as four processes on this machine. Seconds and bytes a step are
measured on four emulated hosts (``network.py``), psmpi's server being a fifth process
on the first one. There are fewer cores than hosts, so the clock runs slower: with two
hosts a core their links get half the rate, and seconds are halved. Step sizes are tuned
for every method on the same number of values, by a loss on the training part, with a
seed and a third of the steps of their own. Finished runs are kept in DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cluster
import numpy as np
from curves import Method
from network import Network
from training import Setting

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

SETTING = Setting(nodes=4, steps=450, batch=4, layers=3, copies=0.0, windows=128)
SEEDS = (0, 1)
TUNING_SEED = 1000
MBITS = 100
ADAMW, SGD = (5e-4, 1e-3, 2e-3), (0.02, 0.05, 0.1)
LOCAL = {"local_steps": SETTING.every, "beta2": 0.95}
METHODS = (
    Method("DDP, float32, AdamW", "ddp", None, ADAMW, wire_steps=15),
    Method("DDP, PowerSGD rank 1, AdamW", "powersgd", None, ADAMW),
    Method("AdamW, averaged every 15 steps", "local", None, ADAMW),
    Method("psmpi diloco", "diloco", LOCAL, ADAMW),
    Method("psmpi sparseloco", "sparseloco", LOCAL, ADAMW),
    Method(
        "psmpi sgd, momentum 0.9",
        "sgd",
        {"momentum": 0.9, "reduce": "mean"},
        SGD,
        wire_steps=15,
    ),
    Method("psmpi dist-ef-sgdm", "dist-ef-sgdm", {}, SGD),
)


def tuned(method: Method, runs: Path) -> float:
    """Return the step size with the least loss on the training part."""
    scores = {}
    for lr in method.lrs:
        steps = SETTING.steps // 3
        setting = replace(SETTING, lr=lr, steps=steps, seed=TUNING_SEED, tuning=True)
        scores[lr] = method.curve(setting, runs)[-1][1]
    return min(scores, key=scores.__getitem__)


def curves(runs: Path, only: Sequence[str]) -> None:
    """Tune and train the methods, as far as that isn't done."""
    for method in METHODS:
        if only and method.method not in only:
            continue
        lr = tuned(method, runs)
        for seed in SEEDS:
            method.curve(replace(SETTING, lr=lr, seed=seed), runs)


def wire(runs: Path, tries: int, prefer: int) -> None:
    """Measure all methods' seconds and bytes a step on the emulated hosts."""
    slower = max(1, SETTING.nodes // len(os.sched_getaffinity(0)))
    with Network(SETTING.nodes, f"{MBITS // slower}mbit").up() as network:
        found: dict[str, Any] = {"link": network.check(), "slower": slower}
        for method in METHODS:
            setting = replace(SETTING, steps=method.wire_steps, prefers=prefer)
            run = wire_run(method, setting, network)
            measured = cluster.quietest(run, tries)
            found[method.method] = {
                "seconds": measured.seconds_a_step() / slower,
                "bytes": measured.bytes_on_links(),
                "foreign": measured.foreign,
            }
            print(method.name, found[method.method], flush=True)
    (runs / "wire.json").write_text(json.dumps(found))


def wire_run(
    method: Method, setting: Setting, network: Network
) -> Callable[[], cluster.Measured]:
    options = method.options
    if options is None:
        return lambda: cluster.gloo(network, method.method, setting)
    return lambda: cluster.psmpi(network, method.method, setting, options)


def rows(runs: Path) -> list[dict[str, Any]]:
    """Return what the table shows of every method."""
    found, wired = [], json.loads((runs / "wire.json").read_text())
    for method in METHODS:
        lr = tuned(method, runs)
        seeds = [method.curve(replace(SETTING, lr=lr, seed=s), runs) for s in SEEDS]
        steps = [int(step) for step, _ in seeds[0]]
        found.append(
            {
                "name": method.name,
                "lr": lr,
                "steps": steps,
                "loss": np.mean([[loss for _, loss in c] for c in seeds], 0).tolist(),
                "last": [c[-1][1] for c in seeds],
                **wired[method.method],
            }
        )
    return found


def report(runs: Path) -> None:
    """Write the table and the rows."""
    found, wired = rows(runs), json.loads((runs / "wire.json").read_text())
    dense = found[0]
    target = round(1.01 * float(np.mean(dense["last"])), 3)
    link, slower = wired["link"], wired["slower"]
    lines = [
        f"links: {link['out']:.1f} and {link['back']:.1f} Mbit/s measured, which is "
        f"{slower} times that on a clock that runs {slower} times slower",
        f"loss: validation, {SETTING.windows} windows of {SETTING.context} letters, "
        f"after {SETTING.steps} steps, seeds {SEEDS}",
        f"target: {target}, 1 % above the first row's last loss; bytes: sent on all "
        "links a node, headers included",
        "",
        f"{'':32}{'lr':>7}{'last loss':>24}{'to dense':>9}{'s a step':>10}"
        f"{'steps':>7}{'seconds':>9}{'MB':>9}{'bytes a step':>14}{'fewer':>8}"
        f"{'others':>8}",
    ]
    for row in found:
        last = float(np.mean(row["last"]))
        reached = [
            s for s, v in zip(row["steps"], row["loss"], strict=True) if v <= target
        ]
        steps = min(reached, default=None)
        row["steps_to_target"] = steps
        to = f"{'-':>7}{'-':>9}{'-':>9}"
        if steps is not None:
            to = f"{steps:7d}{steps * row['seconds']:9.1f}"
            to += f"{steps * row['bytes'] / 1e6:9.2f}"
        lines.append(
            f"{row['name']:32}{row['lr']:7g}{common.spread(row['last'], '{:.4f}'):>24}"
            f"{last / np.mean(dense['last']) - 1:9.2%}{row['seconds']:10.4f}{to}"
            f"{row['bytes']:14.0f}{dense['bytes'] / row['bytes']:8.1f}"
            f"{row['foreign']:8.1%}"
        )
    sparse = found[4]
    gap = float(np.mean(sparse["last"]) / np.mean(dense["last"]) - 1)
    fewer = dense["bytes"] / sparse["bytes"]
    what = (
        f"sparseloco's last loss {gap:+.2%} of dense's, {fewer:.0f} times fewer bytes"
    )
    lines += ["", common.card("LM", what, gap <= 0.01 and fewer >= 100)]
    common.save("lm", "\n".join(lines), {"wire": wired, "rows": found})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("curves", "wire", "report"))
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--prefer", type=int, default=0, help="as in two_nodes.py")
    parser.add_argument("--tries", type=int, default=3)
    args = parser.parse_args()
    if args.what == "curves":
        curves(args.runs, args.only)
    elif args.what == "wire":
        wire(args.runs, args.tries, args.prefer)
    else:
        report(args.runs)


if __name__ == "__main__":
    main()
