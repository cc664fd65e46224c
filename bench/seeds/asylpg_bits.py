"""Bits both ways to a training loss: AsyLPG's family and what it is compared with.

    python bench/seeds/asylpg_bits.py [--problems network ...] [--seeds 0 1]
        [--data rcv1] [--runs DIR] [--report]

In process, 8 workers whose speeds are drawn anew for every gradient, so that the order
in which they arrive is realistic, and the same in every repetition. Batch and epoch are
the same for all methods: an epoch takes all samples once. Step sizes are of a 1-2-5
grid: those with which an algorithm's row of fixed widths took the fewest bits, from a
seed of its own; some take another's. The logistic regression is on made-up sparse data,
or on --data. Finished runs are kept in DIR and not repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

from psmpi.runs import config
from psmpi.runs.summary import Result

WORKERS = 8
TUNING_SEED = 1000
TEXT = "synthetic:text,samples=20000,features=47000,density=0.0016,separation=1"
BOTH = ("paper_bits_up", "paper_bits_down")
WIRE = ("wire_bytes_up", "wire_bytes_down")


@dataclass(frozen=True)
class Problem:
    """What is minimised, until which losses, and how; ``lrs`` begin the tuning."""

    name: str
    what: str
    losses: tuple[float, ...]
    batch: int
    epoch: int
    rounds: int
    look: int  # rounds from one evaluation to the next
    lrs: tuple[float, ...]
    setting: dict[str, Any]
    traced: tuple[int, int] = (0, 1)  # rounds of a run that looks closely, and how
    epochs: tuple[int, ...] = ()  # others to compare with, in the first seed
    extend: bool = True  # the grid, where the best is at an end
    dear: bool = False  # few rows, from one seed, and few tuned

    def targets(self) -> list[str]:
        return [f"loss={loss:g}" for loss in self.losses]


@dataclass(frozen=True)
class Method:
    """A row: an algorithm, its options, and its published ratio to AsySVRG's bits."""

    name: str
    algorithm: str
    options: dict[str, Any] = field(default_factory=dict)
    published: str = ""
    swept: bool = False  # it is run from the first seed only

    def run(self, p: Problem, lr: float, seed: int, **more: Any) -> config.RunConfig:
        """Return its run, which ends when all losses are reached."""
        return config.configure(
            self.algorithm,
            name=self.folder(p, lr, seed),
            **{
                "workers": WORKERS,
                "speeds": "uniform:10,90",
                "partition": "shuffled",
                "batch": p.batch,
                "epoch": p.epoch,
                "lr": lr,
                "rounds": p.rounds,
                "evaluate_every": p.look,
                "until": p.targets(),
                "optimum": False,
                "seed": seed,
                **p.setting,
                **self.options,
                **more,
            },
        )

    def folder(self, p: Problem, lr: float, seed: int) -> str:
        """Return the run's name."""
        name = f"{p.name}-{self.name}-lr{lr:g}-seed{seed}"
        return name.replace(" ", "_").replace("/", "-")


FIXED = {"bits": 4, "bits_down": 8}
MUS = (0.1, 0.5, 1.0, 2.0, 5.0)
ASYLPG = Method("asylpg 8/4", "asylpg", FIXED, "6.48 7.28")
ACC = Method("acc-asylpg 8/4", "acc-asylpg", FIXED, "7.33 8.87")
SPARSE = Method("sparse-asylpg 8", "sparse-asylpg", {"bits_down": 8}, "19.19 19.13")
BASE = Method("asysvrg", "asysvrg", published="1")
HEADS = [
    BASE,
    Method("qsvrg 4", "qsvrg", {"bits": 4}),
    Method("low-precision-model 8", "low-precision-model", {"bits_down": 8}),
    ASYLPG,
    ACC,
    SPARSE,
    Method("sparse-asysvrg", "sparse-asysvrg"),
]


