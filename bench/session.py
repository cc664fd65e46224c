"""What a loop of one's own costs: ``psmpi.session`` over ``psmpi.run``'s own loop.

Steps of the same algorithm on the same gradient, one worker and the server in this
process, so that no wire hides anything. *handover* is a pair of switches between the
caller's stack and the role's, alone. *step* is a whole step of a model of 650 entries,
in turn by a session and by ``psmpi.run``; ``bench/torch_adapter.py`` has large models.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
from common import card, save, spread

import psmpi
from psmpi.base import Problem
from psmpi.sessions.handover import CallersLoop, Handover

ALGORITHM = "dist-ef-sgdm"
SLOPE = np.float32(0.001)


class Slope(Problem):
    """f(x) = sum_i c x_i: a gradient that costs one pass over memory."""

    samples = 1

    def __init__(self, dim: int, bounds: tuple[int, ...]) -> None:
        self.dim, self.bounds = dim, bounds

    def start(self, seed: int) -> Any:
        return np.zeros(self.dim, np.float32)

    def loss(self, x: Any) -> float:
        return 0.0

    def grad(self, x: Any, out: Any, batch: Any = None) -> float:
        out[:] = SLOPE
        return 0.0

    def shard(self, worker: int, workers: int) -> Problem:
        return self

    def digest(self) -> str:
        return "slope"


def handover(repeats: int) -> list[float]:
    """Return microseconds of a pair of switches."""
    loop = CallersLoop(np.zeros(1, np.float32), (0, 1), ("x",), 0, "")
    hand = Handover(loop, 0)

    def role() -> None:
        x, out = hand.start(0), np.zeros(1, np.float32)
        while True:
            hand.grad(x, out)

    hand.begin(role)
    every = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(10_000):
            hand.answer(0.0)
        every.append((time.perf_counter() - begin) / 10_000 * 1e6)
    return every


def own_loop(dim: int, bounds: tuple[int, ...], steps: int) -> float:
    """Return seconds a step of psmpi.run's own loop."""
    result = psmpi.run(
        ALGORITHM,
        problem=Slope(dim, bounds),
        local=True,
        workers=1,
        rounds=steps,
        batch=1,
        evaluate_every=steps,
        check_every=0,
        optimum=False,
    )
    return float(result.rows[-1]["seconds"]) / steps


def by_session(dim: int, bounds: tuple[int, ...], steps: int) -> float:
    """Return seconds a step of a session."""
    with psmpi.session(
        ALGORITHM, np.zeros(dim, np.float32), bounds=bounds, check_every=0
    ) as s:
        s.step(np.zeros(dim, np.float32))
        begin = time.perf_counter()
        for _ in range(steps):
            s.gradient[:] = SLOPE
            s.step()
        return (time.perf_counter() - begin) / steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    switches = handover(repeats)
    timed: dict[str, list[float]] = {"psmpi.run": [], "session": []}
    for _ in range(repeats):
        timed["psmpi.run"].append(1e6 * own_loop(650, (0, 650), 1000))
        timed["session"].append(1e6 * by_session(650, (0, 650), 1000))
    own, session = (statistics.median(timed[name]) for name in timed)
    lines = [
        f"us of {repeats} repeats, mean (min-max); d = 650, {ALGORITHM}, in turn",
        "",
        f"handover      {spread(switches, '{:.2f}')}",
        *(f"{name:14}{spread(v, '{:.0f}')} a step" for name, v in timed.items()),
        f"medians: a session's step takes {session - own:+.0f} us",
        "",
        card("goal", "at most 50 us a step for the session", session - own <= 50),
    ]
    save("session", "\n".join(lines), {"handover": switches, **timed})


if __name__ == "__main__":
    main()
