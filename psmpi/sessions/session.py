"""The session: what a caller's own training loop holds and calls."""

from __future__ import annotations

import atexit
import contextlib
import math
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, ClassVar

from psmpi.base import ConfigError, Indices, PsmpiError, Stopped, Vector
from psmpi.runs.summary import Result
from psmpi.sessions import inputs
from psmpi.sessions.driven import DrivenRole
from psmpi.sessions.executor import Executor
from psmpi.sessions.saving import Saving

#: A closure for algorithms that need several gradients: f(x, out, batch) -> loss.
Closure = Callable[[Vector, Vector, Indices | None], float]
_IN_BUFFER = object()  # the gradient is in ``Session.gradient`` already


class Session(Saving):
    """A worker whose gradients a loop of the caller computes; ``psmpi.session`` opens.

    ``x`` is the model, shape (dim,), and ``gradient`` a vector of this shape: both are
    the same arrays all along, so that a caller may hold views of them. ``worker``, 0 ..
    ``workers`` - 1, is the number of this worker. As a context manager it ends the run
    when the block ends; if the run has ended for another reason (a target is reached,
    the rounds are done, another worker has left), the next ``step`` raises ``Stopped``,
    which ends the block and goes no further. ``stopped`` then says why; ``result`` is
    what ``psmpi.run`` returns.
    """

    current: ClassVar[Session | None] = None

    def __init__(self, executor: Executor, samples: int) -> None:
        self.result: Result | None = None
        self._executor = executor
        self._prepared = executor.prepared
        self._algorithm = executor.prepared.algorithm
        self._every = executor.prepared.run.run_options.evaluate_every
        self._closed = ""  # why the session is over, if not by the end of the run
        self._context = contextlib.ExitStack()
        self._context.enter_context(executor.running())
        Session.current = self
        atexit.register(self.close)
        with self._ending_on_failure():
            self._role = DrivenRole(executor, samples)
        self.x = self._role.x
        self.gradient = self._role.gradient

    @property
    def stopped(self) -> str:
        """Why the run has ended; empty while it goes on."""
        return self._closed or self._role.ended

    @property
    def worker(self) -> int:
        """Number of this worker, 0 .. workers - 1."""
        return self._role.link.worker

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self._role.link.workers

    @property
    def round(self) -> int:
        """Rounds that this worker has done."""
        return self._role.link.rounds_done

    @property
    def batch(self) -> Indices | None:
        """The samples that the algorithm has drawn for the next gradient.

        Indices below ``samples``; None stands for all samples, or for a loop that draws
        its own batches. To ask is to choose gradient steps for this round of
        local-updates, diloco or sparseloco, in place of ``advance``.
        """
        if self._role.ended:
            return None
        with self._ending_on_failure():
            self._role.choose_gradients()
        batch = self._role.request.batch
        return batch if batch is not None and batch.size else None

    @property
    def lr(self) -> float:
        """Step size: the one set last, else the algorithm's option ``lr``.

        What is set holds from the next step on, in place of ``lr`` and ``lr_schedule``.
        All workers have to set the same before the same step; one that differs is named
        and ends the run.
        """
        chosen = self._prepared.plan.step_size
        if chosen is not None and chosen.value is not None:
            return chosen.value
        return float(getattr(self._algorithm, "lr", math.nan))

    @lr.setter
    def lr(self, value: float) -> None:
        self._require_open()
        fixed = not self._prepared.wire.tree or self._algorithm.driven_by != "gradient"
        size = inputs.step_size(value, self._algorithm.id, fixed)
        if size == self.lr:
            return
        chosen = self._prepared.plan.step_size
        assert chosen is not None
        chosen.value = size
        self._role.link.notes.send_step_size(size)

    def step(
        self, gradient: Any | Closure = _IN_BUFFER, *, loss: float | None = None
    ) -> None:
        """Do one step of the algorithm with a gradient at ``x``; moves ``x``.

        ``gradient`` has shape (dim,); without it, it is what the caller has written
        into the vector ``gradient`` of the session, which copies nothing. A closure
        ``f(x, out, batch) -> loss`` writes the gradient at ``x`` over the samples
        ``batch`` (None: all) into ``out``; algorithms that need several gradients a
        step call it as often as they need. ``loss`` is recorded.

        Raises ``Stopped`` once the run has ended, ``ConfigError`` for a gradient of
        another shape, and ``Diverged`` for one that is not finite, unless ``on_nan``
        says what becomes of it.
        """
        self._require_open()
        if callable(gradient):
            self._step_by(gradient)
            return
        if self._algorithm.driven_by == "closure":
            raise ConfigError(
                f"step: {self._algorithm.id} needs gradients at several points a step; "
                "give a closure f(x, out, batch) -> loss, like Problem.grad"
            )
        if gradient is not _IN_BUFFER and gradient is not self.gradient:
            self.gradient[:] = inputs.fitting(gradient, self.x, "gradient")
        self._count(loss)
        with self._one_step():
            self._role.give_gradient(loss)

    def advance(self, x: Any = None, *, loss: float | None = None) -> None:
        """Give the progress of some steps of the caller's own optimizer.

        The caller has moved ``self.x`` in place, or gives the moved vector ``x``. What
        was gained travels; afterwards ``self.x`` is the new global model. ``loss`` is
        the mean over the steps. For local-updates, diloco and sparseloco.
        """
        self._require_open()
        if self._role.request.out is not None:
            raise ConfigError(
                f"advance: {self._algorithm.id} takes one gradient a step: s.step(g); "
                "for progress of an optimizer of your own take local-updates, diloco "
                "or sparseloco"
            )
        if x is not None and x is not self.x:
            self.x[:] = inputs.fitting(x, self.x, "x")
        self._count(loss)
        with self._one_step():
            self._role.go_on(math.nan if loss is None else loss)

    def report(self, **metrics: float) -> None:
        """Record what the caller has measured of the model, in a row of its own.

        ``loss``, ``accuracy`` (between 0 and 1) and any further names. Any worker may
        report; what is reported before a step stands in the row of the round after it.
        """
        self._require_open()
        self._role.link.notes.send(inputs.metrics(metrics))

    def close(self) -> None:
        """End this worker's loop, and with it the run; a second time does nothing.

        Returns when all ranks have ended the run and its record is complete.
        """
        atexit.unregister(self.close)
        if Session.current is not self:
            return
        with self._ending_on_failure():
            self._role.complete_checkpoint(None)
            if not self._role.ended:
                self._role.link.notes.send()
                self._role.leave()
            self._conclude()
        self._closed = "it was closed"

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None or (isinstance(error, Stopped) and self.stopped):
            self.close()
            return True
        self._fail(error)
        return False

    def _step_by(self, closure: Closure) -> None:
        """Answer requests by ``closure``: one, or all of a round."""
        whole_round = self._algorithm.driven_by == "closure"
        begun = self.round
        while True:
            batch = self.batch
            request = self._role.request
            assert request.out is not None
            loss = closure(request.x, request.out, batch)
            self._count(loss)
            with self._one_step():
                self._role.go_on(loss)
            if not whole_round or self.round != begun:
                return

    def _count(self, loss: float | None) -> None:
        """Note a step's loss, and send the notes if a row is due after this round."""
        on_nan = self._prepared.plan.on_nan
        if loss is not None and (on_nan == "stop" or math.isfinite(loss)):
            where = f"worker {self.worker}, round {self.round}"
            self._role.link.notes.add_loss(inputs.finite_loss(loss, where))
        if (self.round + 1) % self._every == 0:
            self._role.link.notes.send()

    @contextlib.contextmanager
    def _one_step(self) -> Iterator[None]:
        """Let the role do one step; raise ``Stopped`` if the run has ended in it."""
        with self._ending_on_failure():
            self._role.complete_checkpoint(None)
            yield
        # What was saved in this step may wait for the caller's part.
        if not self._role.saved_last:
            self._raise_if_ended()

    def _raise_if_ended(self) -> None:
        if self._role.ended and not self._closed:
            with self._ending_on_failure():
                self._conclude()
            self._closed = self._role.ended
            raise Stopped(self._role.ended)

    def _conclude(self) -> None:
        self._context.push(self._forget)
        self.result = self._executor.conclude(self._role.link)
        self._context.close()

    def _forget(self, *_: object) -> None:
        if Session.current is self:
            Session.current = None
        atexit.unregister(self.close)

    @contextlib.contextmanager
    def _ending_on_failure(self) -> Iterator[None]:
        """End the run for all ranks if the block fails."""
        try:
            yield
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        if Session.current is self:
            self._closed = f"it has failed: {error}"
            self._forget()
            self._context.__exit__(type(error), error, error.__traceback__)

    def _require_open(self) -> None:
        self._role.complete_checkpoint(None)
        self._raise_if_ended()
        if self.stopped:
            raise PsmpiError(f"session: has ended ({self.stopped}); open another one")
