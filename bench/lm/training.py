"""What every node of these measurements trains, and what it writes down of it.

The transformer and the text are those of ``examples/transformer``. A node keeps copies
of the model while it trains, and computes their losses only afterwards: nothing is
evaluated while the clock runs.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "transformer"))
from model import Text, Transformer, fixed_loss

BETAS = (0.9, 0.95)  # of AdamW, as SparseLoCo's authors have them


@dataclass(frozen=True)
class Setting:
    """Sizes of the model and of the training; one process is one node."""

    nodes: int = 2
    every: int = 15  # local steps a round, where a method has rounds
    seconds: float = 45.0  # time to train
    steps: int = 0  # train so many steps instead
    lr: float = 1e-3
    batch: int = 8  # windows a step and node
    context: int = 64
    width: int = 192
    layers: int = 4
    heads: int = 6
    windows: int = 256  # over which losses are computed
    tuning: bool = False  # losses are those of the training part
    copies: float = 3.0  # seconds from one copy of the model to the next,
    look: int = 60  # or steps, where ``steps`` says how many there are
    seed: int = 0
    prefers: int = 0  # nodes' weight in the scheduler, as a nice value of their session

    def prefer(self) -> None:
        """Let this process's session have its weight, against other programs."""
        Path("/proc/self/autogroup").write_text(str(self.prefers))

    def model(self) -> Transformer:
        """Return the initial model, the same on all nodes."""
        torch.manual_seed(self.seed)
        sizes = (self.context, self.width, self.layers, self.heads)
        return Transformer(self.text().letters, *sizes)

    def text(self) -> Text:
        return Text(self.context)

    def loss(self, model: Transformer, text: Text) -> float:
        """Return the loss over fixed windows."""
        part = text.training if self.tuning else text.validation
        return fixed_loss(model, *text.fixed(part, self.windows))

    def batches(self, node: int) -> torch.Generator:
        """Return what draws the windows of a node."""
        return torch.Generator().manual_seed(1000 * self.seed + node)

    def adamw(self, model: torch.nn.Module) -> torch.optim.AdamW:
        return torch.optim.AdamW(model.parameters(), lr=self.lr, betas=BETAS)


@dataclass
class Log:
    """A node's steps, on the clock, and copies of its model."""

    setting: Setting
    node: int
    begin: float = 0.0
    cpu: float = 0.0
    times: list[float] = field(default_factory=list)  # seconds at the end of each step
    copies: list[tuple[int, float, list[torch.Tensor]]] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)  # training losses

    def start(self) -> None:
        """Start the clock."""
        self.begin, self.cpu = time.monotonic(), time.process_time()

    def now(self) -> float:
        return time.monotonic() - self.begin

    def step(self, loss: float) -> None:
        """Note that a step has ended."""
        self.times.append(self.now())
        self.sums.append(loss)

    def copy(self, model: torch.nn.Module) -> None:
        """Keep a copy of the model, if it is time for one."""
        steps, seconds = self.copies[-1][:2] if self.copies else (0, 0.0)
        by_steps = self.setting.steps > 0
        if (
            len(self.times) - steps >= self.setting.look
            if by_steps
            else self.times[-1] - seconds >= self.setting.copies
        ):
            tensors = [p.detach().clone() for p in model.parameters()]
            self.copies.append((len(self.times), self.times[-1], tensors))

    def over(self) -> bool:
        """Return whether the node has trained enough."""
        if self.setting.steps:
            return len(self.times) >= self.setting.steps
        return bool(self.times) and self.times[-1] >= self.setting.seconds

    def write(self, out: Path, **more: Any) -> None:
        """Compute this node's share of the copies' losses, and write all down."""
        spent = {"cpu_seconds": time.process_time() - self.cpu}
        model, text = self.setting.model(), self.setting.text()
        curve = []
        for steps, seconds, tensors in self.copies[self.node :: self.setting.nodes]:
            with torch.no_grad():
                for parameter, kept in zip(model.parameters(), tensors, strict=True):
                    parameter.copy_(kept)
            curve.append([steps, seconds, self.setting.loss(model, text)])
        dim = sum(p.numel() for p in model.parameters())
        data = {"dim": dim, "times": self.times, "curve": curve, **spent, **more}
        (out / f"node{self.node}.json").write_text(json.dumps(data))
