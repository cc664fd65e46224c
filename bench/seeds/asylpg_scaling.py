"""Time to a training loss with 4, 8 and 12 workers: AsyLPG's family against AsySVRG.

    python bench/seeds/asylpg_scaling.py [--seeds 0 1 2] [--runs DIR] [--report]

MNIST, perceptron 784-100-10, all samples on every worker, in process on an emulated
network: the server has one line out and one in, of a set speed, for all its workers.
Clocks are simulated and run on the CPU time of each node's own thread, so that a node
has a core of its own, whatever this machine has; what else runs here slows them all the
same, as caches are shared. Evaluation takes no time. The step size is one at which
staleness adds few steps: at 0.05 AsySVRG took 180, 240 and 390 with 4, 8 and 12 workers
(one seed). Finished runs are kept in DIR and not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

from psmpi.runs import config
from psmpi.runs.summary import Result

WORKERS = (4, 8, 12)
RATES = (1e9, 1e8)  # bits per second; the last from the first seed only
LATENCY = 1e-4
LOSS, LOOK, ROUNDS = 0.5, 25, 1500
BATCH = 256
EPOCH = -(-60_000 // BATCH)


@dataclass(frozen=True)
class Method:
    """A row: an algorithm, its step size and options."""

    name: str
    algorithm: str
    lr: float
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, rate: float, workers: int, seed: int) -> config.RunConfig:
        """Return its run, which ends when the loss is reached."""
        return config.configure(
            self.algorithm,
            name=self.folder(rate, workers, seed),
            data="mnist",
            hidden="100",
            l2=0.0,
            partition="all",
            workers=workers,
            batch=BATCH,
            epoch=EPOCH,
            lr=self.lr,
            rounds=ROUNDS,
            evaluate_every=LOOK,
            until=f"loss={LOSS:g}",
            optimum=False,
            link_rate=rate,
            link_latency=LATENCY,
            link_sharing="node",
            seed=seed,
            **self.options,
        )

    def folder(self, rate: float, workers: int, seed: int) -> str:
        """Return the run's name."""
        name = f"{self.name}-{rate:.0e}-{workers}-seed{seed}"
        return name.replace(" ", "_").replace("+", "")


METHODS = [
    Method("asysvrg", "asysvrg", 0.02),
    Method("asylpg mu 2", "asylpg", 0.02, {"bits": 4, "mu": 2.0}),
    Method("sparse-asylpg mu 2", "sparse-asylpg", 0.02, {"mu": 2.0}),
]

Key = tuple[float, str, int]
Found = dict[Key, list[Result]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/asylpg_scaling"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    keys = [
        key
        for key in itertools.product(given.seeds, RATES, METHODS, WORKERS)
        if key[0] == given.seeds[0] or key[1] != RATES[-1]
    ]
    runs = [(key, key[2].run(key[1], key[3], key[0])) for key in keys]
    planned = {run.name: run for _, run in runs}
    results = common.finished(planned, given.runs, report=given.report, local=True)
    found: Found = {}
    for (_, rate, m, workers), run in runs:
        if run.name in results:
            found.setdefault((rate, m.name, workers), []).append(results[run.name])
    text = [table(found, rate) for rate in RATES]
    text += [shares(found, rate) for rate in RATES] + [cards(found)]
    data = [
        {"rate": rate, "method": name, "workers": workers, "runs": kept(runs)}
        for (rate, name, workers), runs in found.items()
    ]
    common.save("asylpg_scaling", "\n\n".join(text), data)


def kept(runs: Sequence[Result]) -> list[dict[str, Any]]:
    keys = ("seed", "rounds", "reached", "seconds", "staleness", "options")
    return [
        {k: r.summary[k] for k in keys} | {"server": r.summary["ranks"][0]["seconds"]}
        for r in runs
    ]


def seconds(runs: Sequence[Result]) -> list[float]:
    """Return the times to the loss; infinite where it was not reached."""
    reached = (r.summary["reached"].get(f"loss={LOSS:g}") for r in runs)
    return [np.inf if at is None else float(at["seconds"]) for at in reached]


def mean(found: Found, rate: float, name: str, workers: int) -> float:
    return float(np.mean(seconds(found.get((rate, name, workers), [])) or [np.inf]))


