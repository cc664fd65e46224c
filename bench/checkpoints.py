"""What a checkpoint costs: a long vector, two workers, over MPI.

Runs ``dist-ef-sgdm`` on a problem whose gradient is cheap, so that nothing hides the
cost, in turn without checkpoints and with some, and compares the time of the rounds.
The seconds of a checkpoint are what the run takes longer, divided by their number; the
share of the run's time is for one a minute.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import save

import psmpi
from psmpi.base import Indices, Problem, Vector


class Wave(Problem):
    """(1/2) ||x - c||^2 of a long vector; its gradient is one pass."""

    l1 = l2 = 0.0
    samples = 100  # which the gradient does not depend on

    def __init__(self, dim: str = "1000000") -> None:
        self.dim = int(dim)
        self.bounds = (0, self.dim)
        self.center = np.sin(np.arange(self.dim, dtype=np.float32))

    def start(self, seed: int) -> Vector:
        return np.zeros(self.dim, np.float32)

    def loss(self, x: Vector) -> float:
        return float(np.dot(x[:1000], x[:1000]))

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        np.subtract(x, self.center, out=out)
        return 0.0

    def shard(self, worker: int, workers: int) -> Problem:
        return self

    def digest(self) -> str:
        return f"wave {self.dim}"


def run(dim: int, rounds: int, every: int, folder: Path) -> dict[str, Any]:
    """Return the seconds of a run, and the bytes of one of its checkpoints."""
    out = folder / f"every-{every}"
    result = psmpi.run(
        "dist-ef-sgdm",
        problem=f"{Path(__file__).resolve()}:Wave",
        problem_option={"dim": dim},
        workers=2,
        lr=0.1,
        rounds=rounds,
        evaluate_every=rounds,
        check_every=0,
        checkpoint_every=every,
        out=out,
    )
    nbytes = 0
    if every:
        newest = sorted((out / "checkpoints").iterdir())[-1]
        nbytes = sum(file.stat().st_size for file in newest.iterdir())
    return {"seconds": result.summary["seconds"]["total"], "bytes": nbytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=25_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--tries", type=int, default=3)
    given = parser.parse_args()
    pairs = []
    for _ in range(given.tries):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            without, with_them = (
                run(given.dim, given.rounds, every, Path(folder))
                for every in (0, given.every)
            )
        pairs.append((without, with_them))
        print(pairs[-1], flush=True)
    number = (given.rounds - 1) // given.every
    costs = [(b["seconds"] - a["seconds"]) / number for a, b in pairs]
    rounds = [a["seconds"] / given.rounds for a, _ in pairs]
    cost = statistics.median(costs)
    text = (
        f"dist-ef-sgdm, d = {given.dim}, 2 workers and a server, {given.rounds} rounds,"
        f" {number} checkpoints of {pairs[0][1]['bytes'] / 1e9:.2f} GB\n"
        f"a round without checkpoints: {statistics.median(rounds):.3f} s\n"
        f"a checkpoint makes the run longer by: {cost:.2f} s (median; "
        f"{min(costs):.2f}-{max(costs):.2f})\n"
        f"share of the run's time, with one a minute: {cost / 60:.1%}\n"
    )
    save("checkpoints", text, pairs)


if __name__ == "__main__":
    main()
