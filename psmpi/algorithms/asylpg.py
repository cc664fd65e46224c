"""AsyLPG: asynchronous SVRG with both gradients and models quantised.

Yu, Wu, Huang, "Double Quantization for Communication-Efficient Distributed
Optimization", NeurIPS 2019 (arXiv 1805.10111), for min f(x) + h(x), h = l1 ||x||_1 +
(l2/2) ||x||^2.

::

    epoch s, together:   workers send grad f_m(xs); the server forms G = grad f(xs)
    step t, as it comes: server -> worker  Q_x(x_D(t)), with
                           (2)  E||Q_x(x) - x||^2 <= mu ||x - xs||^2
                         worker -> server  Q(alpha), with
                           alpha = grad f_a(Q_x(x)) - grad f_a(xs)
                         server            u = Q(alpha) + G
                                           x <- prox_{eta h}(x - eta u)
                         t - D(t) <= tau
    after m steps:       xs <- x

Acc-AsyLPG:  y <- prox_{eta_s h}(y - eta_s u),  x <- xs + theta_s (y - xs), with theta_s
= 2 / (s + 2), eta_s = eta / theta_s, and (4), which is (2) times theta_s. Sparse-AsyLPG
sparsifies alpha first, at random with phi = ||alpha||_1 / ||alpha||_inf entries on
average, which leaves their signs and one size.

Of an absent worker's step the model stays as it is, and the step is counted. G is the
mean over the workers that are present, and the last one's G if there are none.

The width of Q_x is chosen for every message: the least that satisfies the rule by its
exact variance, no bits at all while x = xs, floats beyond ``--max-bits``. Gradient
differences that workers computed at an old snapshot are discarded, and counted, when
the epoch has ended.

The authors of this module had the paper's abstract, the rebuttal and secondary sources,
not its full text. The documentation says what is therefore not checked against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from psmpi import random
from psmpi.algorithms.asylpg_options import (
    CODED,
    DEFAULT_MU,
    EXACT,
    LEAST,
    MOST,
    AsyLpgOptions,
)
from psmpi.algorithms.asylpg_state import (
    AT_SNAPSHOT,
    EPOCH_ENDED,
    AsyServerState,
    AsyWorkerState,
    FromServer,
    meaning,
    urgent,
    whole_gradient,
)
from psmpi.base import (
    Codec,
    Frame,
    Indices,
    Iterate,
    Plan,
    Problem,
    ServerStar,
    Vector,
    WorkerStar,
)
from psmpi.codecs import Choice, Stochastic
from psmpi.codecs.stochastic import narrowest
from psmpi.kernels.reduce import distance_squares
from psmpi.kernels.vector import extrapolate, proximal_step
from psmpi.parts import schedules
from psmpi.parts.absence import scale_to_present, taking_part
from psmpi.parts.memory import expected


@dataclass(frozen=True, kw_only=True)
class AsyLpg(AsyLpgOptions):
    """AsyLPG: asynchronous SVRG, gradients and models quantised.

    A round is one step of the server, with the gradient of one worker.
    """

    id: ClassVar[str] = "asylpg"
    can_leave_out = True
    driven_by = "closure"  # the same samples at the model and at the snapshot

    def record(self, state: AsyServerState) -> Mapping[str, Any]:
        widths = {str(bits): n for bits, n in sorted(state.widths.items())}
        return {
            "model_bits": widths,
            "epochs": state.epoch + 1,
            "resolved": {"epoch": state.length, "staleness": state.tau},
        }

    def worker_state(
        self, link: WorkerStar, problem: Problem, plan: Plan
    ) -> AsyWorkerState:
        x = problem.start(plan.seed)
        return AsyWorkerState(
            x=x,
            snapshot=x.copy(),
            gradient=np.zeros_like(x),
            difference=np.zeros_like(x),
        )

    def server_state(
        self, link: ServerStar, problem: Problem, plan: Plan
    ) -> AsyServerState:
        problem.without_ridge()  # workers need that: refuse others before round 0
        x = problem.start(plan.seed)
        return AsyServerState(
            x=x,
            y=x.copy(),
            snapshot=x.copy(),
            full=np.zeros_like(x),
            step=np.zeros_like(x),
            change=np.zeros_like(x),
            l1=problem.l1,
            l2=problem.l2,
            tau=2 * plan.workers if self.staleness is None else self.staleness,
            length=self.epoch or -(-max(problem.samples, 1) // self.batch),
            waiting=list(range(plan.workers)),
        )

    def worker(
        self, link: WorkerStar, problem: Problem, plan: Plan, state: AsyWorkerState
    ) -> None:
        s, f = state, problem.without_ridge()  # the ridge is in h
        choice = self.wire(plan).up
        assert isinstance(choice, Choice)
        exact, coded = (link.outgoing(choice.part(i)) for i in (EXACT, CODED))
        for k in link.rounds(s, until_stopped=True):
            frame = link.pull()
            if meaning(frame) is FromServer.EPOCH_ENDED:  # xs, and grad f_m(xs)
                snapshot = link.pull_shared()
                if snapshot is not None:  # else it is the common start
                    link.down.decode(snapshot, s.x.size, s.snapshot)
                with taking_part(link):
                    whole_gradient(f, s.snapshot, s.gradient, plan.workers)
                    link.push(exact.encode(s.gradient))
                continue
            key = random.key(plan.seed, "up", link.worker, k)
            with taking_part(link):
                # alpha = grad f_a(Q_x(x)) - grad f_a(xs)
                support = self._differ(link, f, expected(frame), plan, s)
                if support is None:
                    link.push(coded.encode(s.difference, key=key))
                else:
                    values = s.difference[support]
                    link.push(coded.encode_at(support, values, s.x.size, key=key))

    def _differ(
        self, link: WorkerStar, f: Problem, frame: Frame, plan: Plan, s: AsyWorkerState
    ) -> Indices | None:
        """Set alpha at the model in ``frame``; return where it may differ from 0."""
        if meaning(frame) is FromServer.AT_SNAPSHOT:  # alpha = 0
            return np.empty(0, np.int64)
        if self.recentre and frame[0] != EXACT:
            s.x[:] = s.snapshot
            link.down.decode_add(frame, s.x)
        else:
            link.down.decode(frame, s.x.size, s.x)
        key = random.key(plan.seed, "batch", link.worker, s.round)
        batch = f.batch(key, self.batch)
        return f.difference(s.x, s.snapshot, s.difference, batch)

    def server(
        self, link: ServerStar, plan: Plan, state: AsyServerState
    ) -> Iterator[Iterate]:
        s, eta = state, schedules.schedule(self.lr, self.lr_schedule, plan.rounds)
        choice = self.wire(plan).down
        assert isinstance(choice, Choice)
        exact, *grids = map(link.outgoing, map(choice.part, range(len(choice.parts))))
        by_width = dict(enumerate(grids, LEAST))
        for t in link.rounds(s):
            if not s.left:
                self._begin_epoch(link, plan, s, exact)
            while s.waiting and len(s.out) <= s.tau:
                worker = s.waiting.pop(0)
                s.out[worker] = t
                key = random.key(plan.seed, "down", worker, t)
                link.send(worker, self._model(s, exact, by_width, key))
            yield Iterate(t, s.x)
            worker, frame = link.recv(urgent(s.out, t, s.tau))
            del s.out[worker]
            s.waiting.append(worker)
            if frame is not None:  # else the worker is absent
                # u = Q(alpha) + G
                s.step[:] = s.full
                link.up.decode_add(frame, s.step)
                self._advance(s, eta(t))
            s.left -= 1
            if not s.left and t + 1 < plan.rounds:
                self._end_epoch(link, s)

    def _advance(self, s: AsyServerState, eta: float) -> None:
        if not self.accelerated:
            # x <- prox_{eta h}(x - eta u)
            proximal_step(s.x, s.step, eta, s.l1, s.l2)
            return
        # y <- prox_{eta_s h}(y - eta_s u);   x <- xs + theta_s (y - xs)
        theta = self.theta(s.epoch)
        proximal_step(s.y, s.step, eta / theta, s.l1, s.l2)
        extrapolate(s.x, s.snapshot, s.y, theta)

    def theta(self, epoch: int) -> float:
        """Return theta_s = 2 / (s + 2)."""
        return 2 / (epoch + 2) if self.accelerated else 1.0

    def _end_epoch(self, link: ServerStar, s: AsyServerState) -> None:
        # What workers still compute at this snapshot is too late for the next one. All
        # of them are waited for now, so that the run can go on from here: a new epoch
        # needs the full gradient of each in any case.
        for worker in sorted(s.out):
            link.discard(worker)
        s.out.clear()
        s.waiting = list(range(link.workers))

    def quiet(self, state: AsyServerState) -> bool:
        return not state.left

    def _begin_epoch(
        self, link: ServerStar, plan: Plan, s: AsyServerState, exact: Codec
    ) -> None:
        s.epoch += 1
        s.left = s.length
        # xs <- x, to all
        s.snapshot[:] = s.x
        for worker in range(plan.workers):
            link.send(worker, EPOCH_ENDED)
        link.bcast(exact.encode(s.snapshot) if s.epoch else None)  # x_0 is known to all
        # G = (1/M) sum_m grad f_m(xs)
        s.step[:] = 0
        for frame in link.gather():
            link.up.decode_add(expected(frame), s.step, 1 / plan.workers)
        if link.present:
            scale_to_present(link, s.step, plan.workers)
            s.full[:] = s.step
        if self.accelerated:
            extrapolate(s.x, s.snapshot, s.y, self.theta(s.epoch))

    def _model(
        self, s: AsyServerState, exact: Codec, by_width: Mapping[int, Codec], key: int
    ) -> Frame:
        """Return Q_x(x) as wide as the rule wants it; an empty frame while x = xs."""
        sent = self._sent(s)
        bits = self.width(s, sent)
        s.widths[bits] += 1
        if not bits:
            return AT_SNAPSHOT
        if bits > MOST:
            return exact.encode(s.x)
        return by_width[bits].encode(sent, key=key)

    def _sent(self, s: AsyServerState) -> Vector:
        """Return what is quantised: x, or x - xs."""
        return np.subtract(s.x, s.snapshot, out=s.change) if self.recentre else s.x

    def width(self, s: AsyServerState, sent: Vector) -> int:
        """Return the bits of the next model: 0 for xs, 32 or 64 for floats."""
        distance = distance_squares(s.x, s.snapshot)
        floats = 8 * s.x.itemsize
        if distance == 0:
            return 0
        if self.exact_models:
            return floats
        if self.bits_down is not None:
            return self.bits_down
        # (2)  E||Q_x(x) - x||^2 <= mu ||x - xs||^2;   (4) the same times theta_s
        budget = self.theta(s.epoch) * (self.mu or DEFAULT_MU) * distance
        return narrowest(sent, budget, LEAST, self.max_bits) or floats

    def row(self, link: ServerStar, state: AsyServerState) -> Mapping[str, Any]:
        """Return with which precision this iterate is sent, if it is.

        ``model_bits``; ``model_error``, its variance E||Q_x(x) - x||^2; and
        ``model_distance``, ||x - xs||^2.
        """
        sent = self._sent(state)
        bits, error = self.width(state, sent), 0.0
        if 0 < bits <= MOST:
            error = Stochastic.symmetric(bits).variance(sent)
        return {
            "model_bits": bits,
            "model_error": error,
            "model_distance": distance_squares(state.x, state.snapshot),
        }
