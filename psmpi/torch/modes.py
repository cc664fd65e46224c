"""Modes of a model: of training, of evaluation, of averaging; and of what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase


class Modes:
    """Switches a model's modules, and restores the modes that they had at first.

    ``norms`` are those with running statistics that training would change; a module
    that is in evaluation mode from the start stays as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        self._training = [m for m in model.modules() if m.training]
        self.norms = [
            m
            for m in self._training
            if isinstance(m, _NormBase) and m.running_mean is not None
        ]

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Have all modules in evaluation mode."""
        for module in self._training:
            module.training = False
        try:
            yield
        finally:
            for module in self._training:
                module.training = True

    @contextmanager
    def averaging(self) -> Iterator[None]:
        """Let running statistics become the averages over the block's batches."""
        momenta = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.reset_running_stats()
            norm.momentum = None
        try:
            yield
        finally:
            for norm, momentum in zip(self.norms, momenta, strict=True):
                norm.momentum = momentum


@contextmanager
def seeded(key: int) -> Iterator[None]:
    """Seed PyTorch's generator for the block, and give its state back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key)
        yield
