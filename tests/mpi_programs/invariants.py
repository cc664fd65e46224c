"""The identities of tests/algorithms/test_invariants.py at the end of MPI runs."""

import sys
from pathlib import Path

import numpy as np

from psmpi.base import Plan, Stopped
from psmpi.links.mpi_job import MpiJob
from psmpi.links.protocol import longest
from psmpi.problems import make_problem
from psmpi.runs import config

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.helpers.roles import CountingServer, LoggedProblem, LoggingWorker

DATA = "synthetic:quadratic,dim=37,condition=20,heterogeneity=1,noise=0.3"
ROUNDS = 250
SCHEDULE = "warmup0:5+drop:0.1@75,150+drop:7@200"
RUNS = [
    ("dist-ef-sgdm", {"blocks": 8}),
    ("dist-ef-sgdm", {"codec": "topk", "k": 4, "downlink": "update"}),
    ("dist-ef-sgdm", {"codec": "stochastic", "bits": 2, "scaled": True}),
    ("qsparse-local-sgd", {"k": 4, "local_steps": 5}),
    ("qsparse-local-sgd", {"k": 4, "local_steps": 5, "downlink": "feedback"}),
    ("qsparse-local-sgd", {"k": 4, "local_steps": 5, "schedule": "async"}),
]


def serve(mpi_job, transport, algorithm, problem, plan):
    """Return x_0 - x minus the server's residual, and the frames received by worker."""
    server = CountingServer(transport, algorithm.wire(plan), plan)
    state = algorithm.server_state(server, problem, plan)
    start = state.x.copy()
    for _ in algorithm.server(server, plan, state):
        pass
    server.stop()
    memory = state.down.memory
    owed = getattr(memory, "e", np.zeros(plan.dim))
    # Dist-EF scales its residual by the step size and divides its sum by M.
    owed = owed * (memory.eta if getattr(memory, "rescale", False) else 1)
    return start - state.x + owed / plan.workers, server.received


def work(mpi_job, transport, algorithm, problem, plan):
    """Return this worker's sum of steps, its residual, and the vectors it pushed."""
    worker = LoggingWorker(transport, algorithm.wire(plan), plan)
    shard = problem.shard(worker.worker, plan.workers)
    logged = LoggedProblem(shard, algorithm.eta(plan))
    state = algorithm.worker_state(worker, logged, plan)
    add_to, step_sum = state.momentum.add_to, np.zeros(plan.dim)
    steps = 0

    def write(gradient):
        nonlocal steps, step_sum
        add_to(gradient)
        step_sum += algorithm.eta(plan)(steps) * gradient
        steps += 1

    state.momentum.add_to = write
    try:
        algorithm.worker(worker, logged, plan, state)
    except Stopped:
        worker.leave()
    scale = state.up.eta if state.up.rescale else 1
    return step_sum, scale * state.up.e, worker.pushed, algorithm.eta(plan)


def check(mpi_job, name, options):
    run = config.configure(
        name, data=DATA, dtype="float64", lr=0.05, batch=10, **options
    )
    algorithm = run.build()
    problem = make_problem(DATA, dtype=np.float64)
    plan = Plan(
        workers=mpi_job.size - 1,
        rounds=ROUNDS,
        dim=problem.dim,
        bounds=problem.bounds,
        dtype=np.float64,
        seed=5,
        check_every=10,
    )
    transport = mpi_job.transport(*longest(algorithm.wire(plan), plan))
    role = work if mpi_job.rank else serve
    mine = role(mpi_job, transport, algorithm, problem, plan)
    moved, received = mpi_job.allgather(None if mpi_job.rank else mine)[0]
    expected = 0.0
    if mpi_job.rank:
        step_sum, owed, pushed, eta = mine
        # Frames that the server did not receive; with local steps they are model steps.
        late = sum(pushed[received[mpi_job.rank - 1] :], np.zeros(plan.dim))
        if name.startswith("dist-ef"):
            late *= eta(plan.rounds)
        expected = step_sum - owed - late
    total = sum(mpi_job.allgather(expected)[1:]) / plan.workers
    scale = max(1.0, np.abs(total).max())
    error = np.abs(moved - total).max() / scale
    assert error <= 1e-12, (name, options, error)
    transport.close()


mpi_job = MpiJob()
for name, options in RUNS:
    check(mpi_job, name, {"lr_schedule": SCHEDULE} | options)
if mpi_job.rank == 0:
    print(f"{len(RUNS)} identities hold")
mpi_job.leave()
