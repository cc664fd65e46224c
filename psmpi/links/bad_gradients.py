"""What becomes of a worker's gradient that is not finite: the option ``--on-nan``.

- stop: the run ends with an error that names worker, round and batch,
- zero: the whole gradient counts as zero in this step, since nothing is known of the
  entries that are left either; of an own optimizer's progress, the model is put back,
- skip: the worker takes no part in the round (``LeftOut``).

With zero and skip a vector whose sum of squares overflows counts as not finite, too:
codecs and memories compute with such sums. Each event is kept with worker, round and
samples; on stderr the first few are named, and then ever fewer.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from psmpi.base import ConfigError, Indices, LeftOut, Vector
from psmpi.links.events import Events

OnNan: TypeAlias = Literal["stop", "skip", "zero"]
_SHOWN = 8  # samples of a batch that a message lists
_DONE = {"zero": "it counts as zero", "skip": "the worker is left out of the round"}


class BadGradients:
    """One worker's gradients that are not finite, its ``events``."""

    def __init__(self, action: OnNan = "stop", worker: int = 0) -> None:
        self.action = action
        self.round = 0
        self.events = Events()
        self._worker = worker

    def found(
        self, vector: Vector, batch: Indices | None, name: str = "gradient"
    ) -> None:
        """Take a ``vector`` of which the sum of squares is not finite.

        Sets it to zero, and raises ``LeftOut`` to skip; to stop, raises ``ConfigError``
        if an entry is not finite.
        """
        if self.action == "stop":
            _require_finite(vector, batch, name)
            return
        self._note(vector, batch, name)
        vector[:] = 0
        if self.action == "skip":
            raise LeftOut

    def _note(self, vector: Vector, batch: Indices | None, name: str) -> None:
        samples = None if batch is None else batch[:_SHOWN].tolist()
        self.events.add(
            {"worker": self._worker, "round": self.round, "samples": samples},
            f"worker {self._worker}, round {self.round}: "
            f"{_description(vector, batch, name)}; {_DONE[self.action]}",
        )


def _require_finite(vector: Vector, batch: Indices | None, name: str) -> None:
    """Raise ``ConfigError`` if an entry of the vector is not finite."""
    if not np.isfinite(vector).all():
        raise ConfigError(_description(vector, batch, name))


def _description(vector: Vector, batch: Indices | None, name: str) -> str:
    """Return in words what is wrong with a vector, and over which samples."""
    samples = "all samples"
    if batch is not None and not batch.size:
        samples = "a batch of the caller's own"
    elif batch is not None:
        first = ", ".join(map(str, batch[:_SHOWN].tolist()))
        more = f", ... ({batch.size} in all)" if batch.size > _SHOWN else ""
        samples = f"the batch of samples {first}{more}"
    bad = np.flatnonzero(~np.isfinite(vector))
    if not bad.size:
        i = int(np.argmax(np.abs(vector)))
        return (
            f"the {name}'s norm over {samples} of the shard overflows (entry {i} is "
            f"{vector[i]:g})"
        )
    i = int(bad[0])
    return (
        f"the {name}'s entry {i} is {vector[i]} over {samples} of the shard "
        f"({bad.size} of {vector.size} entries are not finite)"
    )
