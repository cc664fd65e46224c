"""Updates a second with and without one worker that is ten times slower.

    python bench/stragglers.py [--only sim|mpi] [--runs DIR] [--report]

Softmax regression on the digits (p = 650), 8 workers, 20 samples a gradient, speeds V ~
U(10, 90) samples a unit of time, drawn for every worker and round, for the same time
each. sim: on a simulated clock, in process, over a network that takes no time. mpi: the
same with speeds ten times as high under mpiexec, where workers sleep to be as slow as
they should be; it wants a machine that does nothing else. An update is a gradient that
a model took in, whichever worker's. Results go into stragglers and stragglers_mpi.
Finished runs are kept in DIR and DIR_mpi, and not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
import numpy as np

from psmpi.runs import config
from psmpi.runs.summary import Result

WORKERS, BATCH, SLOW = 8, 20, "3:10x"
BEST = (WORKERS - 1 + 0.1) / WORKERS  # of the rate, where nobody waits for anybody
SYNC, DEADLINE, ASYNC = "synchronous", "deadline", "asynchronous"
ONE_EPOCH = 1_000_000  # rounds: one snapshot at the start, no other
ASYLPG = {"epoch": ONE_EPOCH, "lr": 0.05}


@dataclass(frozen=True)
class Half:
    """A clock: how fast workers are, how long the runs are, in seconds or units."""

    speeds: str
    seconds: float
    mean: float  # E[V]


SIM, MPI = Half("uniform:10,90", 400.0, 50), Half("uniform:100,900", 20.0, 500)


@dataclass(frozen=True)
class Method:
    """A row. ``shared``: a round is one update of every worker, else of one."""

    name: str
    algorithm: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    shared: bool = True
    look: int = 10  # rounds between rows
    real: bool = True  # whether it also runs over MPI

    def run(self, half: Half, slow: bool) -> config.RunConfig:
        options = {"batch": BATCH, **self.options}
        if "deadline" in options:
            options["deadline"] = options["batch"] / half.mean
        return config.configure(
            self.algorithm,
            name=f"{self.name}{'-slow' if slow else ''}".replace(" ", "_"),
            **options,
            data="digits",
            partition="shuffled",
            workers=WORKERS,
            speeds=half.speeds,
            slow=SLOW if slow else "",
            rounds=ONE_EPOCH,
            until=[f"seconds={half.seconds:g}"],
            evaluate_every=self.look,
            optimum=False,
        )


def asylpg(tau: int, name: str = "asylpg", **options: Any) -> Method:
    algorithm = name.partition(" ")[0]
    given = {**ASYLPG, "staleness": tau, **options}
    real = tau in (16, 200) and "m=" not in name
    return Method(f"{name} tau={tau}", algorithm, ASYNC, given, False, 100, real)


def quantimed(name: str, **options: Any) -> Method:
    return Method(name, "quantimed-dsgd", DEADLINE, {**TIMED, **options})


TORUS = {"topology": "torus", "lr": 0.2}
MIXED = {**TORUS, "rule": "constant", "mixing": 0.8}
TIMED = {**MIXED, "micro_batch": 2}
METHODS = [
    Method("sgd", "sgd", SYNC, {"lr": 0.2, "reduce": "mean"}),
    Method("slaq", "slaq", SYNC, {"lr": 0.2, "reduce": "mean"}, real=False),
    Method("dsgd", "dsgd", SYNC, TORUS),
    Method("q-dsgd", "q-dsgd", SYNC, MIXED),
    quantimed("quantimed-dsgd"),
    quantimed("quantimed-dsgd T_d fixed", deadline=True),
    quantimed("quantimed-dsgd 1 at once", micro_batch=1),
    quantimed("quantimed-dsgd b=50", batch=50, micro_batch=1),
    Method("async-dsgd", "async-dsgd", ASYNC, TORUS),
    *(asylpg(tau) for tau in (8, 16, 32, 64, 96, 200)),
    asylpg(200, "asysvrg"),
    asylpg(200, "asylpg m=360", epoch=360),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("sim", "mpi"), help="one half")
    parser.add_argument("--runs", type=Path, default=Path("runs/stragglers"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    if given.only != "mpi":
        done(SIM, "stragglers", given.runs, given.report)
    if given.only != "sim":
        folder = given.runs.with_name(f"{given.runs.name}_mpi")
        done(MPI, "stragglers_mpi", folder, given.report)


def done(half: Half, name: str, folder: Path, report: bool) -> None:
    """Do the runs of one half, and save their table."""
    runs = {
        (m.name, slow): m.run(half, slow)
        for m in METHODS
        for slow in (False, True)
        if m.real or half is SIM
    }
    planned = {run.name: run for run in runs.values()}
    local = half is SIM
    results = common.finished(planned, folder, report=report, local=local)
    found = {key: results[run.name] for key, run in runs.items() if run.name in results}
    text = [table(half, found), cards(found)]
    data = {
        run.name: kept(results[run.name])
        for run in runs.values()
        if run.name in results
    }
    common.save(name, "\n\n".join(text), data)


def kept(result: Result) -> dict[str, Any]:
    """Return a run's summary and rows, without hosts."""
    keys = ("rounds", "samples", "overshoot", "behind")
    summary = {k: v for k, v in result.summary.items() if k not in ("ranks", "reached")}
    workers = result.summary["ranks"][1:]
    told = {f"worker_{key}": [worker[key] for worker in workers] for key in keys}
    rows = [[row[key] for key in ("round", "seconds", "loss")] for row in result.rows]
    return summary | told | {"rows": rows}


