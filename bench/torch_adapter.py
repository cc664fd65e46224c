"""What psmpi.torch.Optimizer costs over the same algorithm on raw arrays.

    python bench/torch_adapter.py [--repeats N]

A model of 10 million parameters in 61 tensors, sized like a ResNet's, in one process
with one worker. A step is all that the caller's loop does besides computing gradients:
on raw arrays ``session.step()``, with PyTorch ``optimizer.step()``. Rounds of both take
turns in one session, so that they work on the same memory. Then the bytes that PyTorch
copies in a whole step, ``backward`` included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import common
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from psmpi.torch import Optimizer

ALGORITHMS = {"sgd": 1, "dist-ef-sgdm": 1, "qsparse-local-sgd": 8}  # steps a round
ROUNDS = 12


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


def measure(algorithm: str, steps: int) -> tuple[list[float], list[float], int]:
    """Return seconds of a step on raw arrays and with PyTorch, and bytes copied.

    A number is the mean over a round.
    """
    model = Layers()
    raw: list[float] = []
    adapted: list[float] = []
    with quiet(), Optimizer(model, algorithm, lr=1e-4) as optimizer:
        s = optimizer.session
        for round_ in range(2 * ROUNDS + 2):
            step, seconds = (s.step, raw) if round_ % 2 else (optimizer.step, adapted)
            total = 0.0
            for _ in range(steps):
                s.gradient[:] = 1e-3
                # As backward does, this raises the version of the flat gradient.
                model.tensors[-1].grad.mul_(1)
                begin = time.perf_counter()
                step()
                total += time.perf_counter() - begin
            seconds.append(total / steps)
        with Copied() as copied:
            optimizer.zero_grad()
            model().backward()
            optimizer.step()
    return raw[1:], adapted[1:], copied.bytes


def shown(values: Sequence[float], form: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} - {high:{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [p.numel() for p in Layers().parameters()]
    lines = [
        f"d = {sum(sizes)}, {len(sizes)} tensors; milliseconds of a step, median "
        f"(min - max) of {given.repeats} sessions of {ROUNDS} rounds of each; ratio: "
        "median (min - max) of the sessions'; bytes that PyTorch copied in a step with "
        "backward",
        f"{'':20}{'raw arrays':>24}{'psmpi.torch.Optimizer':>24}{'ratio':>24}"
        f"{'copied':>8}",
    ]
    data: dict[str, Any] = {"dim": sum(sizes), "tensors": len(sizes)}
    for algorithm, steps in ALGORITHMS.items():
        medians: list[tuple[float, float]] = []
        copied = 0
        for _ in range(given.repeats):
            raw, adapted, copied = measure(algorithm, steps)
            medians.append((statistics.median(raw), statistics.median(adapted)))
        a, b = ([1e3 * pair[i] for pair in medians] for i in (0, 1))
        ratios = [after / before for before, after in medians]
        cells = [shown(a, ".2f"), shown(b, ".2f"), shown(ratios, ".3f")]
        lines.append(
            f"{algorithm:20}" + "".join(f"{c:>24}" for c in cells) + f"{copied:>8}"
        )
        data[algorithm] = {"raw": a, "adapter": b, "ratios": ratios, "copied": copied}
    worst = max(statistics.median(data[id]["ratios"]) for id in ALGORITHMS)
    met = worst < 1.05 and not any(data[id]["copied"] for id in ALGORITHMS)
    what = f"adapter: at most {worst:.3f} of raw arrays (goal: below 1.05), no copy"
    lines += ["", common.card("goal", what, met)]
    common.save("torch_adapter", "\n".join(lines), data)


if __name__ == "__main__":
    main()
