"""A residual net on real CIFAR-10: accuracy and loss against bits both ways.

    python bench/seeds/resnet_cifar10.py [--seeds 0 1 2] [--steps S] [--long S]
                                         [--runs DIR] [--report]

What two cores can train in an hour: a ResNet-8 (He et al. 2016 with one block a stage,
16-32-64 channels, 77 850 parameters) on images averaged to 16 x 16, with group
normalisation (4 groups), which has no running statistics. Training images in canonical
order, contiguous shards, the first 1000 test images, no augmentation. 8 workers in
process with 16 images each a step, so all methods see the same batches.

Each method's step size is the one with the best accuracy on the last 2000 training
images after 300 steps on the others, from a 1-2-5 grid of three that grows where the
best is at its end. Test images have no part in that. SGDM and dist-EF-SGDM, the
headline pair, then run for more steps, too, with the same step sizes. Finished runs are
kept in DIR and not repeated, so that the script can be stopped and gone on with at any
time.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

import psmpi.torch
from psmpi.algorithms import ALGORITHMS
from psmpi.data import load
from psmpi.runs import config
from psmpi.runs.summary import Result

WORKERS, BATCH, TUNING_STEPS, LOOK = 8, 16, 300, 40
HELD_OUT, TESTED = 2000, 1000
TUNING_SEED, LOSS = 1000, 1.5
GRID, ADAM_GRID = (0.02, 0.05, 0.1), (0.002, 0.005, 0.01)
PER_TENSOR = "+".join(5 * ["stochastic"])  # in turn over 25 tensors: a norm for each
LAYERS = {"k": 1000, "blocks": "layers"}  # k = min(d_t, 1000) of each tensor


@dataclass(frozen=True)
class Method:
    """A row: an algorithm and its options; ``headline`` rows run for all seeds."""

    name: str
    algorithm: str
    options: dict[str, Any] = field(default_factory=dict)
    local_steps: int = 1
    grid: tuple[float, ...] = GRID
    headline: bool = False

    def rounds(self, steps: int) -> int:
        """Return the rounds in which every worker computes ``steps`` gradients.

        AsyLPG takes two gradients of one worker a round; those of its snapshots come on
        top.
        """
        if self.algorithm == "asylpg":
            return steps * WORKERS // 2
        return steps // self.local_steps

    def run(self, lr: float, seed: int, steps: int) -> config.RunConfig:
        """Return its run of ``steps`` local steps."""
        rounds, tuning = self.rounds(steps), seed == TUNING_SEED
        length = rounds * self.local_steps
        drops = f"{length * 3 // 5},{length * 17 // 20}"
        options = dict(self.options)
        if self.local_steps > 1:
            options["local_steps"] = self.local_steps
        return config.configure(
            self.algorithm,
            name=f"{self.name.replace(' ', '_')}-lr{lr:g}-seed{seed}-{steps}",
            workers=WORKERS,
            batch=BATCH,
            lr=lr,
            lr_schedule=f"warmup:{length // 20}+drop:0.1@{drops}",
            rounds=rounds,
            evaluate_every=rounds if tuning else max(rounds * LOOK // steps, 1),
            seed=seed,
            optimum=False,
            **options,
        )


M = {"momentum": 0.9}
METHODS = [
    Method("SGDM", "sgd", {**M, "reduce": "mean"}, headline=True),
    Method("dist-EF-SGDM block", "dist-ef-sgdm", M, headline=True),
    Method("dist-EF-SGDM non-block", "dist-ef-sgdm", {**M, "blocks": "none"}),
    Method("SignTopK 8 local", "qsparse-local-sgd", {**M, **LAYERS}, 8),
    Method("local SGD H=4", "local-sgd", M, 4),
    Method("EF-signSGD", "ef-signsgd", M),
    Method("TopK", "topk-sgd", {**M, **LAYERS}),
    Method("SignTopK 4 local", "qsparse-local-sgd", {**M, **LAYERS}, 4),
    Method(
        "QSGD two-way",
        "qsgd",
        {
            **M,
            "reduce": "mean",
            "codec": PER_TENSOR,
            "downlink": "update",
            "down_codec": PER_TENSOR,
        },
    ),
    Method("DiLoCo H=20", "diloco", {}, 20, ADAM_GRID),
    Method("SparseLoCo H=20", "sparseloco", {}, 20, ADAM_GRID),
    Method("AsyLPG b=4 b_x=8", "asylpg", {"bits": 4, "bits_down": 8}),
]


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, 1 x 1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.first = convolution(inputs, outputs, stride)
        self.second = convolution(outputs, outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(F.relu(self.first(x)))
        return F.relu(inner + self.shortcut(x))


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(4, outputs)
    )


def resnet8() -> nn.Module:
    return nn.Sequential(
        convolution(3, 16),
        nn.ReLU(),
        *(Block(a, b) for a, b in ((16, 16), (16, 32), (32, 64))),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def problems() -> tuple[psmpi.torch.ModelProblem, psmpi.torch.ModelProblem]:
    """Return the problem to tune on, and the one that is reported."""
    data = load("cifar10", np.float32)

    def images(raw: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(raw).view(-1, 3, 32, 32)
        return torch.cat([F.avg_pool2d(p.float(), 2) for p in pixels.split(5000)])

    train, test = images(data.x), images(data.x_test[:TESTED])
    mean, spread = (f(train, (0, 2, 3), keepdim=True) for f in (torch.mean, torch.std))
    train, test = (train - mean) / spread, (test - mean) / spread
    y, y_test = torch.from_numpy(data.y), torch.from_numpy(data.y_test[:TESTED])

    def make(train: Any, test: Any) -> psmpi.torch.ModelProblem:
        return psmpi.torch.problem(
            resnet8, F.cross_entropy, train, test=test, loss_samples=2000
        )

    cut = len(y) - HELD_OUT
    return (
        make((train[:cut], y[:cut]), (train[cut:], y[cut:])),
        make((train, y), (test, y_test)),
    )


Found = dict[str, list[Result]]
Scores = dict[str, dict[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--long", type=int, default=3000)
    parser.add_argument("--runs", type=Path, default=Path("runs/resnet_cifar10"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    tuned_on, reported = problems()
    scores: Scores = {}
    found: dict[int, Found] = {given.steps: {}, given.long: {}}

    def report(method: Method, steps: int) -> None:
        seeds = given.seeds if method.headline else given.seeds[:1]
        lr = common.best(scores[method.name])
        runs = [method.run(lr, seed, steps) for seed in seeds]
        done = common.finished(
            {run.name: run for run in runs},
            given.runs,
            report=given.report,
            problem=reported,
        )
        if done:
            found[steps][method.name] = list(done.values())

    for method in (m for m in METHODS if m.algorithm in ALGORITHMS):
        tried = common.tune(
            lambda lr, m=method: m.run(lr, TUNING_SEED, TUNING_STEPS),
            method.grid,
            given.runs,
            score=accuracy,
            extend=True,
            report=given.report,
            problem=tuned_on,
        )
        if tried:
            scores[method.name] = tried
            report(method, given.steps)
    for method in METHODS:
        if method.headline and method.name in scores:
            report(method, given.long)
    save(found, scores, reported)


def accuracy(result: Result) -> float:
    return 100 * float(result.summary["accuracy"])


def save(
    found: dict[int, Found], scores: Scores, problem: psmpi.torch.ModelProblem
) -> None:
    """Write tables, numbers and picture."""
    steps, longer = found
    missing = [m.name for m in METHODS if m.name not in found[steps]]
    missing += [
        f"{m.name}, {longer} steps"
        for m in METHODS
        if m.headline and m.name not in found[longer]
    ]
    text = [
        f"ResNet-8, {problem.dim} parameters in {len(problem.bounds) - 1} tensors, "
        "16 x 16 images, group normalisation, in process",
        *(table(found[s], scores, s) for s in found if found[s]),
        reaching(found[steps]),
        cards(found) + f"\nTopK keeps {kept(problem):.0%} of this small net's entries, "
        "at 32 bits and an index each, and EF-signSGD sends one bit for each",
        tuning(scores),
        f"rows not there: {', '.join(missing) or 'none'}",
    ]
    seen = ("round", "loss", "accuracy", "paper_bits_up", "paper_bits_down")
    rows = {
        f"{name}, {s} steps": [
            [[row[key] for key in seen] for row in r.rows] for r in runs
        ]
        for s in found
        for name, runs in found[s].items()
    }
    data = {"tuning": scores, "columns": seen, "rows": rows}
    common.save("resnet_cifar10", "\n\n".join(text), data)
    draw(found[steps], common.RESULTS / "resnet_cifar10.png")


def table(found: Found, scores: Scores, steps: int) -> str:
    """Return final values and bits of all methods."""
    lines = [
        f"{steps} local steps of {WORKERS} x {BATCH} images "
        f"({steps * WORKERS * BATCH / 50_000:.1f} epochs), warm-up over 5 % of them, "
        "steps x 0.1 at 60 % and 85 %; bits by the papers' formulas, summed over "
        "workers; loss over 2000 training images, accuracy over 1000 test images "
        "(s.e. 1.5 points); ratio: SGDM's bits both ways over the method's",
        f"{'':24}{'n':>3}{'lr':>7}{'test accuracy (min-max)':>27}{'loss':>8}"
        f"{'bits up':>11}{'bits down':>11}{'ratio':>8}{'wire ratio':>12}",
    ]

    def cost(runs: Sequence[Result], *keys: str) -> float:
        return float(np.mean([sum(r.summary[key] for key in keys) for r in runs]))

    both = ("paper_bits_up", "paper_bits_down")
    wire = ("wire_bytes_up", "wire_bytes_down")
    sgdm = found.get(METHODS[0].name)
    for name, runs in found.items():
        ratios = (
            [cost(sgdm, *kind) / cost(runs, *kind) for kind in (both, wire)]
            if sgdm
            else [float("nan")] * 2
        )
        lines.append(
            f"{name:24}{len(runs):>3}{common.best(scores[name]):>7g}"
            f"{common.spread([accuracy(r) for r in runs], '{:.1f}'):>27}"
            f"{cost(runs, 'loss'):>8.3f}{cost(runs, both[0]):>11.3g}"
            f"{cost(runs, both[1]):>11.3g}{ratios[0]:>8.1f}{ratios[1]:>12.1f}"
        )
    return "\n".join(lines)


def bits_to(run: Result, *ways: str) -> float:
    """Return the bits at the first look with a training loss of at most ``LOSS``."""
    for row in run.rows:
        if row["loss"] <= LOSS:
            return float(sum(row[f"paper_bits_{way}"] for way in ways))
    return float("inf")


def reaching(found: Found) -> str:
    """Return bits to a training loss, and how many fewer than SGDM's they are."""
    lines = [
        f"bits to a training loss of {LOSS:g}, looked at every {LOOK} steps, mean over "
        "seeds, and SGDM's over these",
        f"{'':24}{'up':>11}{'ratio':>8}{'both ways':>12}{'ratio':>8}",
    ]
    first: list[float] = []
    for name, runs in found.items():
        bits = [
            float(np.mean([bits_to(r, *ways) for r in runs]))
            for ways in (("up",), ("up", "down"))
        ]
        first = first or bits
        if not np.isfinite(bits[0]):
            lines.append(f"{name:24}{'not reached':>11}")
            continue
        lines.append(
            f"{name:24}{bits[0]:>11.3g}{first[0] / bits[0]:>8.1f}"
            f"{bits[1]:>12.3g}{first[1] / bits[1]:>8.1f}"
        )
    return "\n".join(lines)


