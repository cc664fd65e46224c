"""What a loop of one's own costs: psmpi.session and psmpi.torch.Optimizer.

Three figures, each from steps of the same algorithm on the same gradient, one worker and
the server in this process, so that no wire hides anything:

handover   two switches between the caller's stack and the role's, alone
small      a step of a model of 650 entries: session over psmpi.run's own loop
large      a step of a model of 10 M entries: psmpi.run's own loop on raw arrays, the
           session, and psmpi.torch.Optimizer on a model of eight tensors

In ``large`` the gradient is a constant that each of them writes once (a pass over
memory, which is part of every step here). Steps of the three are timed in turn, and the
ratio is of medians. Copies are seen by the addresses of the arrays: parameters and
gradients of the model are views of the session's vectors.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from common import save, spread

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


def by_torch(bounds: tuple[int, ...], steps: int) -> tuple[float, bool]:
    """Return seconds a step of the optimizer, and whether nothing was copied."""
    sizes = np.diff(bounds).tolist()
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in sizes]
    with psmpi.torch.Optimizer(parameters, ALGORITHM, lr=0.1, check_every=0) as o:
        o.session.step(np.zeros(bounds[-1], np.float32))
        begin = time.perf_counter()
        for _ in range(steps):
            for p in parameters:
                p.grad.fill_(float(SLOPE))
            o.step()
        seconds = (time.perf_counter() - begin) / steps
        places = zip(parameters, bounds, strict=False)
        views = all(
            p.data_ptr() == o.session.x[low:].ctypes.data
            and p.grad.data_ptr() == o.session.gradient[low:].ctypes.data
            for p, low in places
        )
    return seconds, views


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dim", type=int, default=10_000_000)
    repeats = parser.parse_args().repeats
    dim = parser.parse_args().dim
    torch.set_num_threads(1)
    switches = handover(repeats)
    small = (0, 650)
    large = tuple(dim * i // 8 for i in range(9))
    timed: dict[str, list[float]] = {
        "small: psmpi.run": [],
        "small: session": [],
        "large: psmpi.run": [],
        "large: session": [],
        "large: torch": [],
    }
    copied_nothing = True
    for _ in range(repeats):
        timed["small: psmpi.run"].append(own_loop(650, small, 500))
        timed["small: session"].append(by_session(650, small, 500))
        timed["large: psmpi.run"].append(own_loop(dim, large, 10))
        timed["large: session"].append(by_session(dim, large, 10))
        seconds, views = by_torch(large, 10)
        timed["large: torch"].append(seconds)
        copied_nothing &= views
    lines = [f"handover: {spread(switches, '{:.2f}')} us a step", ""]
    for name, values in timed.items():
        unit = 1e6 if name.startswith("small") else 1e3
        what = "us" if unit == 1e6 else "ms"
        text = spread([unit * value for value in values], "{:.1f}")
        base = timed[name.partition(":")[0] + ": psmpi.run"]
        ratio = statistics.median(values) / statistics.median(base)
        more = 1e6 * (statistics.median(values) - statistics.median(base))
        lines.append(
            f"{name:18} {text:28} {what} a step   {ratio:6.3f} of psmpi.run's loop "
            f"({more:+.0f} us)"
        )
    lines += ["", f"parameters and gradients are views: {copied_nothing}"]
    lines += [f"d = {dim} in 8 tensors, {ALGORITHM}, {repeats} repeats, in turn"]
    save("session", "\n".join(lines), {"handover_us": switches, "seconds": timed})


if __name__ == "__main__":
    main()
