"""Loss against time: QuanTimed-DSGD, Q-DSGD, DSGD and asynchronous DSGD.

    python bench/seeds/quantimed.py [--only sim|mpi] [--runs DIR] [--report]

sim: the setting of the authors' code on a simulated clock, in process. 50 nodes, a
random graph, the first 10 000 samples of MNIST, 784-50-10, speeds V ~ U(10, 90) drawn
for every node and iteration, and lines on which a model of doubles takes 3 units of
time. Then their network with four hidden layers, which had 1024 grey pixels of
CIFAR-10, on MNIST. Starts are Glorot's, theirs U(-0.5, 0.5); the ridge is 1 / 10 000,
theirs 1 / |batch|. mpi: 8 workers and the server under mpiexec, deadlines by the real
clock, workers that sleep to be as slow as they should be; it wants a machine that does
nothing else. Results go into quantimed and quantimed_mpi. Finished runs are kept in DIR
and DIR_mpi, and not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

from psmpi import problems
from psmpi.runs import config
from psmpi.runs.summary import Result

SAMPLES = 10_000
BATCHES = (20, 50)
T = 300  # rounds, and the horizon of step sizes; of asynchronous DSGD:
T_FREE = {20: 450, 50: 300}
LOOK = 10
MODEL_TIME = 3.0  # units of time for a model of doubles, 3 s / 16 for s digits
LOSSES = (2.5, 2.0, 1.75, 1.5, 1.25, 1.0)
TIMED = 30  # rounds of the runs that are only timed
QT, QD, DS, AS = "quantimed-dsgd", "q-dsgd", "dsgd", "async-dsgd"
PUBLISHED = {(QT, 20): 0.963, (QT, 50): 1.563, (QD, 20): 2.318, (QD, 50): 4.949}
PUBLISHED |= {(DS, 20): 4.755, (DS, 50): 7.386}
PHASES = ("compute", "send", "wait")
PLATEAU = (
    "784-30-20-20-25-10: no card. 3.25 is the loss of a model that does not look at "
    "the pixels, and from this start four layers of sigmoids don't leave it in T rounds"
)
MPI_WORKERS, MPI_SPEEDS, MPI_MEAN, MPI_T, MICRO = 8, "uniform:50,450", 250, 200, 2


@dataclass(frozen=True)
class Net:
    """A perceptron, its size, and the authors' constants for it."""

    name: str
    hidden: str
    dim: int
    digits: int
    options: Mapping[str, Mapping[str, float]] = field(hash=False)
    l2: float = 0.0


ONE = Net(
    "784-50-10",
    "50",
    39_760,
    3,
    {
        QT: {"lr": 0.3, "mixing": 15.0, "rule": "nonconvex"},
        QD: {"lr": 0.3, "mixing": 15.0, "rule": "nonconvex"},
        DS: {"lr": 0.2},
        AS: {"lr": 0.2},
    },
    1 / SAMPLES,
)
FOUR = Net(
    "784-30-20-20-25-10",
    "30,20,20,25",
    25_375,
    5,
    {
        QT: {"lr": 0.8, "mixing": 9.0, "rule": "nonconvex"},
        QD: {"lr": 0.8, "mixing": 10.0, "rule": "nonconvex"},
        DS: {"lr": 0.08},
    },
)


def made(
    net: Net, name: str, algorithm: str, given: Mapping[str, Any]
) -> config.RunConfig:
    options: dict[str, Any] = {**net.options[algorithm]}
    if algorithm in (QT, QD):
        options["codec"] = f"decimal:digits={net.digits}"
    setting = {
        "hidden": net.hidden,
        "activation": "sigmoid",
        "loss": "logistic",
        "l2": net.l2,
        "weights": "laplacian",
        "optimum": False,
    }
    return config.configure(algorithm, name=name, **{**setting, **options, **given})


def simulated(data: str, net: Net, algorithm: str, batch: int) -> config.RunConfig:
    """Return a run on the authors' clock."""
    given = on_clock(data, net, batch)
    given["rounds"] = T_FREE[batch] if algorithm == AS else T
    given["evaluate_every"] = LOOK
    return made(net, f"{net.name}-{algorithm}-b{batch}", algorithm, given)


def on_clock(data: str, net: Net, batch: int) -> dict[str, Any]:
    return {
        "data": data,
        "workers": 50,
        "topology": "erdos-renyi:0.4",
        "batch": batch,
        "speeds": "uniform:10,90",
        "dtype": "float64",
        "link_rate": 64 * net.dim / MODEL_TIME,
    }


