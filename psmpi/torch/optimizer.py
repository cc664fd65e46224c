"""``psmpi.torch.Optimizer``: a PyTorch optimizer whose steps are psmpi's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from psmpi.base import ConfigError, Indices, Vector
from psmpi.torch.flat import FlatParameters, Parameters, unique
from psmpi.torch.opened import Opened

Closure = Callable[[], Any] | Callable[[Indices | None], Any]


class Optimizer(Opened, torch.optim.Optimizer):
    """Trains a model by an algorithm of psmpi, in the caller's own loop.

    ::

        with psmpi.torch.Optimizer(model, "dist-ef-sgdm", lr=0.1) as optimizer:
            for inputs, targets in batches:
                optimizer.zero_grad()
                loss(model(inputs), targets).backward()
                optimizer.step()

    It opens a ``psmpi.session``, whose workers must have built models of equal bits:
    call ``torch.manual_seed`` first. The parameters become views of the session's
    vector, and their gradients views of its gradient, so that nothing is copied on CPU
    (``FlatParameters`` says what of others). The algorithm's blocks are the parameter
    tensors. After ``step`` gradients hold anything: call ``zero_grad``, which sets them
    to 0, and to None in no case, because they stay views.

    Parameter groups may differ in two things. ``weight_decay`` lambda is added to the
    gradient, g + lambda x, as ``torch.optim.SGD`` does. ``lr``: the session's step size
    is the largest of the groups', and a group's gradients are multiplied by the ratio
    of its own to that, before the algorithm sees them. ``torch.optim.lr_scheduler``
    changes the groups' step sizes; workers must change them alike, and one that differs
    is named.

    Buffers of the model (running statistics of batch normalisation) are no parameters:
    every worker's stay its own, and are never sent. Before an evaluation, average them
    anew with ``torch.optim.swa_utils.update_bn``, or use group normalisation.

    Parameters
    ----------
    parameters
        A model, its ``parameters()`` or ``named_parameters()``, or dicts of groups.
        Given a model, a parameter that it gets later is refused by name at ``step``.
    algorithm
        Its name, as ``psmpi list`` shows it.
    lr
        Step size of groups that have none. Default: the algorithm's.
    weight_decay
        That of groups that have none.
    options
        Those of ``psmpi.session``: the algorithm's and the run's.

    Raises ``ConfigError`` for what can't be trained and for options that don't exist.
    """

    def __init__(
        self,
        parameters: Parameters | Iterable[dict[str, Any]],
        algorithm: str,
        *,
        lr: float | None = None,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        self._model = parameters if isinstance(parameters, nn.Module) else None
        groups = _groups(parameters)
        own = [g["lr"] for g in groups if "lr" in g]
        largest = max([*own, *([] if lr is None else [lr])], default=None)
        if largest is not None:
            options["lr"] = float(largest)
        pairs = [pair for group in groups for pair in group["params"]]
        state = options.get("state")
        self._open(algorithm, FlatParameters(pairs), options)
        self._attach()
        for group in groups:
            group["params"] = [p for _, p in group["params"]]
        defaults = {
            "lr": self._chosen if lr is None else lr,
            "weight_decay": weight_decay,
        }
        self._begun = False
        super().__init__(groups, defaults)
        self._begun = True
        self._parts = {
            id(slot.parameter): (slot.low, slot.high) for slot in self.flat.slots
        }
        before = self._saved_state()
        if before is not None:
            super().load_state_dict(before)
        if state is not None:
            super().load_state_dict(state)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse further parameters: the session's vector has no place for them."""
        if self._begun:
            raise ConfigError(
                "parameters: a group was added after the start, so that it can't be "
                "trained; give all groups when the optimizer is made"
            )
        super().add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set all gradients to 0. They stay views, also with ``set_to_none``."""
        self.flat.zero()

    def step(self, closure: Closure | None = None, *, loss: Any = None) -> Any:
        """Do one step of the algorithm with the parameters' gradients.

        ``closure()`` sets gradients to 0, computes a loss, calls ``backward`` and
        returns the loss. An algorithm that needs gradients at several points, or draws
        its batches itself, takes ``closure(batch)`` with the numbers of the samples to
        compute it over, or None for all: give their number as ``samples`` when the
        optimizer is made. ``loss`` is recorded, and that of a closure returned.

        Raises ``Stopped`` once the run has ended, which the ``with`` block takes, and
        ``ConfigError`` if no parameter has a gradient.
        """
        if self._model is not None:
            self.flat.refuse_others(self._model)
        self._agree_on_step_size()
        if closure is not None and _takes_batch(closure):
            return self._step_by(closure)
        if closure is not None:
            with torch.enable_grad():
                loss = closure()  # type: ignore[call-arg]
        self._finish_gradient()
        self.session.step(loss=number(loss))
        self.flat.load()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the groups' options, and what this worker remembers of the run.

        That is the model in full precision, residuals and momentum, and on worker 0
        also what the server remembers. Call it on every worker after the same step, and
        save one file for each.
        """
        return {**super().state_dict(), **self._saved()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave, before the first step.

        It sets the parameters, too. The session is opened anew; ``state=`` when the
        optimizer is made does so at once. Call it on every worker.
        """
        super().load_state_dict(state_dict)
        self._resume(state_dict)
        self._attach()

    def _own_state(self) -> dict[str, Any]:
        return super().state_dict()

    def _attach(self) -> None:
        """Make the gradients views of the session's."""
        self.flat.bind_gradient(self.session.gradient)
        self._chosen = self.session.lr  # what the session's step size is known to be

    def _step_by(self, closure: Callable[..., Any]) -> Any:
        """Do one step with gradients at the points and batches that are asked for."""
        losses = []

        def compute(x: Vector, out: Vector, batch: Indices | None) -> float:
            self.flat.bind(x)
            self.flat.bind_gradient(out)
            with torch.enable_grad():
                losses.append(closure(batch))
            self._finish_gradient()
            loss = number(losses[-1])
            return math.nan if loss is None else loss

        try:
            self.session.step(compute)
        finally:
            self.flat.bind(self.session.x)
            self.flat.bind_gradient(self.session.gradient)
        return losses[0]

    def _agree_on_step_size(self) -> None:
        largest = max(float(group["lr"]) for group in self.param_groups)
        if largest != self._chosen:
            self.session.lr = self._chosen = largest

    def _finish_gradient(self) -> None:
        """Collect the gradient, with the groups' weight decays and ratios."""
        self.flat.collect()
        for group in self.param_groups:
            decay, rate = float(group["weight_decay"]), float(group["lr"])
            ratio = rate / self._chosen if rate != self._chosen else 1.0
            if decay or ratio != 1:
                for p in group["params"]:
                    if id(p) in self._parts:
                        self.flat.adjust(*self._parts[id(p)], decay, ratio)


def _groups(parameters: Any) -> list[dict[str, Any]]:
    """Return parameter groups with named parameters."""
    entries: Any = parameters
    if not isinstance(parameters, nn.Module):
        entries = list(parameters)
        if entries and isinstance(entries[0], dict):
            groups = [dict(group) for group in entries]
            for number, group in enumerate(groups):
                given = group["params"]
                several: Any = [given] if isinstance(given, Tensor) else given
                pairs = unique(several)
                group["params"] = [
                    (f"{number}.{name}" if name.isdecimal() else name, p)
                    for name, p in pairs
                ]
            return groups
    return [{"params": unique(entries)}]


def _takes_batch(closure: Closure) -> bool:
    """Return whether a closure has an argument that it needs."""
    arguments = inspect.signature(closure).parameters.values()
    return any(
        a.default is a.empty and a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)
        for a in arguments
    )


def number(loss: Any) -> float | None:
    """Return a loss, which may be a tensor with a graph, as a number."""
    if loss is None:
        return None
    return float(loss.detach() if isinstance(loss, Tensor) else loss)
