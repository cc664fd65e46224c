"""The session that an optimizer opens, and what of it is saved."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import torch

from psmpi.base import ConfigError
from psmpi.sessions.api import session
from psmpi.sessions.session import Session
from psmpi.torch import trees
from psmpi.torch.flat import FlatParameters

_KEY = "psmpi"  # of what a session remembers, in a state_dict


class Opened(abc.ABC):
    """Holds a session whose vector a model's parameters are views of.

    As a context manager it is the session: it ends the run with its block.
    """

    flat: FlatParameters
    session: Session

    def checkpoint(self, extra: Any = None) -> bool:
        """Complete a checkpoint, if one was due after the last step.

        As ``Session.checkpoint``: call it after every step, on every worker, and last
        in the loop's body. Options of the parameter groups, and the state of an inner
        optimizer, are in it. ``extra`` is what else the loop needs to go on, or a
        function that returns it: a scheduler's ``state_dict()``, the model's buffers,
        the position in the data. It may hold tensors.
        """
        return self.session.checkpoint(
            lambda: trees.arrays(
                {
                    "own": self._own_state(),
                    "extra": extra() if callable(extra) else extra,
                }
            )
        )

    @property
    def extra(self) -> Any:
        """What this worker gave to ``checkpoint``, where the run goes on; else None."""
        part = self.session.extra
        return None if part is None else trees.tensors(part["extra"])

    @abc.abstractmethod
    def _own_state(self) -> dict[str, Any]:
        """Return what PyTorch's optimizers remember."""

    def _saved_state(self) -> dict[str, Any] | None:
        """Return what ``_own_state`` gave before the run was interrupted, if it was."""
        part = self.session.extra
        return None if part is None else trees.tensors(part["own"])

    def _open(
        self, algorithm: str, flat: FlatParameters, options: dict[str, Any]
    ) -> None:
        state = options.pop("state", None)
        self.flat = flat
        self._algorithm, self._options = algorithm, options
        self._begin(state)

    def _begin(self, state: Mapping[str, Any] | None) -> None:
        saved = None
        if state is not None:
            if _KEY not in state:
                raise ConfigError(
                    "state: holds no state of a session; give what state_dict() of "
                    f"this optimizer gave, got {', '.join(map(repr, state))}"
                )
            saved = {name: value.numpy() for name, value in state[_KEY].items()}
        self.session = session(
            self._algorithm,
            self.flat.x,
            bounds=self.flat.bounds,
            names=self.flat.names,
            state=saved,
            **self._options,
        )
        self.flat.load()

    def _saved(self) -> dict[str, Any]:
        """Return what the session remembers, as tensors."""
        state = self.session.state_dict()
        return {_KEY: {name: torch.from_numpy(v) for name, v in state.items()}}

    def _resume(self, state: Mapping[str, Any]) -> None:
        """Open the session anew, to go on from what ``_saved`` returned."""
        if self.session.round:
            raise ConfigError(
                f"load_state_dict: {self.session.round} rounds have been done; load "
                "the state before the first step"
            )
        if self._options.get("out") is not None:
            raise ConfigError(
                "load_state_dict: the run is recorded in a directory already; give "
                "state= with out= when the optimizer is made"
            )
        self.session.close()
        self._begin(state)

    def close(self) -> None:
        """End the session, and with it the run for all workers."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return self.session.__exit__(kind, error, trace)
