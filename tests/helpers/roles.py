"""Roles that run in this process and log what they did, to test exact identities."""

import itertools

import numpy as np

from psmpi.base import LeftOut, Problem, Stopped
from psmpi.links.server import ServerEnd
from psmpi.links.transport import local
from psmpi.links.worker import WorkerEnd


class LoggedProblem(Problem):
    """A shard that sums up its gradients, each multiplied by its step size."""

    def __init__(self, problem, eta):
        self.problem, self.eta = problem, eta
        self.dim, self.bounds = problem.dim, problem.bounds
        self.samples = problem.samples
        self.steps = 0
        self.step_sum = np.zeros(self.dim)

    def grad(self, x, out, batch=None):
        loss = self.problem.grad(x, out, batch)
        self.step_sum += self.eta(self.steps) * out.astype(np.float64)
        self.steps += 1
        return loss

    def start(self, seed):
        return self.problem.start(seed)

    def loss(self, x):
        return self.problem.loss(x)

    def shard(self, worker, workers):
        raise AssertionError("this problem is a shard already")

    def digest(self):
        return self.problem.digest()


class LoggingWorker(WorkerEnd):
    """A worker's end that keeps the vectors that it pushed, decoded."""

    def __init__(self, transport, wire, plan):
        super().__init__(transport, wire, plan)
        self.codec, self.dim, self.pushed = wire.up, plan.dim, []

    def push(self, frame):
        if frame is not None:
            self.pushed.append(self.codec.decode(frame, self.dim, dtype=np.float64))
        super().push(frame)


class CountingServer(ServerEnd):
    """A server's end that counts the frames that it received from each worker."""

    def __init__(self, transport, wire, plan):
        super().__init__(transport, wire, plan)
        self.received = [0] * plan.workers

    def gather(self, workers=None):
        for frame in super().gather(workers):
            self.received[self.present[-1]] += frame is not None
            yield frame


class LoggedRun:
    """All roles of a run with their logs; ``run`` executes it in this process."""

    def __init__(self, algorithm, problem, plan, seed=None):
        self.algorithm, self.plan = algorithm, plan
        wire, of = algorithm.wire(plan), getattr(algorithm, "eta", None)
        eta = of(plan) if of else lambda step: 0.0  # some have no such schedule
        self.scheduler, transports = local.connect(plan.workers + 1, seed=seed)
        self.server = CountingServer(transports[0], wire, plan)
        self.workers = [LoggingWorker(t, wire, plan) for t in transports[1:]]
        shards = [problem.shard(m, plan.workers) for m in range(plan.workers)]
        self.problems = [LoggedProblem(shard, eta) for shard in shards]
        self.server_state = algorithm.server_state(self.server, problem, plan)
        self.worker_states = [
            algorithm.worker_state(w, p, plan)
            for w, p in zip(self.workers, self.problems, strict=True)
        ]

    def leave_out(self, lacks_gradient):
        """Let a worker m have no gradient at its n-th if ``lacks_gradient(m, n)``."""

        def leaving(m, problem):
            n, grad = itertools.count(), problem.grad

            def grad_or_not(x, out, batch=None):
                if lacks_gradient(m, next(n)):
                    raise LeftOut
                return grad(x, out, batch)

            problem.grad = grad_or_not

        for m, problem in enumerate(self.problems):
            leaving(m, problem)

    def in_flight(self):
        """Return the sum of the vectors that were pushed and not received."""
        return sum(
            (
                frame
                for worker, received in zip(
                    self.workers, self.server.received, strict=True
                )
                for frame in worker.pushed[received:]
            ),
            np.zeros(self.plan.dim),
        )

    def run(self, each_round=lambda k: None):
        """Run to the end; ``each_round`` gets the number k of each server iterate."""

        def serve():
            state = self.server_state
            for iterate in self.algorithm.server(self.server, self.plan, state):
                each_round(iterate.round)
            each_round(state.round)
            self.server.stop()

        def work(m):
            try:
                self.algorithm.worker(
                    self.workers[m], self.problems[m], self.plan, self.worker_states[m]
                )
            except Stopped:
                self.workers[m].leave()

        roles = [lambda m=m: work(m) for m in range(self.plan.workers)]
        self.scheduler.run([serve, *roles])
        return self
