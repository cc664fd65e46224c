"""One rank of a measurement of psmpi: steps of AdamW whose sum travels, or gradients.

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
        train = by_progress if "local_steps" in options else by_gradients
        train(session, model, log)
    assert session.result is not None
    totals = session.result.summary
    kept = ("rounds", "paper_bits_up", "paper_bits_down", "seconds", "ranks")
    kept += ("wire_bytes_up", "wire_bytes_down")
    log.write(Path(out), **{name: totals[name] for name in kept})


def by_progress(session: psmpi.Session, model: Transformer, log: Log) -> None:
    """Take steps of AdamW; every so many of them, what they have changed travels.

    Node 0 leaves when it has trained enough, which ends the others.
    """
    setting = log.setting
    text, batches = setting.text(), setting.batches(session.worker)
    optimizer = setting.adamw(model)
    warm_up(model, setting)
    log.start()
    while session.worker or not log.over():
        for _ in range(setting.every):
            optimizer.zero_grad()
            loss = model.loss(*text.batch(setting.batch, batches))
            loss.backward()
            optimizer.step()
            log.step(loss.item())
        session.advance(loss=log.mean_loss(setting.every))
        log.round(model)


def by_gradients(session: psmpi.Session, model: Transformer, log: Log) -> None:
    """Give the algorithm a gradient a step."""
    setting = log.setting
    text, batches = setting.text(), setting.batches(session.worker)
    warm_up(model, setting)
    gradients = torch.from_numpy(session.gradient)
    begin = 0
    for parameter in model.parameters():
        end = begin + parameter.numel()
        parameter.grad = gradients[begin:end].view_as(parameter)
        begin = end
    log.start()
    while session.worker or not log.over():
        gradients.zero_()
        loss = model.loss(*text.batch(setting.batch, batches))
        loss.backward()
        session.step(loss=loss.item())
        log.step(loss.item())
        log.copy(model)


def warm_up(model: Transformer, setting: Setting) -> None:
    """Take PyTorch's first gradients, which take longer."""
    for _ in range(2):
        windows = setting.text().batch(setting.batch, torch.Generator())
        torch.autograd.grad(model.loss(*windows), list(model.parameters()))


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
