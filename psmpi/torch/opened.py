"""The session that an optimizer opens, and what of it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import torch

from psmpi.base import ConfigError
from psmpi.sessions.api import session
from psmpi.sessions.session import Session
from psmpi.torch.flat import FlatParameters

_KEY = "psmpi"  # of what a session remembers, in a state_dict


class Opened:
    """Holds a session whose vector a model's parameters are views of.

    As a context manager it is the session: it ends the run with its block.
    """

    flat: FlatParameters
    session: Session

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
