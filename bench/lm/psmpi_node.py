"""One rank of a measurement of psmpi: AdamW, and what it has changed travels.

    mpiexec -n 3 python bench/lm/psmpi_node.py ALGORITHM OUT SETTING OPTIONS

SETTING is a ``training.Setting`` as JSON, OPTIONS the algorithm's options. Rank 0 is
the server, and does nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from training import Log, Setting, Transformer

import psmpi


def main() -> None:
    algorithm, out, given, options = sys.argv[1:]
    setting = Setting(**json.loads(given))
    torch.set_num_threads(1)
    model = setting.model()
    x, bounds = flattened(model)
    with psmpi.session(algorithm, x, bounds=bounds, **json.loads(options)) as session:
        log = Log(setting, session.worker)
        train(session, model, log)
    totals = session.result.summary
    kept = ("rounds", "paper_bits_up", "paper_bits_down", "seconds", "ranks")
    kept += ("wire_bytes_up", "wire_bytes_down")
    log.write(Path(out), **{name: totals[name] for name in kept})


def train(session: psmpi.Session, model: Transformer, log: Log) -> None:
    """Train until node 0 has trained enough; then it leaves, which ends the others."""
    setting = log.setting
    text, batches = setting.text(), setting.batches(session.worker)
    optimizer = setting.adamw(model)
    for _ in range(2):  # PyTorch's first steps take longer
        model.loss(*text.batch(setting.batch, torch.Generator())).backward()
        optimizer.zero_grad()
    log.start()
    while session.worker or not log.over():
        for _ in range(setting.every):
            loss = model.loss(*text.batch(setting.batch, batches))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            log.step(loss.item())
        session.advance(loss=log.mean_loss(setting.every))
        log.round(model)


def flattened(model: torch.nn.Module) -> tuple[np.ndarray, list[int]]:
    """Make the parameters views of one vector; return it, and where each begins."""
    parameters = list(model.parameters())
    vector = torch.nn.utils.parameters_to_vector(parameters).detach()
    ends = np.cumsum([0, *(p.numel() for p in parameters)]).tolist()
    for parameter, begin, end in zip(parameters, ends[:-1], ends[1:], strict=True):
        parameter.data = vector[begin:end].view_as(parameter)
    return vector.numpy(), ends


if __name__ == "__main__":
    main()