def timed(data: str, algorithm: str, batch: int, lockstep: bool) -> config.RunConfig:
    """Return a short run that shows how long a round takes.

    Its steps are those of a run over T rounds. ``lockstep``: looked at in every round,
    for which all wait.
    """
    given = on_clock(data, ONE, batch)
    given |= {"rounds": TIMED, "evaluate_every": 1 if lockstep else TIMED}
    if algorithm != DS:
        own = ONE.options[algorithm]
        given |= {"lr": own["lr"] / T ** (1 / 6), "mixing": own["mixing"] / T**0.5}
        given["rule"] = "constant"
    how = "lockstep" if lockstep else "free"
    return made(ONE, f"{how}-{algorithm}-b{batch}", algorithm, given)


def over_mpi(data: str, algorithm: str, batch: int) -> config.RunConfig:
    given = {
        "data": data,
        "workers": MPI_WORKERS,
        "topology": "torus",
        "batch": batch,
        "speeds": MPI_SPEEDS,
        "rounds": MPI_T,
        "evaluate_every": LOOK,
    }
    if algorithm == QT:
        given["micro_batch"] = MICRO
    return made(ONE, f"{algorithm}-b{batch}", algorithm, given)


def first_samples(folder: Path) -> str:
    """Write the first samples of MNIST into ``folder``; return the data set's name."""
    path = folder / f"mnist{SAMPLES}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        data = problems.load("mnist", np.float32)
        np.savez(path, X=data.x[:SAMPLES], y=data.y[:SAMPLES])
    return f"npz:{path}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("sim", "mpi"), help="one half")
    parser.add_argument("--runs", type=Path, default=Path("runs/quantimed"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    for half, report in (("sim", report_sim), ("mpi", report_mpi)):
        if given.only in (None, half):
            report(given.runs, given.report)


def kept(result: Result) -> dict[str, Any]:
    """Return a run's summary and rows, without hosts and paths."""
    seen = ("round", "seconds", "loss", "consensus", "drift", "uploads")
    dropped = ("ranks", "data", "reached", "unmet")
    return {
        **{k: v for k, v in result.summary.items() if k not in dropped},
        "rows": [[row[key] for key in seen] for row in result.rows],
    }


# -- simulated ------------------------------------------------------------------------


def report_sim(folder: Path, only_report: bool) -> None:
    data = first_samples(folder)
    runs = [timed(data, a, b, s) for s in (1, 0) for b in BATCHES for a in (QT, QD, DS)]
    runs += [simulated(data, ONE, a, b) for b in BATCHES for a in ONE.options]
    runs += [simulated(data, FOUR, a, 50) for a in FOUR.options]
    planned = {run.name: run for run in runs}
    found = common.finished(planned, folder, report=only_report, local=True)
    text = [per_round(found)]
    speedups = {}
    for net, batch in ((ONE, 20), (ONE, 50), (FOUR, 50)):
        some = {
            a: found[name]
            for a in net.options
            if (name := f"{net.name}-{a}-b{batch}") in found
        }
        if some:
            text.append(to_losses(net, batch, some))
            speedups[net.name, batch] = speedup(some)
    text += [sizes(found), cards(found, speedups)]
    summaries = {name: kept(result) for name, result in found.items()}
    common.save("quantimed", "\n\n".join(text), {"T": T, "runs": summaries})


def model(batch: int, draws: int = 20_000) -> dict[str, float]:
    """Return the source's model of a round's time, by Monte Carlo, and E of batches."""
    speeds = np.random.default_rng(0).uniform(10, 90, (draws, 50))
    slowest = float((batch / speeds).max(axis=1).mean())
    done = np.floor(speeds * (batch / 50))
    quantised = MODEL_TIME * ONE.digits / 16
    return {
        QT: batch / 50 + quantised,
        QD: slowest + quantised,
        DS: slowest + MODEL_TIME,
        "batch": float(done.mean()),
        "least": float(done.min()),
    }


def per_round(found: dict[str, Result]) -> str:
    """Return what a round takes: as tabulated, by the model, and as measured."""
    lines = [
        "units of time a round, 50 nodes, 784-50-10; ratio to quantimed-dsgd in "
        "brackets",
        "card: as tabulated in A11; model: Monte Carlo of the source's model, 20 000 "
        f"draws; lockstep: {TIMED} rounds in which the server looks at every model, so "
        "that all wait for all, as in the model; free: nodes wait for their neighbours "
        "only, and hear of the slowest one when it has held up these",
        f"{'':10}{'':16}{'card':>14}{'model':>16}{'lockstep':>16}{'free':>16}"
        f"{'mean batch':>12}",
    ]
    for batch in BATCHES:
        by_model = model(batch)
        columns = {
            "card": {a: PUBLISHED[a, batch] for a in (QT, QD, DS)},
            "model": by_model,
            **{how: round_times(found, how, batch) for how in ("lockstep", "free")},
        }
        for a in (QT, QD, DS):
            cells = [
                f"{times[a]:.3f} ({times[a] / times[QT]:.2f} x)" if a in times else "-"
                for times in columns.values()
            ]
            mean = str(batch)
            long = found.get(f"{ONE.name}-{a}-b{batch}")
            if long and a == QT:
                done = [rank["samples"] for rank in long.summary["ranks"][1:]]
                mean = f"{np.mean(done) / T:.1f}"
            lines.append(
                f"{'b = ' + str(batch):10}{a:16}{cells[0]:>14}"
                + "".join(f"{cell:>16}" for cell in cells[1:])
                + f"{mean:>12}"
            )
        lines.append(
            f"{'':10}mean batch before the deadline by the model: "
            f"{by_model['batch']:.1f}, at least {by_model['least']:.0f}"
        )
    return "\n".join(lines)


def round_times(found: dict[str, Result], how: str, batch: int) -> dict[str, float]:
    named = {a: found.get(f"{how}-{a}-b{batch}") for a in (QT, QD, DS)}
    return {a: r.rows[-1]["seconds"] / TIMED for a, r in named.items() if r}


def arrival(result: Result, loss: float) -> float | None:
    """Return when the loss was reached first, linear between rows."""
    for before, row in itertools.pairwise(result.rows):
        if row["loss"] <= loss:
            share = (before["loss"] - loss) / (before["loss"] - row["loss"])
            return before["seconds"] + share * (row["seconds"] - before["seconds"])
    return None


def to_losses(net: Net, batch: int, some: Mapping[str, Result]) -> str:
    """Return times to losses, and where the runs ended."""
    start = next(iter(some.values())).rows[0]["loss"]
    losses = losses_of(some)
    lines = [
        f"{net.name}, b = {batch}: time to a training loss of the mean model (from "
        f"{start:.3f}), ratio to {QT} in brackets; then the end of the run, with "
        "consensus error (1/n) sum ||x_i - mean||^2 and how far the mean moved since "
        "the row before",
        f"{'':16}" + "".join(f"{loss:>18g}" for loss in losses) + f"{'rounds':>8}"
        f"{'time':>9}{'loss':>8}{'consensus':>11}{'drift':>8}",
    ]
    for a, result in some.items():
        cells = []
        for loss in losses:
            own, base = arrival(result, loss), arrival(some[QT], loss)
            ratio = f" ({own / base:.2f} x)" if own and base else ""
            cells.append("-" if own is None else f"{own:.1f}{ratio}")
        last = result.rows[-1]
        lines.append(
            f"{a:16}"
            + "".join(f"{cell:>18}" for cell in cells)
            + f"{last['round']:>8}{last['seconds']:>9.1f}{last['loss']:>8.3f}"
            f"{last['consensus']:>11.3g}{last['drift']:>8.3g}"
        )
    return "\n".join(lines)


def losses_of(some: Mapping[str, Result]) -> list[float]:
    """Return the losses that the first method reached."""
    first = next(iter(some.values()))
    least = min(row["loss"] for row in first.rows)
    return [loss for loss in LOSSES if loss >= least] or [round(least + 0.005, 3)]


def speedup(some: Mapping[str, Result]) -> dict[str, float]:
    """Return the other methods' time over QuanTimed's, at the least common loss."""
    ratios = {}
    for a, result in some.items():
        both = [loss for loss in losses_of(some) if arrival(result, loss)]
        if a != QT and both:
            own, base = arrival(result, min(both)), arrival(some[QT], min(both))
            ratios[a] = own / base if own and base else np.nan
    return ratios


def sizes(found: dict[str, Result]) -> str:
    """Return what a model is, by formula and on the wire."""
    lines = [
        "a model on the wire, bits a coordinate, and the units of time it takes: as it "
        "is, and 3 s / 16 as in the source's model",
        f"{'':38}{'paper':>8}{'wire':>8}{'time':>8}{'model':>8}{'superseded':>12}",
    ]
    for name, result in found.items():
        net = FOUR if name.startswith(FOUR.name) else ONE
        if name.startswith(("lockstep", "free")):
            continue
        s, last = result.summary, result.rows[-1]
        frames = last["uploads"] * s["dim"]
        wire = 8 * last["wire_bytes_up"] / frames
        quantised = s["algorithm"] in (QT, QD)
        by_model = MODEL_TIME * net.digits / 16 if quantised else MODEL_TIME
        missed = sum(rank["superseded"] for rank in s["ranks"][1:])
        share = f"{missed / (missed + s['uploads']):.0%}" if missed else "-"
        lines.append(
            f"{name:38}{last['paper_bits_up'] / frames:>8.2f}{wire:>8.2f}"
            f"{wire / 64 * MODEL_TIME:>8.3f}{by_model:>8.4f}{share:>12}"
        )
    return "\n".join(lines)


def cards(
    found: dict[str, Result], speedups: Mapping[tuple[str, int], Mapping[str, float]]
) -> str:
    lines = []
    for how in ("lockstep", "free"):
        for batch in BATCHES:
            times = round_times(found, how, batch)
            if not {QT, QD} <= set(times):
                continue
            ratio = times[QD] / times[QT]
            card = PUBLISHED[QD, batch] / PUBLISHED[QT, batch]
            what = (
                f"{how}, b = {batch}: a round of {QD} takes {ratio:.2f} x {QT}'s, "
                f"{card:.2f} x as tabulated, within 10 %"
            )
            lines.append(common.card("A11", what, abs(ratio / card - 1) <= 0.1))
    for (name, batch), ratios in speedups.items():
        if name == FOUR.name:
            lines.append(f"{'':6}{'':8}{PLATEAU}")
            continue
        shown = ", ".join(f"{a} {ratio:.2f} x" for a, ratio in ratios.items())
        what = f"{name}, b = {batch}: time to the least common loss: {shown}"
        met = ratios.get(QD, 0.0) >= 2
        lines.append(common.card("A11", f"{what}; {QD} at least 2 x", met))
    return "\n".join(lines)


# -- over MPI -------------------------------------------------------------------------


def report_mpi(folder: Path, only_report: bool) -> None:
    data = first_samples(folder)
    folder = folder.with_name(f"{folder.name}_mpi")
    runs = [over_mpi(data, a, b) for b in BATCHES for a in ONE.options]
    planned = {run.name: run for run in runs}
    found = common.finished(planned, folder, report=only_report)
    text = [
        f"{MPI_WORKERS} workers and the server under mpiexec, a torus, speeds "
        f"{MPI_SPEEDS} samples a second for every worker and round, float32"
    ]
    for batch in BATCHES:
        named = {a: found.get(f"{a}-b{batch}") for a in ONE.options}
        some = {a: result for a, result in named.items() if result}
        if some:
            text += [real_rounds(batch, some), to_losses(ONE, batch, some)]
            ratios = speedup(some)
            shown = ", ".join(f"{a} {ratio:.2f} x" for a, ratio in ratios.items())
            text.append(f"b = {batch}: time to the least common loss: {shown}")
    summaries = {name: kept(result) | ranks(result) for name, result in found.items()}
    common.save("quantimed_mpi", "\n\n".join(text), {"T": MPI_T, "runs": summaries})


def ranks(result: Result) -> dict[str, Sequence[float]]:
    """Return what workers say of their gradients."""
    keys = ("rounds", "samples", "overshoot", "behind")
    workers = result.summary["ranks"][1:]
    return {f"worker_{key}": [worker[key] for worker in workers] for key in keys}


def real_rounds(batch: int, some: Mapping[str, Result]) -> str:
    """Return how long rounds took, and how far deadlines were missed."""
    deadline = batch / MPI_MEAN
    lines = [
        f"b = {batch}, T_d = {1e3 * deadline:.0f} ms, {MICRO} samples between looks at "
        "the clock",
        "ms a round; of them computing or asleep, sending (until the receiver looks) "
        "and waiting; overshoot of the deadline; mean batch; behind: the share "
        "of the run by which gradients took longer than emulated, at most",
        f"{'':16}{'round':>8}{'ratio':>8}{'compute':>9}{'send':>8}{'wait':>8}"
        f"{'overshoot':>18}"
        f"{'batch':>8}{'behind':>9}",
    ]
    base = per_worker_round(some[QT]) if QT in some else np.nan
    for a, result in some.items():
        s, own = result.summary, per_worker_round(result)
        told = ranks(result)
        rounds = float(np.mean(told["worker_rounds"]))
        over = 1e3 * float(np.mean(told["worker_overshoot"])) / rounds
        samples = float(np.mean(told["worker_samples"])) / rounds
        behind = max(told["worker_behind"]) / s["seconds"]["total"]
        shown = f"{over:.1f} ({over / deadline / 10:.0f} % of T_d)"
        phases = [1e3 * s["seconds"][phase] / rounds for phase in PHASES]
        lines.append(
            f"{a:16}{1e3 * own:>8.1f}{own / base:>8.2f}{phases[0]:>9.1f}"
            f"{phases[1]:>8.1f}{phases[2]:>8.1f}{shown if a == QT else '-':>18}"
            f"{samples if a == QT else batch:>8.3g}{behind:>9.2%}"
        )
    return "\n".join(lines)


def per_worker_round(result: Result) -> float:
    return result.rows[-1]["seconds"] / result.rows[-1]["round"]


if __name__ == "__main__":
    main()
