"""Workers that take no part in a round: both ends of it, for any algorithm.

A worker is absent where it has no gradient to go by (``LeftOut``), and where it is lost
or late. It has sent nothing, so that its memories stay as they were, and it still does
the step that the others have made, so that the models stay equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from psmpi.base import LeftOut, Plan, ServerStar, Vector


class _CanBeAbsent(Protocol):
    def absent(self) -> None: ...


@contextmanager
def taking_part(link: _CanBeAbsent) -> Iterator[None]:
    """Run a block that computes and sends; without a gradient, be absent instead.

    The block must ask for the gradient before it changes anything that survives it.
    """
    try:
        yield
    except LeftOut:
        link.absent()


class LocalSteps:
    """A worker's local steps between two exchanges, and how to undo them.

    A context for one step, which takes ``LeftOut``. The other steps are still taken, so
    that all workers take as many; at the exchange ``undo`` sets the ``vectors`` to what
    they were at the last one. ``good`` says whether all steps had a gradient.
    """

    def __init__(self, plan: Plan, **vectors: Vector | None) -> None:
        self._vectors = {k: v for k, v in vectors.items() if v is not None}
        kept = self._vectors if leaves_out(plan) else {}
        self.kept = {name: vector.copy() for name, vector in kept.items()}
        self.good = True

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, LeftOut):
            return False
        self.good = False
        return True

    def undo(self) -> None:
        """Set all vectors to what they were at the last exchange."""
        for name, vector in self._vectors.items():
            vector[:] = self.kept[name]

    def begin(self) -> None:
        """Begin anew, after an exchange."""
        self.good = True
        for name, kept in self.kept.items():
            kept[:] = self._vectors[name]


def leaves_out(plan: Plan) -> bool:
    """Return whether local steps may have to be undone, so that a copy is needed."""
    return plan.on_nan == "skip"


def scale_to_present(link: ServerStar, out: Vector, asked: int) -> None:
    """Scale a sum over the present workers: divided by ``asked`` it is their mean."""
    present = len(link.present)
    if 0 < present < asked:
        out *= asked / present