def ruled(head: Method, mu: float, **more: Any) -> Method:
    options = {k: v for k, v in head.options.items() if k != "bits_down"}
    name = f"{head.algorithm} mu {mu:g}" + (" recentred" if more else "")
    swept = mu not in (2.0, 5.0) or head.algorithm == "acc-asylpg"
    return Method(name, head.algorithm, {**options, "mu": mu, **more}, swept=swept)


METHODS = [
    *HEADS,
    *(ruled(ASYLPG, mu) for mu in MUS),
    *(ruled(ACC, mu) for mu in (0.5, 2.0)),
    *(ruled(SPARSE, mu) for mu in (*MUS[1:], 10.0)),
    *(ruled(ASYLPG, mu, recentre=True) for mu in (0.5, 2.0)),
    *(ruled(SPARSE, mu, recentre=True) for mu in (0.5, 2.0, 5.0)),
]
TRACED = ruled(ASYLPG, 0.5)
EPOCHS = [BASE.name, "asylpg mu 2", "sparse-asylpg mu 5"]
EPOCHS += ["sparse-asylpg mu 5 recentred"]
DEAR = {"asysvrg", "qsvrg 4", "asylpg 8/4", "sparse-asylpg 8"}
DEAR |= {f"{name} mu {mu}" for name in ("asylpg", "sparse-asylpg") for mu in (2, 5)}
TUNED = {  # whose step size an algorithm takes
    "qsvrg": "asylpg",
    "low-precision-model": "asysvrg",
    "sparse-asysvrg": "sparse-asylpg",
}


def problems(data: str) -> list[Problem]:
    mnist = {"data": "mnist", "l2": 0.0}
    network = {**mnist, "hidden": "100"}
    return [
        Problem(
            "network",
            "MNIST, perceptron 784-100-10, no ridge",
            (0.5,),
            *(64, 938, 1500, 10),
            (0.1, 0.2),
            network,
            traced=(4 * 938, 67),
        ),
        Problem(
            "network-on",
            "the same network, to a lower loss",
            (0.1,),
            *(64, 938, 4500, 50),
            (0.1, 0.2),
            network,
            dear=True,
        ),
        Problem(
            "softmax",
            "MNIST, softmax regression, no ridge (0.1 is out of its reach)",
            (0.5, 0.35),
            *(64, 938, 2500, 20),
            (0.1, 0.2),
            mnist,
            traced=(5 * 938, 67),
            epochs=(469, 1876),
        ),
        Problem(
            "logistic",
            f"{data}, logistic regression, from 0, l2 1e-5",
            (0.5, 0.2),
            *(32, 625, 3000, 25),
            (0.5, 1.0, 2.0),  # at 5 the loss first rises fourfold
            {"data": data, "l2": 1e-5, "init": "zeros"},
            traced=(5 * 625, 25),
            epochs=(313, 1250),
            extend=False,
        ),
    ]


def reached(result: Result, loss: float, *keys: str) -> float:
    at = result.summary["reached"].get(f"loss={loss:g}")
    return np.inf if at is None else float(sum(at[key] for key in keys))


def tune(p: Problem, folder: Path, report: bool) -> dict[str, dict[float, float]]:
    """Return every algorithm's scores by step size: less bits to the lowest loss."""

    def score(result: Result) -> float:
        bits = reached(result, p.losses[-1], *BOTH)
        return -bits if np.isfinite(bits) else -1e15 * result.summary["loss"]

    return {
        m.algorithm: common.tune(
            lambda lr, m=m: m.run(p, lr, TUNING_SEED),
            p.lrs,
            folder,
            score=score,
            extend=p.extend and not p.dear,
            report=report,
        )
        for m in HEADS
        if m.algorithm not in TUNED and (m.name in DEAR or not p.dear)
    }


