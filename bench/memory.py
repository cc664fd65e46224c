"""How much memory ranks take, against what a dry run says, and whether it grows.

For every algorithm and size of model, ``psmpi.estimate`` and then a short run over MPI
of a problem without data, so that all memory is the algorithm's, the link's and MPI's:
``max_rss`` of the server, and of the worker that takes most. Then long runs, whose
ranks' resident memory is sampled from outside: its slope over the second half of the
rounds, in bytes a round, and how much it has grown there at all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import save

import psmpi
from psmpi.processes import mpiexec
from psmpi.processes.supervisor import descendants
from psmpi.runs.recorded import read_run
from psmpi.runs.schema import Json

HERE = Path(__file__)
PROBLEM = f"{HERE}:Plain"
SIZES = (10**5, 10**7)
ALGORITHMS: dict[str, dict[str, Any]] = {
    "gd": {},
    "laq": {},
    "topk-sgd": {"k": 0.01},
    "dist-ef-sgd": {},
    "asylpg": {},
    "sparse-asylpg": {},
    "q-dsgd": {},
    "async-dsgd": {},
    "local-updates": {},
    "dynamic-averaging": {},
}
LONG = {"laq": 20_000, "topk-sgd": 20_000, "dist-ef-sgd": 20_000}
LONG |= {"asylpg": 20_000, "async-dsgd": 20_000, "q-dsgd": 10_000}
COMMON = {"workers": 2, "lr": 0.001, "optimum": False}


class Plain(psmpi.base.Problem):
    """f(x) = ||x||^2 / 2, computed without any temporary."""

    def __init__(self, dim: int = 1000) -> None:
        self.dim, self.bounds, self.samples = dim, (0, dim), 64

    def start(self, seed: int) -> psmpi.base.Vector:
        return np.ones(self.dim, np.float32)

    def loss(self, x: psmpi.base.Vector) -> float:
        return 0.5 * float(np.dot(x, x))

    def grad(
        self,
        x: psmpi.base.Vector,
        out: psmpi.base.Vector,
        batch: psmpi.base.Indices | None = None,
    ) -> float:
        out[:] = x
        return self.loss(x)

    def shard(self, worker: int, workers: int) -> Plain:
        return Plain(self.dim)

    def digest(self) -> str:
        return f"plain {self.dim}"


def measured(algorithm: str, options: dict[str, Any]) -> list[int]:
    """Return ``max_rss`` of every rank of a run."""
    result = psmpi.run(algorithm, **options)
    return [int(rank["max_rss"]) for rank in result.summary["ranks"]]


def compared(algorithm: str, dim: int) -> Json:
    """Return the estimate and the measurement for both roles, in bytes."""
    options = {
        **COMMON,
        **ALGORITHMS[algorithm],
        **{"rounds": 6, "evaluate_every": 2, "check_every": 3},
        **{"problem": PROBLEM, "problem_option": f"dim={dim}"},
    }
    measured(algorithm, {**options, "rounds": 1})  # compiles what is not yet
    ranks = measured(algorithm, options)
    found = psmpi.estimate(algorithm, **options)
    return {
        "algorithm": algorithm,
        "dim": dim,
        "server": {"estimate": found.server.total, "measured": ranks[0]},
        "worker": {"estimate": found.worker.total, "measured": max(ranks[1:])},
    }


def resident(pid: int) -> int:
    """Return the resident bytes of a process; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def flatness(algorithm: str, rounds: int) -> Json:
    """Return the growth of every rank's memory over the rounds of a long run."""
    words = [f"--{k}={v}" for k, v in ALGORITHMS[algorithm].items()]
    words += [f"--problem={PROBLEM}", "--problem-option=dim=10000", "--lr=0.001"]
    words += [f"--rounds={rounds}", "--workers=2", "--no-optimum"]
    samples: list[tuple[int, list[int]]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        line = [sys.executable, "-m", "psmpi", "run", algorithm, *words]
        with subprocess.Popen(
            [*line, f"--out={out}", f"--evaluate-every={max(rounds // 400, 1)}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as run:
            while run.poll() is None:
                time.sleep(0.1)
                done = last_round(out / "rows.jsonl")
                sizes = [
                    size for pid in ranks_below(run.pid) if (size := resident(pid))
                ]
                if done and len(sizes) == 3 and all(sizes):
                    samples.append((done, sizes))
        if run.returncode:
            raise RuntimeError(f"{algorithm} ended with status {run.returncode}")
        seconds = read_run(out).rows[-1]["seconds"]
    half = [(done, sizes) for done, sizes in samples if done > rounds / 2]
    at = np.array([done for done, _ in half])
    slopes = [
        float(np.polyfit(at, [sizes[rank] for _, sizes in half], 1)[0])
        for rank in range(3)
    ]
    growth = [half[-1][1][rank] - half[0][1][rank] for rank in range(3)]
    return {
        **{"algorithm": algorithm, "rounds": rounds, "seconds": seconds},
        **{"samples": len(half), "bytes a round": slopes, "growth": growth},
    }


def ranks_below(pid: int) -> list[int]:
    """Return the processes of ranks below ``psmpi run``."""
    found = []
    for below in descendants(pid):
        try:
            line = Path(f"/proc/{below}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if line[1:3] == [b"-m", b"psmpi.runs.rank"]:
            found.append(below)
    return sorted(found)


def last_round(rows: Path) -> int:
    """Return the round of the last row, by its beginning; 0 if there is none."""
    try:
        lines = rows.read_bytes().splitlines()
    except OSError:
        return 0
    # The last line may still be written.
    whole = [line for line in lines if line.endswith(b"}")]
    return int(json.loads(whole[-1])["round"]) if whole else 0


def text(found: list[Json], long: list[Json]) -> str:
    """Return both tables."""
    lines = [
        "memory of a rank in MB: estimated, measured, and the first over the other"
    ]
    lines.append(f"{'':20}{'entries':>10}{'server':>26}{'largest worker':>26}")
    worst = [float("inf"), 0.0]
    for entry in found:
        cells = ""
        for role in ("server", "worker"):
            a, b = entry[role]["estimate"], entry[role]["measured"]
            worst = [min(worst[0], a / b), max(worst[1], a / b)]
            cells += f"{a / 1e6:>11.1f}{b / 1e6:>8.1f}{a / b:>7.2f}"
        lines.append(f"{entry['algorithm']:20}{entry['dim']:>10}{cells}")
    lines.append(f"worst ratios: {worst[0]:.2f} and {worst[1]:.2f}")
    lines += ["", "growth in the second half of a long run of 10^4 entries, by rank"]
    title = f"{'':20}{'rounds':>10}{'seconds':>9}{'samples':>9}"
    lines.append(f"{title}{'bytes a round':>28}{'kB grown in all':>28}")
    for entry in long:
        slopes = " ".join(f"{slope:.2f}" for slope in entry["bytes a round"])
        growth = " ".join(f"{size / 1e3:.0f}" for size in entry["growth"])
        head = f"{entry['algorithm']:20}{entry['rounds']:>10}{entry['seconds']:>9.0f}"
        lines.append(f"{head}{entry['samples']:>9}{slopes:>28}{growth:>28}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-long", action="store_true", help="only the estimates")
    parser.add_argument("--only", nargs="*", default=list(ALGORITHMS))
    options = parser.parse_args()
    library = mpiexec.vendor(mpiexec.find_mpiexec())
    found = [compared(name, dim) for name in options.only for dim in SIZES]
    long = [] if options.no_long else [flatness(*one) for one in LONG.items()]
    save(
        f"memory_{library}",
        f"MPI: {library}\n\n{text(found, long)}",
        {"mpi": library, "memory": found, "long": long},
    )


if __name__ == "__main__":
    main()