def kept(problem: psmpi.torch.ModelProblem) -> float:
    """Return the share of entries that k = min(d_t, 1000) of each tensor are."""
    sizes = np.diff(problem.bounds)
    return float(np.minimum(sizes, LAYERS["k"]).sum() / sizes.sum())


def cards(found: dict[int, Found]) -> str:
    """Return what becomes of the papers' claims on the order of methods."""
    lines = []
    steps, longer = found
    up = {n: np.mean([bits_to(r, "up") for r in v]) for n, v in found[steps].items()}
    chain = ("SGDM", "local SGD H=4", "EF-signSGD", "TopK", "SignTopK 8 local")
    for more, less in itertools.pairwise(name for name in chain if name in up):
        what = f"uplink bits to a loss of {LOSS:g}: {more} > {less}"
        lines.append(common.card("A6", what, bool(up[more] > up[less])))
    for length, a, b, claim in (
        (steps, "dist-EF-SGDM block", "dist-EF-SGDM non-block", "A7"),
        (steps, "dist-EF-SGDM block", "SGDM", "goal"),
        (longer, "dist-EF-SGDM block", "SGDM", "goal"),
    ):
        if a in found[length] and b in found[length]:
            lines.append(difference(claim, length, a, b, found[length]))
    return "\n".join(lines)