def rate(result: Result, shared: bool) -> float:
    """Return updates a second, the first snapshot of those that take one left out."""
    first, last = result.rows[0], result.rows[-1]
    rounds = last["round"] - first["round"]
    share = WORKERS if shared else 1
    return rounds * share / (last["seconds"] - first["seconds"])


def loss_at(result: Result, seconds: float) -> float:
    """Return the loss after a time, linear between rows."""
    times = [row["seconds"] for row in result.rows]
    return float(np.interp(seconds, times, [row["loss"] for row in result.rows]))


def table(half: Half, found: dict[tuple[str, bool], Result]) -> str:
    """Return rates and losses of all methods."""
    where = "simulated clock" if half is SIM else "mpiexec, real clock, emulated speeds"
    at = (half.seconds / 4, half.seconds)
    lines = [
        f"{where}: {WORKERS} workers, {half.speeds} samples a second, one 10 x slower "
        f"({SLOW}) or none; {half.seconds:g} seconds",
        f"updates a second; what is kept of them, {BEST:.0%} where nobody waits; the "
        "slow worker's share of updates; training loss after so many seconds. asylpg: "
        "a snapshot at the start, of which rates don't count the time, and others only "
        "where m is said",
        f"quantimed-dsgd: {TIMED['micro_batch']} samples between looks at the real "
        "clock, which the slow worker may be past the deadline with, or 1; T_d = b / "
        "E[V], E[V] with the slow worker in it, or not (fixed)",
        "behind: the share of the run by which gradients took longer than emulated; "
        "over: seconds past the deadline, of the slow worker, a round",
        f"{'':26}{'':14}{'none slow':>10}{'one slow':>10}{'kept':>7}{'its share':>10}"
        + "".join(f"{f'loss, {s:g} s':>17}{'one slow':>9}" for s in at)
        + f"{'behind':>9}{'over':>9}",
    ]
    for m in METHODS:
        both = [found.get((m.name, slow)) for slow in (False, True)]
        if None in both:
            continue
        fast, slow = both
        rates = [rate(result, m.shared) for result in (fast, slow)]
        late = max(
            worker["behind"] / result.rows[-1]["seconds"]
            for result in (fast, slow)
            for worker in result.summary["ranks"][1:]
        )
        lines.append(
            f"{m.name:26}{m.kind:14}{rates[0]:>10.3g}{rates[1]:>10.3g}"
            f"{rates[1] / rates[0]:>7.0%}{its_share(m, slow):>10.1%}"
            + "".join(f"{loss_at(fast, s):>17.4f}{loss_at(slow, s):>9.4f}" for s in at)
            + f"{late:>9.2%}{overshoot(slow):>9.3g}"
        )
    return "\n".join(lines)


def overshoot(result: Result) -> float:
    """Return the slow worker's seconds past the deadline, a round."""
    number = int(SLOW.partition(":")[0])
    worker = result.summary["ranks"][1 + number]
    return float(worker["overshoot"] / max(worker["rounds"], 1))


def its_share(m: Method, result: Result) -> float:
    """Return the slow worker's share of all updates."""
    number = int(SLOW.partition(":")[0])
    counts = result.summary.get("arrivals")
    if counts is None:
        counts = [worker["rounds"] for worker in result.summary["ranks"][1:]]
    return float(counts[number] / sum(counts))


def cards(found: dict[tuple[str, bool], Result]) -> str:
    lines = []
    for m in METHODS:
        both = [found.get((m.name, slow)) for slow in (False, True)]
        if None in both:
            continue
        fast, slow = (rate(result, m.shared) for result in both)
        if m.kind == SYNC:
            lines.append(f"      {'':8}{m.name}, {m.kind}: keeps {slow / fast:.0%}")
        else:
            what = f"{m.name}, {m.kind}: keeps {slow / fast:.0%}, at least 80 %"
            lines.append(common.card("goal", what, slow / fast >= 0.8))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
