"""``psmpi.torch.LocalUpdates``: steps of any optimizer, and their progress by psmpi."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from psmpi.base import ConfigError
from psmpi.torch.flat import FlatParameters
from psmpi.torch.opened import Opened
from psmpi.torch.optimizer import number


class LocalUpdates(Opened):
    """Lets a worker take steps of its own optimizer, and joins the progress of all.

    ::

        inner = torch.optim.AdamW(model.parameters(), lr=1e-3)
        with psmpi.torch.LocalUpdates(inner, every=30, algorithm="sparseloco") as outer:
            for inputs, targets in batches:
                outer.zero_grad()
                loss(model(inputs), targets).backward()
                outer.step()

    Every ``every``-th ``step`` hands the progress since the last one to the algorithm,
    compressed as it says, and all workers go on from the same new model. Parameters are
    views of the session's vector, so that nothing is copied for that on CPU.

    The inner optimizer's state (moments, step counts) stays with its worker and is
    never sent; ``state_dict`` has it. So do buffers of the model: running statistics of
    batch normalisation differ between workers, and are best averaged anew for an
    evaluation (``torch.optim.swa_utils.update_bn``). Step sizes are the inner
    optimizer's, schedulers are made for it. Steps after the last full ``every`` stay
    local.

    Parameters
    ----------
    inner
        Any PyTorch optimizer, of parameters with equal bits on all workers.
    every
        H, steps of the inner optimizer from one exchange to the next.
    algorithm
        local-updates, diloco or sparseloco.
    options
        Those of ``psmpi.session``: ``outer_lr``, ``outer_momentum``, ``clip``, ``k``,
        ... and the run's. Those of a built-in inner optimizer have no effect here.

    Raises ``ConfigError`` for what can't be trained, for options that don't exist, and
    for an algorithm that takes gradients.
    """

    def __init__(
        self,
        inner: torch.optim.Optimizer,
        *,
        every: int,
        algorithm: str = "sparseloco",
        **options: Any,
    ) -> None:
        if not isinstance(inner, torch.optim.Optimizer):
            raise ConfigError(
                "inner: must be a torch.optim.Optimizer, got "
                f"{type(inner).__name__}; make it first, of the model's parameters"
            )
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ConfigError(f"every: must be a whole number above 0, got {every!r}")
        self.inner = inner
        self.every = every
        self.steps = 0
        self._losses: list[float] = []
        state = options.get("state")
        flat = FlatParameters(list(_named(inner)), gradients=False)
        self._open(algorithm, flat, {"local_steps": every, **options})
        before = self._saved_state()
        if before is not None:
            self._load_inner(before)
        if state is not None:
            self._load_inner(state)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The inner optimizer's parameter groups."""
        return self.inner.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, as the inner optimizer does."""
        self.inner.zero_grad(set_to_none)

    def step(
        self, closure: Callable[[], Any] | None = None, *, loss: Any = None
    ) -> Any:
        """Do a step of the inner optimizer, and after every H of them an exchange.

        ``loss`` is recorded (the mean over H steps), as is what ``closure`` returns,
        which is returned. Raises ``Stopped`` once the run has ended.
        """
        outcome = self.inner.step(closure)
        seen = number(loss if outcome is None else outcome)
        if seen is not None:
            self._losses.append(seen)
        self.steps += 1
        if self.steps % self.every == 0:
            self._exchange()
        return outcome

    def _exchange(self) -> None:
        losses, self._losses = self._losses, []
        self.flat.store()
        mean = sum(losses) / len(losses) if losses else None
        self.session.advance(loss=mean)
        self.flat.load()

    def state_dict(self) -> dict[str, Any]:
        """Return the inner optimizer's state, and what this worker remembers.

        Residuals, too, and on worker 0 what the server remembers. Call it on every
        worker right after an exchange; raises ``ConfigError`` between two.
        """
        if self.steps % self.every:
            raise ConfigError(
                f"state_dict: {self.steps % self.every} steps were taken since the "
                f"last exchange; save after a multiple of every={self.every} steps"
            )
        return {**self._own_state(), **self._saved()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave, before the first exchange.

        It sets the parameters, too. The session is opened anew; ``state=`` when this
        object is made does so at once. Call it on every worker.
        """
        self._resume(state_dict)
        self._load_inner(state_dict)

    def _own_state(self) -> dict[str, Any]:
        return {"inner": self.inner.state_dict(), "steps": self.steps}

    def _load_inner(self, state_dict: dict[str, Any]) -> None:
        self.inner.load_state_dict(state_dict["inner"])
        self.steps = int(state_dict["steps"])


def _named(inner: torch.optim.Optimizer) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the inner optimizer's parameters with their names, or with numbers."""
    number = 0
    for group in inner.param_groups:
        names = group.get("param_names")  # of an optimizer of named_parameters()
        for i, p in enumerate(group["params"]):
            yield (names[i] if names else str(number)), p
            number += 1
