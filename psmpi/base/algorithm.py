"""What an algorithm promises."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from psmpi.base.arrays import Vector
from psmpi.base.links import ServerLink, WorkerLink
from psmpi.base.plan import Iterate, Plan, Wire
from psmpi.base.problem import Problem


class Algorithm(abc.ABC):
    """A paper's method: its hyper-parameters as fields, its two roles as methods.

    Subclasses are frozen keyword-only dataclasses. Whatever survives a round sits in
    the role's state object, so that a checkpoint is that object and nothing else; both
    states have ``round``, the server's has ``x``.

    ``proximal`` says whether it minimises l1 ||x||_1 along with the smooth loss; only
    then it gets problems that have that.
    """

    id: ClassVar[str]
    #: Version of what the algorithm computes: raised when its arithmetic, the order of
    #: its messages or its use of random keys changes. Replay refuses older versions.
    version: ClassVar[int] = 1
    proximal: ClassVar[bool] = False
    #: Whether workers take differences of gradients (``Problem.difference``).
    differences: ClassVar[bool] = False
    #: How a training loop of the caller's own can drive a worker: by one gradient at
    #: its x a step, by a closure where it needs several, or not at all.
    driven_by: ClassVar[Literal["gradient", "closure", "nothing"]] = "gradient"
    #: Whether a worker can be left out of a round: ``problem.grad`` then may raise
    #: ``LeftOut``, and its role answers by ``absent`` instead of a frame.
    can_leave_out: ClassVar[bool] = False
    #: What the caller of such a loop can take instead where it can't be driven.
    instead: ClassVar[str] = ""

    def timed(self) -> bool:
        """Whether time decides what is computed, so that it has to be simulated."""
        return False

    @abc.abstractmethod
    def wire(self, plan: Plan) -> Wire:
        """Return what travels; raises ``ConfigError`` for an illegal combination."""

    def cautions(self, plan: Plan) -> Sequence[str]:
        """Return what is allowed but likely not meant, a line each."""
        return ()

    def effective(self, plan: Plan) -> Mapping[str, Any]:
        """Return settings that depend on what else was given, by their options' names.

        For options that are None by default, as plain data, besides the codecs.
        """
        return {}

    def replicas(self, state: Any) -> Sequence[Sequence[Vector]]:
        """Return the vectors of a role's state that are equal on all ranks, in groups.

        Between rounds, where ``Wire.replicated`` says that there are such. A group's
        vectors are equal to one another, the first group is the model, and both roles
        have the same groups.
        """
        return ((state.x,),)

    def quiet(self, state: Any) -> bool:
        """Return whether a run can go on from this state of the server, between rounds.

        Only where workers are called (``Wire.called``) it may be that it can't: while a
        worker still computes something for the server.
        """
        return True

    def frames(self, plan: Plan, rounds: int) -> tuple[int, int]:
        """Return how many frames its uncompressed counterpart sends up, and down."""
        return plan.workers * rounds, plan.workers * rounds

    def arrays(self, plan: Plan) -> Mapping[str, NDArray[Any]]:
        """Return what is kept in the run's directory besides, by file name."""
        return {}

    def row(self, link: ServerLink, state: Any) -> Mapping[str, Any]:
        """Return what a row of the record has besides, at the server's iterate."""
        return {}

    def record(self, state: Any) -> Mapping[str, Any]:
        """Return what the summary holds of the server's last state, as plain data."""
        return {}

    @abc.abstractmethod
    def worker_state(self, link: WorkerLink, problem: Problem, plan: Plan) -> Any:
        """Return a worker's state before round 0."""

    @abc.abstractmethod
    def server_state(self, link: ServerLink, problem: Problem, plan: Plan) -> Any:
        """Return the server's state before round 0; ``problem`` is the whole one."""

    @abc.abstractmethod
    def worker(
        self, link: WorkerLink, problem: Problem, plan: Plan, state: Any
    ) -> None:
        """Run a worker's role to the end."""

    @abc.abstractmethod
    def server(self, link: ServerLink, plan: Plan, state: Any) -> Iterator[Iterate]:
        """Run the server's role; yield each round's iterate before it is improved."""