def table(found: Found, rate: float) -> str:
    """Return times to the loss."""
    lines = [
        f"{rate:.0e} bits/s, {1e6 * LATENCY:.0f} us a message: simulated seconds to a "
        f"training loss of {LOSS:g}, mean (min-max) over n seeds; batch {BATCH}",
        f"{'':20}{'M':>3}{'n':>3}{'lr':>6}{'steps':>16}{'seconds':>22}{'ms/step':>9}"
        f"{'staleness':>11}{'to M = 4':>10}{'to asysvrg':>12}{'step for step':>15}",
    ]
    for m in METHODS:
        for workers in WORKERS:
            runs = found.get((rate, m.name, workers))
            if not runs:
                continue
            own, base = pace(runs), found.get((rate, METHODS[0].name, workers))
            total = mean(found, rate, m.name, workers)
            first = mean(found, rate, m.name, WORKERS[0])
            exact = mean(found, rate, METHODS[0].name, workers)
            lines.append(
                f"{m.name:20}{workers:>3}{len(runs):>3}{m.lr:>6g}"
                f"{common.spread([r.summary['rounds'] for r in runs]):>16}"
                f"{common.spread(seconds(runs), '{:.2f}'):>22}{own:>9.2f}"
                f"{staleness(runs):>11.1f}{first / total:>10.2f}{exact / total:>12.2f}"
                f"{(pace(base) if base else np.nan) / own:>15.2f}"
            )
    return "\n".join(lines)


def pace(runs: Sequence[Result]) -> float:
    """Return milliseconds per step."""
    times = [r.summary["seconds"]["total"] / r.summary["rounds"] for r in runs]
    return 1e3 * float(np.mean(times))


def staleness(runs: Sequence[Result]) -> float:
    """Return the mean age of a gradient, in steps."""
    ages: list[float] = []
    for r in runs:
        counts = {int(age): n for age, n in r.summary["staleness"].items()}
        total = sum(counts.values())
        ages.append(sum(age * n for age, n in counts.items()) / total)
    return float(np.mean(ages))


def shares(found: Found, rate: float) -> str:
    """Return where the time goes, on a worker and on the server."""
    lines = [
        f"{rate:.0e} bits/s: shares of the total in percent; transmit: sending, and "
        "waiting for the line and the server; own: proximal steps, the rule, and "
        "bookkeeping",
        f"{'':20}{'':3}{'a worker:':>12}{'':30}{'the server:':>14}",
        f"{'':20}{'M':>3}{'compute':>12}{'encode':>9}{'decode':>9}{'transmit':>12}"
        f"{'encode':>14}{'decode':>9}{'own':>9}{'wait, send':>12}",
    ]
    for m in METHODS:
        for workers in WORKERS:
            runs = found.get((rate, m.name, workers))
            if not runs:
                continue
            total = sum(r.summary["seconds"]["total"] for r in runs) / 100
            of, at = (
                {k: sum(part[k] for part in parts) / total for k in parts[0]}
                for parts in (
                    [r.summary["seconds"] for r in runs],
                    [r.summary["ranks"][0]["seconds"] for r in runs],
                )
            )
            idle = at["wait"] + at["send"]
            lines.append(
                f"{m.name:20}{workers:>3}{of['compute']:>12.1f}{of['encode']:>9.1f}"
                f"{of['decode']:>9.1f}"
                f"{100 - of['compute'] - of['encode'] - of['decode']:>12.1f}"
                f"{at['encode']:>14.1f}{at['decode']:>9.1f}"
                f"{100 - at['encode'] - at['decode'] - idle:>9.1f}{idle:>12.1f}"
            )
    return "\n".join(lines)


def cards(found: Found) -> str:
    """Return what becomes of card A10."""
    lines = []
    for rate, m in itertools.product(RATES, METHODS):
        for what, times in (
            ("seconds", [mean(found, rate, m.name, w) for w in WORKERS]),
            ("ms/step", [pace(found.get((rate, m.name, w), [])) for w in WORKERS]),
        ):
            met = all(a > b for a, b in itertools.pairwise(times))
            shown = ", ".join(f"{t:.2f}" for t in times)
            told = f"{rate:.0e} bits/s, {m.name}: {what} with 4, 8, 12 workers: {shown}"
            lines.append(common.card("A10", told, met))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