def difference(claim: str, steps: int, a: str, b: str, found: Found) -> str:
    """Return the line on final accuracies, by seed."""
    pairs = zip(found[a], found[b], strict=False)
    gain = [accuracy(one) - accuracy(other) for one, other in pairs]
    what = (
        f"{steps} steps, final accuracy of {a} less that of {b}: "
        f"{common.spread(gain, '{:+.1f}')} points, n = {len(gain)}, at least -1.5 (the "
        "s.e. of the test set)"
    )
    return common.card(claim, what, bool(np.mean(gain) >= -1.5))


def tuning(scores: Scores) -> str:
    """Return what the step sizes were chosen from."""
    lines = [f"accuracy on held-out training images after {TUNING_STEPS} steps, by lr"]
    for name, by_lr in scores.items():
        shown = "  ".join(f"{lr:g}: {by_lr[lr]:.1f}" for lr in sorted(by_lr))
        lines.append(f"{name:24}{shown}")
    return "\n".join(lines)


def draw(found: Found, path: Path) -> None:
    """Draw accuracy and loss of the first seed against bits in both directions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots(1, 2)
    kinds: list[tuple[str, Callable[[float], float]]] = [
        ("accuracy", lambda value: 100 * value),
        ("loss", float),
    ]
    titles = ("test accuracy, %", "training loss")
    for ax, (key, shown), title in zip(axes, kinds, titles, strict=True):
        for number, (name, runs) in enumerate(found.items()):
            rows = runs[0].rows[1:]
            bits = [row["paper_bits_up"] + row["paper_bits_down"] for row in rows]
            line = "-" if number < 10 else "--"  # there are ten colours
            ax.plot(bits, [shown(row[key]) for row in rows], line, label=name, lw=1.3)
        ax.set(xscale="log", xlabel="bits up and down, all workers", title=title)
        ax.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right", fontsize=8)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
