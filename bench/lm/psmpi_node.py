"""One rank of a measurement of psmpi: steps of AdamW whose sum travels, or gradients.

    mpiexec -n 3 python bench/lm/psmpi_node.py ALGORITHM OUT SETTING OPTIONS

SETTING is a ``training.Setting`` as JSON, OPTIONS the algorithm's options; with
``local_steps`` among them AdamW takes the steps. Rank 0 is the server, and does
nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from training import Log, Setting, Transformer

import psmpi.torch

KEPT = ("rounds", "paper_bits_up", "paper_bits_down", "seconds", "ranks")
KEPT += ("wire_bytes_up", "wire_bytes_down")
Trainer = psmpi.torch.LocalUpdates | psmpi.torch.Optimizer


def main() -> None:
    algorithm, out, given, options = sys.argv[1:]
    setting = Setting(**json.loads(given))
    torch.set_num_threads(1)
    setting.prefer()
    model = setting.model()
    with trainer(model, algorithm, setting, json.loads(options)) as optimizer:
        log = Log(setting, optimizer.session.worker)
        train(model, optimizer, log)
    result = optimizer.session.result
    assert result is not None
    log.write(Path(out), **{name: result.summary[name] for name in KEPT})


def trainer(
    model: Transformer, algorithm: str, setting: Setting, options: dict[str, Any]
) -> Trainer:
    """Return what takes the steps; on rank 0 this serves, and doesn't return."""
    if "local_steps" not in options:
        return psmpi.torch.Optimizer(model, algorithm, lr=setting.lr, **options)
    every = options.pop("local_steps")
    inner = setting.adamw(model)
    return psmpi.torch.LocalUpdates(inner, every=every, algorithm=algorithm, **options)


def train(model: Transformer, optimizer: Trainer, log: Log) -> None:
    """Train until node 0 has trained enough; then it leaves, which ends the others."""
    setting, node = log.setting, log.node
    text, batches = setting.text(), setting.batches(node)
    every = getattr(optimizer, "every", 1)
    for _ in range(2):  # PyTorch's first steps take longer
        windows = text.batch(setting.batch, torch.Generator())
        torch.autograd.grad(model.loss(*windows), list(model.parameters()))
    log.start()
    while node or not log.over():
        for _ in range(every):
            optimizer.zero_grad()
            loss = model.loss(*text.batch(setting.batch, batches))
            loss.backward()
            optimizer.step(loss=loss)
            log.step(loss.item())
        log.copy(model)


if __name__ == "__main__":
    main()
