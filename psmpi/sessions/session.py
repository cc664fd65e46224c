"""The session: what a caller's own training loop holds and calls."""

from __future__ import annotations

import atexit
import contextlib
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

import numpy as np

from psmpi.base import ConfigError, Indices, PsmpiError, Stopped, Vector
from psmpi.runs import roles
from psmpi.runs.evaluation import Diverged, own_metrics
from psmpi.runs.summary import Result
from psmpi.sessions.executor import Executor
from psmpi.sessions.handover import Handover, Request

#: A closure for algorithms that need several gradients: f(x, out, batch) -> loss.
Closure = Callable[[Vector, Vector, Indices | None], float]
_IN_BUFFER = object()  # the gradient is in ``Session.gradient`` already
_REPORTED = ("loss", "accuracy")  # metrics that a row has of itself


class Session:
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
        self.stopped = ""  # why the run has ended; empty while it goes on
        self.result: Result | None = None
        self._executor = executor
        self._prepared = executor.prepared
        self._algorithm = executor.prepared.algorithm
        self._every = executor.prepared.run.run_options.evaluate_every
        self.x = executor.loop.x
        self._handover = Handover(executor.loop, samples)
        self._request: Request | None = None
        self._context = contextlib.ExitStack()
        self._context.enter_context(executor.running())
        Session.current = self
        atexit.register(self.close)
        with self._ending_on_failure():
            self._role = roles.prepare_work(
                self._prepared, executor.transport, self._handover
            )
            self._link = self._role.link
            self._await(self._handover.begin(self._role.run))
            self.gradient = self._gradient_buffer()

    @property
    def worker(self) -> int:
        """Number of this worker, 0 .. workers - 1."""
        return self._link.worker

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self._link.workers

    @property
    def round(self) -> int:
        """Rounds that this worker has done."""
        return self._link.rounds_done

    @property
    def batch(self) -> Indices | None:
        """The samples that the algorithm has drawn for the next gradient.

        Indices below ``samples``; None stands for all samples, or for a loop that draws
        its own batches.
        """
        batch = None if self._request is None else self._request.batch
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
        if fixed:
            raise ConfigError(
                f"lr: {self._algorithm.id} can't change its step size in the middle of "
                "a run; give lr and lr_schedule when the session is opened"
            )
        size = float(value)
        if not 0 <= size < math.inf:
            raise ConfigError(f"lr: must be a number of at least 0, got {value}")
        if size == self.lr:
            return
        chosen = self._prepared.plan.step_size
        assert chosen is not None
        chosen.value = size
        self._link.notes.send_step_size(size)

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
        another shape, and ``Diverged`` for one that is not finite.
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
            self.gradient[:] = self._fitting(gradient, "gradient")
        self._count(loss)
        request = self._request
        assert request is not None
        if request.out is None:  # a gradient step is wanted of the built-in optimizer
            self._go_on(None)
            request = self._request
            assert request is not None
            assert request.out is not None
        if request.out is not self.gradient:
            request.out[:] = self.gradient
        self._go_on(loss)

    def advance(self, x: Any = None, *, loss: float | None = None) -> None:
        """Give the progress of some steps of the caller's own optimizer.

        The caller has moved ``self.x`` in place, or gives the moved vector ``x``. What
        was gained travels; afterwards ``self.x`` is the new global model. ``loss`` is
        the mean over the steps. For local-updates, diloco and sparseloco.
        """
        self._require_open()
        request = self._request
        if request is None or request.out is not None:
            raise ConfigError(
                f"advance: {self._algorithm.id} takes one gradient a step: s.step(g); "
                "for progress of an optimizer of your own take local-updates, diloco "
                "or sparseloco"
            )
        if x is not None and x is not self.x:
            self.x[:] = self._fitting(x, "x")
        self._count(loss)
        self._go_on(math.nan if loss is None else loss)

    def report(self, **metrics: float) -> None:
        """Record what the caller has measured of the model, in a row of its own.

        ``loss``, ``accuracy`` (between 0 and 1) and any further names. Any worker may
        report; what is reported before a step stands in the row of the round after it.
        """
        self._require_open()
        named = {
            name: float(metrics.pop(name)) for name in _REPORTED if name in metrics
        }
        named |= own_metrics(metrics)
        for name, value in named.items():
            if not math.isfinite(value):
                raise ConfigError(f"report: {name} is {value}; it must be finite")
        self._link.notes.send(named)

    def close(self) -> None:
        """End this worker's loop, and with it the run; a second time does nothing.

        Returns when all ranks have ended the run and its record is complete.
        """
        atexit.unregister(self.close)
        if Session.current is not self:
            return
        with self._ending_on_failure():
            if not self.stopped:
                self._link.notes.send()
                self._leave()
                self.stopped = "it was closed"
            self._conclude()

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
            request = self._request
            assert request is not None
            if request.out is None:
                self._go_on(None)
                continue
            loss = closure(request.x, request.out, request.batch)
            self._count(loss)
            self._go_on(loss)
            if not whole_round or self.round != begun:
                return

    def _count(self, loss: float | None) -> None:
        """Note a step's loss, and send the notes if a row is due after this round."""
        if loss is not None:
            number = float(loss)
            if not math.isfinite(number):
                raise Diverged(
                    f"worker {self.worker}, round {self.round}: the loss is {number}; "
                    "if it diverged, lower lr"
                )
            self._link.notes.add_loss(number)
        if (self.round + 1) % self._every == 0:
            self._link.notes.send()

    def _go_on(self, loss: float | None) -> None:
        with self._ending_on_failure():
            self._await(self._handover.answer(None if loss is None else float(loss)))
            if self.stopped:
                self._conclude()
        if self.stopped:
            raise Stopped(self.stopped)

    def _await(self, outcome: Any) -> None:
        """Take in the role's next request, or the reason for its end."""
        if isinstance(outcome, Request):
            self._request = outcome
            if outcome.x is not self.x:
                self.x[:] = outcome.x
            return
        self._request = None
        self.stopped = str(outcome) or "the run has ended"

    def _gradient_buffer(self) -> Vector:
        """Return the role's own vector for gradients where it has one by now."""
        request = self._request
        if request is None or request.out is None:
            return np.zeros_like(self.x)
        return request.out

    def _leave(self) -> None:
        """End the role: at once, or by gradients of zero until the server has ended."""
        wire = self._prepared.wire
        if wire.tree or wire.peers:
            self._await(self._handover.end())
            return
        self._link.notes.send_leave()
        kept = self.x.copy()
        while not self.stopped:
            request = self._request
            assert request is not None
            if request.out is not None:
                request.out[:] = 0
            self._await(self._handover.answer(math.nan))
        self.x[:] = kept

    def _conclude(self) -> None:
        self._context.push(self._forget)
        self.result = self._executor.conclude(self._link)
        self._context.close()

    def _forget(self, *_: object) -> None:
        if Session.current is self:
            Session.current = None
        atexit.unregister(self.close)

    @contextlib.contextmanager
    def _ending_on_failure(self) -> Any:
        """End the run for all ranks if the block fails."""
        try:
            yield
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        if Session.current is self:
            self.stopped = f"it has failed: {error}"
            self._forget()
            self._context.__exit__(type(error), error, error.__traceback__)

    def _require_open(self) -> None:
        if not self.stopped and Session.current is self:
            return
        reason = self.stopped or "it was closed"
        raise PsmpiError(f"session: has ended ({reason}); open another one")

    def _fitting(self, vector: Any, name: str) -> Vector:
        if vector is None:
            raise ConfigError(
                f"{name}: got None; give a vector of shape ({self.x.size},), or "
                "nothing if it is written into the session's own"
            )
        array = np.asarray(vector)
        if array.shape != self.x.shape or array.dtype.kind not in "fiu":
            raise ConfigError(
                f"{name}: must be numbers of shape {self.x.shape}, got shape "
                f"{array.shape} of {array.dtype}"
            )
        return array
