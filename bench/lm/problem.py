"""The transformer as a problem of psmpi, for runs in one process."""

from __future__ import annotations

import copy
import hashlib

import numpy as np
import torch
from training import Setting

from psmpi.base import Indices, Problem, Vector


class Letters(Problem):
    """The next letter of the text: gradients of training windows, validation losses.

    A sample is a window, named by where it begins. ``loss`` is that of the setting's
    fixed windows, of the validation part unless it is for tuning.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, self.text = setting, setting.text()
        self._model = setting.model()
        self._parameters = list(self._model.parameters())
        ends = np.cumsum([0, *(p.numel() for p in self._parameters)])
        self.bounds = tuple(ends.tolist())
        self.dim = self.bounds[-1]
        self.samples = len(self.text.training) - setting.context

    def start(self, seed: int) -> Vector:
        model = Setting(**{**vars(self.setting), "seed": seed}).model()
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy()

    def loss(self, x: Vector) -> float:
        self._put(x)
        return self.setting.loss(self._model, self.text)

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        if batch is None:
            raise NotImplementedError("gradients of the whole text are not needed")
        self._put(x)
        loss = self._model.loss(*self.text.windows(torch.from_numpy(batch)))
        gradients = torch.autograd.grad(loss, self._parameters)
        target = torch.from_numpy(out)
        for part, begin, end in zip(
            gradients, self.bounds[:-1], self.bounds[1:], strict=True
        ):
            target[begin:end] = part.flatten()
        return loss.item()

    def shard(self, worker: int, workers: int) -> Problem:
        return copy.copy(self)  # all workers draw from the whole training part

    def batch(self, key: int, size: int) -> Indices:
        generator = np.random.Generator(np.random.Philox(key=key))
        return generator.integers(self.samples, size=size)

    def digest(self) -> str:
        return hashlib.sha256(repr(self.setting).encode()).hexdigest()

    def _put(self, x: Vector) -> None:
        vector = torch.from_numpy(x)
        with torch.no_grad():
            for parameter, begin, end in zip(
                self._parameters, self.bounds[:-1], self.bounds[1:], strict=True
            ):
                parameter.copy_(vector[begin:end].view_as(parameter))