@dataclass(frozen=True)
class Found:
    """All that was found on a problem: runs by row, step sizes, what they are from."""

    problem: Problem
    runs: dict[str, list[Result]]
    rates: dict[str, float]
    scores: dict[str, dict[float, float]]
    trace: Result | None
    others: dict[tuple[str, int], Result]  # by row and epoch

    def cost(self, name: str, loss: float, *keys: str, seeds: int = 99) -> float:
        """Return the mean over seeds; infinite if one did not arrive."""
        values = [reached(r, loss, *keys) for r in self.runs.get(name, [])[:seeds]]
        return float(np.mean(values or [np.inf]))

    def ratio(self, name: str, loss: float, keys: Sequence[str] = BOTH) -> float:
        """Return AsySVRG's cost over this row's, from the same seeds."""
        seeds = len(self.runs.get(name, []))
        base = self.cost(BASE.name, loss, *keys, seeds=seeds)
        own = self.cost(name, loss, *keys)
        return base / own if np.isfinite(base + own) else np.nan


def find(p: Problem, given: argparse.Namespace) -> Found:
    """Tune, do the runs that are missing, and return all of them."""
    scores = tune(p, given.runs, given.report)
    rates = {name: common.best(by_lr) for name, by_lr in scores.items() if by_lr}
    for name, other in TUNED.items():
        if other in rates:
            rates.setdefault(name, rates[other])
    names = {
        (m.name, seed): m.run(p, rates[m.algorithm], seed)
        for i, seed in enumerate(given.seeds[:1] if p.dear else given.seeds)
        for m in METHODS
        if m.algorithm in rates and not (m.swept and i)
        if not p.dear or m.name in DEAR
    }
    planned = {run.name: run for run in names.values()}
    steps, look = p.traced
    close = None
    if steps and "asylpg" in rates:
        close = Method("traced", "asylpg", TRACED.options).run(
            p,
            rates["asylpg"],
            given.seeds[0],
            until=(),
            rounds=steps,
            evaluate_every=look,
        )
        planned[close.name] = close
    others = {
        (m.name, epoch): replace(m, name=f"{m.name} epoch {epoch}").run(
            p, rates[m.algorithm], given.seeds[0], epoch=epoch
        )
        for epoch in p.epochs
        for m in METHODS
        if m.name in EPOCHS and m.algorithm in rates
    }
    planned |= {run.name: run for run in others.values()}
    results = common.finished(planned, given.runs, report=given.report, local=True)
    runs: dict[str, list[Result]] = {}
    for (name, _), run in names.items():
        if run.name in results:
            runs.setdefault(name, []).append(results[run.name])
    trace = results.get(close.name) if close else None
    compared = {
        k: results[run.name] for k, run in others.items() if run.name in results
    }
    compared |= {(name, p.epoch): runs[name][0] for name in EPOCHS if name in runs}
    return Found(p, runs, rates, scores, trace, compared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--problems", nargs="+", help="of network, network-on, ...")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--data", default=TEXT, help="of the logistic regression")
    parser.add_argument("--runs", type=Path, default=Path("runs/asylpg_bits"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    all_ = problems(given.data)
    wanted = [p for p in all_ if not given.problems or p.name in given.problems]
    found = [f for f in (find(p, given) for p in wanted) if f.runs]
    text = [NOTE]
    if missing := {p.name for p in wanted} - {f.problem.name for f in found}:
        text.append(f"not run: {', '.join(sorted(missing))}")
    for f in found:
        text += [table(f, loss) for loss in f.problem.losses]
        text += [tuning(f)] + ([traced(f)] if f.trace else [])
        text += [lengths(f)] if f.problem.epochs else []
    text.append(cards(found))
    data = {f.problem.name: kept(f) for f in found}
    common.save("asylpg_bits", "\n\n".join(text), data)


NOTE = """\
bits by the papers' formulas, both ways, over all workers, snapshots (64 d M an epoch,
32 d M in the first) included; ratio: AsySVRG's bits over the method's, from the same
seeds; in steps: without the snapshots; wire: bytes of messages. 8/4: models of 8
bits, gradients of 4; mu: rule (2) or (4); recentred: x - xs is quantised. In process,
8 workers, speeds uniform:10,90 anew for each gradient.

The snapshot of an epoch costs what 8 steps of AsySVRG do, and more steps of what is
compressed. For each goal the best mu counts; what is recentred is told apart from it.
Where losses swing within an epoch, they first get below a line just after a
snapshot."""


def table(f: Found, loss: float) -> str:
    """Return bits, rounds and ratios to AsySVRG until a loss."""
    p = f.problem
    lines = [
        f"{p.name}: {p.what}; batch {p.batch}, epoch {p.epoch} steps; until a "
        f"training loss of {loss:g}, looked at every {p.look} steps; mean (min-max) of "
        "n seeds",
        f"{'':31}{'n':>2}{'lr':>6}{'steps':>18}{'up/step/d':>10}{'down':>6}"
        f"{'bits both ways':>30}{'ratio':>7}{'in steps':>9}{'wire':>7}  published",
    ]
    for m in METHODS:
        runs = f.runs.get(m.name)
        if not runs:
            continue
        head = f"{m.name:31}{len(runs):>2}{f.rates[m.algorithm]:>6g}"
        bits = [reached(r, loss, *BOTH) for r in runs]
        if not np.isfinite(bits).all():
            lines.append(f"{head}  not reached by all in {p.rounds} steps")
            continue
        steps = [reached(r, loss, "round") for r in runs]
        up, down = (np.mean([per_step(r, p, loss, k) for r in runs]) for k in BOTH)
        lines.append(
            f"{head}{common.spread(steps):>18}{up:>10.2f}{down:>6.2f}"
            f"{common.spread(bits, '{:.3g}'):>30}{f.ratio(m.name, loss):>7.2f}"
            f"{in_steps(f, m.name, loss):>9.2f}{f.ratio(m.name, loss, WIRE):>7.2f}"
            f"  {m.published}"
        )
    return "\n".join(lines)


def snapshots(result: Result, p: Problem, loss: float, keys: Sequence[str]) -> float:
    """Return the bits of snapshots until a loss."""
    epochs = reached(result, loss, "round") // p.epoch + 1
    # Full gradients go up in every epoch; its point goes down in all but the first.
    times = {"paper_bits_up": epochs, "paper_bits_down": epochs - 1}
    return 32 * int(result.summary["dim"]) * WORKERS * sum(times[key] for key in keys)


def per_step(result: Result, p: Problem, loss: float, key: str) -> float:
    """Return the bits per step and coordinate one way, without the snapshots."""
    bits = reached(result, loss, key) - snapshots(result, p, loss, [key])
    return bits / int(result.summary["dim"]) / reached(result, loss, "round")


def in_steps(f: Found, name: str, loss: float) -> float:
    """Return the ratio of bits without the snapshots."""

    def cost(runs: Sequence[Result]) -> float:
        p = f.problem
        return sum(reached(r, loss, *BOTH) - snapshots(r, p, loss, BOTH) for r in runs)

    own = f.runs[name]
    return cost(f.runs[BASE.name][: len(own)]) / cost(own)


def tuning(f: Found) -> str:
    """Return what the step sizes were chosen from."""
    lines = [
        f"{f.problem.name}: bits to a loss of {f.problem.losses[-1]:g} by step size, "
        f"seed {TUNING_SEED}; - is diverged, (loss) not reached; others take these: "
        + ", ".join(f"{name} {other}'s" for name, other in TUNED.items())
    ]
    for name, by_lr in f.scores.items():
        shown = "  ".join(
            f"{lr:g}: " + told(score) for lr, score in sorted(by_lr.items())
        )
        lines.append(f"{name:24}{shown}")
    return "\n".join(lines)


def told(score: float) -> str:
    if not np.isfinite(score):
        return "-"
    return f"({score / -1e15:.2f})" if score < -1e13 else f"{-score:.3g}"


def traced(f: Found) -> str:
    """Return the model quantiser's width and error against steps, as in Figure 4."""
    assert f.trace is not None
    p = f.problem
    lines = [
        f"{p.name}: {TRACED.name}, lr {f.rates['asylpg']:g}, models sent at the same "
        "places of every epoch: b_x, and error E||Q(x) - x||^2 (||x - xs||^2)"
    ]
    epochs = by_epoch(f.trace, p)
    places = sorted({row["round"] % p.epoch for rows in epochs for row in rows} - {0})
    for place in places[:: max(1, len(places) // 5)]:
        cells = [
            f"{row['model_bits']:>3} {row['model_error']:.2g} "
            f"({row['model_distance']:.2g})"
            for rows in epochs
            for row in rows
            if row["round"] % p.epoch == place
        ]
        lines.append(f"step {place:>4}" + "".join(f"{cell:>22}" for cell in cells))
    means = "".join(f"{bits:>22.2f}" for bits in mean_bits(f.trace, p))
    return "\n".join([*lines, f"mean b_x {means}"])


def lengths(f: Found) -> str:
    """Return what other lengths of an epoch come to."""
    p, loss = f.problem, f.problem.losses[-1]
    lines = [
        f"{p.name}: bits to a loss of {loss:g}, steps, and ratio to asysvrg with the "
        "same, and with its best, epoch; seed of the first"
    ]
    epochs = sorted({epoch for _, epoch in f.others})
    cost = {key: reached(r, loss, *BOTH) for key, r in f.others.items()}
    best = min(
        (cost[BASE.name, e] for e in epochs if (BASE.name, e) in cost), default=0
    )
    lines.append(f"{'epoch':31}" + "".join(f"{epoch:>32}" for epoch in epochs))
    for name in EPOCHS:
        cells = [
            f"{cost[name, e]:.3g} {reached(f.others[name, e], loss, 'round'):.0f} "
            f"{cost[BASE.name, e] / cost[name, e]:.2f} {best / cost[name, e]:.2f}"
            for e in epochs
            if (name, e) in cost and (BASE.name, e) in cost
        ]
        lines.append(f"{name:31}" + "".join(f"{cell:>32}" for cell in cells))
    return "\n".join(lines)


def sent(result: Result) -> Iterator[dict[str, Any]]:
    """Yield the rows in which a model was sent; in the last round none is."""
    for row in result.rows:
        if row["round"] < result.summary["rounds"] and row["model_bits"]:
            yield row


def by_epoch(result: Result, p: Problem) -> list[list[dict[str, Any]]]:
    """Return the rows in which a model was sent, of every whole epoch."""
    epochs: list[list[dict[str, Any]]] = [
        [] for _ in range(-(-result.summary["rounds"] // p.epoch))
    ]
    for row in sent(result):
        epochs[row["round"] // p.epoch].append(row)
    return [rows for rows in epochs if rows]


def mean_bits(result: Result, p: Problem) -> list[float]:
    return [
        float(np.mean([row["model_bits"] for row in rows]))
        for rows in by_epoch(result, p)
    ]


def kept(f: Found) -> dict[str, Any]:
    """Return what tables are made of."""
    keys = [*BOTH, *WIRE, "seed", "rounds", "loss", "dim", "reached", "model_bits"]
    keys += ["epochs", "staleness", "options"]
    close = ("round", "loss", "model_bits", "model_error", "model_distance")
    return {
        "lr": f.rates,
        "tuning": f.scores,
        "runs": {
            name: [{k: r.summary[k] for k in keys} for r in runs]
            for name, runs in f.runs.items()
        },
        "traced": f.trace and [[row[k] for k in close] for row in f.trace.rows],
    }


def rule(f: Found) -> tuple[int, int, float]:
    """Return rows with a rule, those that break it, and the largest error / budget."""
    rows, broken, largest = 0, 0, 0.0
    runs = [r for some in f.runs.values() for r in some]
    for result in [*runs, *([f.trace] if f.trace else [])]:
        options: Mapping[str, Any] = result.summary["options"]
        if options.get("mu") is None:
            continue
        for row in sent(result):
            theta = 1.0
            if result.summary["algorithm"] == "acc-asylpg":
                theta = 2 / (row["round"] // f.problem.epoch + 2)
            part = row["model_error"] / (theta * options["mu"] * row["model_distance"])
            rows, broken = rows + 1, broken + (part > 1)
            largest = max(largest, part)
    return rows, broken, largest


def cards(found: Sequence[Found]) -> str:
    """Return what becomes of card A9 and of the issue's goals."""
    lines = []
    for f in found:
        for loss in f.problem.losses:
            bits = {
                name: f.cost(name, loss, *BOTH)
                for name in (ASYLPG.name, "qsvrg 4", BASE.name)
            }
            met = bits[ASYLPG.name] < min(bits["qsvrg 4"], bits[BASE.name])
            what = f"{f.problem.name} at {loss:g}, bits: "
            what += ", ".join(f"{name} {bits_:.3g}" for name, bits_ in bits.items())
            lines.append(common.card("A9", what, met))
        rows, broken, largest = rule(f)
        what = f"{f.problem.name}: rule (2) or (4) in {rows - broken} of {rows} rows, "
        what += f"error at most {largest:.4f} of what it allows"
        lines.append(common.card("A9", what, not broken))
        if f.trace:
            bits_ = mean_bits(f.trace, f.problem)
            what = f"{f.problem.name}: mean b_x by epoch rises: "
            what += " ".join(f"{b:.2f}" for b in bits_)
            lines.append(common.card("A9", what, bool(np.all(np.diff(bits_) > 0))))
    for algorithm, least in (("asylpg", 5), ("sparse-asylpg", 15)):
        for f in found:
            lines += [goal(f, algorithm, loss, least) for loss in f.problem.losses]
            lines += [best_epochs(f, algorithm, least)] if f.problem.epochs else []
    return "\n".join(lines)


def best_epochs(f: Found, algorithm: str, least: float) -> str:
    """Return the line on a row and AsySVRG, each with its best length of an epoch."""
    loss = f.problem.losses[-1]
    by_name: dict[str, dict[int, float]] = {}
    for (name, epoch), result in f.others.items():
        by_name.setdefault(name, {})[epoch] = reached(result, loss, *BOTH)
    row = next(n for n in EPOCHS if n.startswith(f"{algorithm} "))
    told, bits = [], []
    for name in (BASE.name, row):
        costs = by_name.get(name, {0: np.inf})
        epoch = min(costs, key=costs.__getitem__)
        told.append(f"{name} {epoch}")
        bits.append(costs[epoch])
    ratio = bits[0] / bits[1]
    what = (
        f"{f.problem.name} at {loss:g}, each with its best epoch ({', '.join(told)}; "
    )
    what += f"one seed): {ratio:.2f} x fewer bits, at least {least}"
    return common.card("goal", what, ratio >= least)


def goal(f: Found, algorithm: str, loss: float, least: float) -> str:
    """Return the line on an algorithm's best row, and its best recentred one."""
    ratios = {
        m.name: f.ratio(m.name, loss)
        for m in METHODS
        if m.algorithm == algorithm and np.isfinite(f.ratio(m.name, loss))
    }
    plain = {k: v for k, v in ratios.items() if "recentred" not in k}
    best = max(plain, key=plain.__getitem__, default="")
    what = f"{f.problem.name} at {loss:g}: {plain.get(best, 0):.2f} x fewer bits than "
    what += f"asysvrg ({best}), at least {least}"
    if best:
        what += f"; {in_steps(f, best, loss):.2f} x in steps"
    others = {k: v for k, v in ratios.items() if k not in plain}
    if others:
        other = max(others, key=others.__getitem__)
        what += f"; {others[other]:.2f} x with {other}"
    return common.card("goal", what, plain.get(best, 0) >= least)


if __name__ == "__main__":
    main()
