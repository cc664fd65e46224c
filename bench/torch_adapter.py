"""What psmpi.torch.Optimizer costs over the same algorithm on raw arrays.

    python bench/torch_adapter.py [--repeats N]

A model of 10 million parameters in 61 tensors, sized like a ResNet's, in one process
with one worker. A step is all that the caller's loop does
besides computing gradients: on raw arrays ``session.step()``, with PyTorch
``optimizer.step()``; the gradients lie where ``backward`` left them. Sessions of both
take turns. Then the bytes that PyTorch copies in a whole step, ``backward`` included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

import common
import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import psmpi
from psmpi.torch import Optimizer

ALGORITHMS = ("sgd", "dist-ef-sgdm", "qsparse-local-sgd")
STEPS = 12


class Layers(nn.Module):
    """Parameters in 61 tensors; the loss is the sum of their squares."""

    def __init__(self) -> None:
        super().__init__()
        wide = [64 * 64 * 9] * 4 + [128 * 128 * 9] * 4 + [256 * 256 * 9] * 4
        wide += [512 * 512 * 9] * 2 + [512 * 256 * 9] * 2 + [512 * 128]
        narrow = [64, 128, 256, 512] * 11
        self.tensors = nn.ParameterList(
            nn.Parameter(torch.full((size,), 0.01)) for size in [*wide, *narrow]
        )

    def forward(self) -> torch.Tensor:
        return torch.stack([(p * p).sum() for p in self.tensors]).sum()


class Copied(TorchDispatchMode):
    """Counts the bytes that PyTorch copies while it is active."""

    bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if any(word in func.overloadpacket.__name__ for word in ("copy", "clone")):
            self.bytes += args[0].numel() * args[0].element_size()
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the line that says that there is one worker off the terminal."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stderr(sink):
        yield


def raw(algorithm: str, x: np.ndarray, bounds: tuple[int, ...]) -> list[float]:
    """Return the seconds of each step on raw arrays."""
    with quiet(), psmpi.session(algorithm, x, bounds=bounds, lr=1e-4) as s:
        return [timed(s.gradient, s.step) for _ in range(STEPS)][2:]


def adapter(algorithm: str) -> tuple[list[float], int]:
    """Return the seconds of each step with PyTorch, and bytes copied in one."""
    model = Layers()
    with quiet(), Optimizer(model, algorithm, lr=1e-4) as optimizer:

        def step() -> None:
            # As backward does, this raises the version of the flat gradient.
            model.tensors[-1].grad.mul_(1)
            begin = time.perf_counter()
            optimizer.step()
            seconds.append(time.perf_counter() - begin)

        seconds: list[float] = []
        for _ in range(STEPS):
            optimizer.session.gradient[:] = 1e-3
            step()
        with Copied() as copied:
            optimizer.zero_grad()
            model().backward()
            optimizer.step()
    return seconds[2:], copied.bytes


def timed(gradient: np.ndarray, step: Any) -> float:
    gradient[:] = 1e-3
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [p.numel() for p in Layers().parameters()]
    bounds = (0, *np.cumsum(sizes).tolist())
    lines = [
        f"d = {bounds[-1]}, {len(sizes)} tensors; milliseconds of a step, median "
        f"(min - max) of {given.repeats} sessions of {STEPS - 2} steps in turn; bytes "
        "that PyTorch copied in a step with backward",
        f"{'':20}{'raw arrays':>26}{'psmpi.torch.Optimizer':>28}{'ratio':>8}"
        f"{'copied':>8}",
    ]
    data: dict[str, Any] = {"dim": bounds[-1], "tensors": len(sizes)}
    for algorithm in ALGORITHMS:
        a: list[float] = []
        b: list[float] = []
        copied = 0
        for _ in range(given.repeats):
            x = np.full(bounds[-1], 0.01, np.float32)
            a.append(1e3 * statistics.median(raw(algorithm, x, bounds)))
            seconds, copied = adapter(algorithm)
            b.append(1e3 * statistics.median(seconds))
        cells = [
            f"{statistics.median(v):.1f} ({min(v):.1f} - {max(v):.1f})" for v in (a, b)
        ]
        ratio = statistics.median(b) / statistics.median(a)
        lines.append(
            f"{algorithm:20}{cells[0]:>26}{cells[1]:>28}{ratio:>8.3f}{copied:>8}"
        )
        data[algorithm] = {"raw": a, "adapter": b, "copied": copied}
    worst = max(
        statistics.median(data[id]["adapter"]) / statistics.median(data[id]["raw"])
        for id in ALGORITHMS
    )
    met = worst < 1.05 and not any(data[id]["copied"] for id in ALGORITHMS)
    what = f"adapter: at most {worst:.3f} of raw arrays (goal: below 1.05), no copy"
    lines += ["", common.card("goal", what, met)]
    common.save("torch_adapter", "\n".join(lines), data)


if __name__ == "__main__":
    main()
