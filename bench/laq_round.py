"""What a round of LAQ costs beside its gradients: MNIST, 10 workers over mpiexec.

    python bench/laq_round.py [--rounds T] [--repeats N]

Alternates, N times, between one process with all cores that computes the same ten
gradients, and LAQ over mpiexec for T rounds; prints the ratio of the time per round,
pair by pair, and the share of the workers' time that is gradient.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import common
import numpy as np
import threadpoolctl

from psmpi.problems import make_problem
from psmpi.runs import config, mpi

WORKERS = 10
OPTIONS = {"data": "mnist", "workers": WORKERS, "lr": 0.02, "l2": 0.01, "bits": 4}


def time_gradients(seconds: float) -> float:
    """Return the seconds in which one process computes all ten gradients, median."""
    whole = make_problem("mnist", l2=0.01)
    shards = [whole.shard(m, WORKERS) for m in range(WORKERS)]
    x, out = whole.start(0), np.empty(whole.dim, np.float32)
    times: list[float] = []
    with threadpoolctl.threadpool_limits(os.cpu_count()):
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(times) < 5:
            start = time.perf_counter()
            for shard in shards:
                shard.grad(x, out)
            times.append(time.perf_counter() - start)
    return float(np.median(times))


def time_round(rounds: int) -> tuple[float, float, float]:
    """Return the seconds of one round, and the gradients' share of workers' time.

    That share is of time on the clock, then of the workers' CPU time.
    """
    with tempfile.TemporaryDirectory() as folder:
        how = OPTIONS | {"rounds": rounds, "evaluate_every": rounds, "optimum": False}
        made = config.configure("laq", **how)
        result = mpi.run_mpi([made], [Path(folder) / "run"])[0]
    first, last = result.rows[0], result.rows[-1]
    evaluation = result.summary["seconds"]["evaluate"] / len(result.rows)
    spent = last["seconds"] - first["seconds"] - evaluation
    workers = result.summary["ranks"][1:]
    total = result.summary["seconds"]["total"] - evaluation
    share = np.mean([rank["seconds"]["compute"] for rank in workers]) / total
    cpu = [rank["cpu_seconds"] for rank in workers]
    cpu_share = sum(c["compute"] for c in cpu) / sum(sum(c.values()) for c in cpu)
    return spent / (last["round"] - first["round"]), float(share), float(cpu_share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    rows = []
    for _ in range(given.repeats):
        gradients = time_gradients(10.0)
        round_, share, cpu = time_round(given.rounds)
        rows.append(
            {"gradients": gradients, "round": round_, "share": share, "cpu": cpu}
        )
    lines = [
        f"{'ten gradients':>14}{'LAQ round':>12}{'ratio':>8}{'gradient share':>16}"
        f"{'of CPU':>8}",
        *(
            f"{r['gradients'] * 1e3:>11.1f} ms{r['round'] * 1e3:>9.1f} ms"
            f"{r['round'] / r['gradients']:>8.2f}{r['share']:>16.0%}{r['cpu']:>8.0%}"
            for r in rows
        ),
        "",
        "ten gradients: one process, BLAS with all cores. Gradient share: of the "
        "workers' time on the clock, in which 10 of them take turns on the cores; of "
        "CPU: of the CPU time they spend in gradients, codecs and messages.",
    ]
    common.save("laq_round", "\n".join(lines), rows)


if __name__ == "__main__":
    main()
