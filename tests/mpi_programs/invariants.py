"""The identities of tests/test_invariants.py over MPI, summed up over 1000 rounds."""

import sys
from pathlib import Path

import numpy as np

from psmpi.base import Plan, Stopped
from psmpi.links.mpi_job import MpiJob
from psmpi.links.protocol import longest
from psmpi.problems import make_problem
from psmpi.runs import config

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.helpers.roles import CountingServer, Diary, WritingWorker

DATA = "synthetic:quadratic,dim=37,condition=20,heterogeneity=1,noise=0.3"
SCHEDULE = "warmup0:5+drop:0.1@300,600+drop:7@800"
RUNS = [
    ("dist-ef-sgdm", {"blocks": 8}),
    ("dist-ef-sgdm", {"codec": "topk", "k": 4, "downlink": "update"}),
    ("dist-ef-sgdm", {"codec": "stochastic", "bits": 2, "scaled": True}),
    ("qsparse-local-sgd", {"k": 4, "local_steps": 5}),
    ("qsparse-local-sgd", {"k": 4, "local_steps": 5, "downlink": "feedback"}),
    ("qsparse-local-sgd", {"k": 4, "local_steps": 5, "schedule": "async"}),
]


def serve(mpi_job, transport, algorithm, problem, plan):
    """Return x_0 - x, less what the server owes its workers."""
    server = CountingServer(transport, algorithm.wire(plan), plan)
    state = algorithm.server_state(server, problem, plan)
    start = state.x.copy()
    for _ in algorithm.server(server, plan, state):
        pass
    server.stop()
    memory = state.down.memory
    owed = getattr(memory, "e", np.zeros(plan.dim))
    # A step size scales what dist-EF carries, and divides by M what it sums up.
    owed = owed * (memory.eta if getattr(memory, "rescale", False) else 1)
    return start - state.x + owed / plan.workers, server.taken


def work(mpi_job, transport, algorithm, problem, plan):
    """Return how far this worker's gradients went, what it owes, and all it pushed."""
    worker = WritingWorker(transport, algorithm.wire(plan), plan)
    shard = problem.shard(worker.worker, plan.workers)
    diary = Diary(shard, algorithm.eta(plan))
    state = algorithm.worker_state(worker, diary, plan)
    add_to, walked = state.momentum.add_to, np.zeros(plan.dim)
    steps = 0

    def write(gradient):
        nonlocal steps, walked
        add_to(gradient)
        walked += algorithm.eta(plan)(steps) * gradient
        steps += 1

    state.momentum.add_to = write
    try:
        algorithm.worker(worker, diary, plan, state)
    except Stopped:
        worker.leave()
    scale = state.up.eta if state.up.rescale else 1
    return walked, scale * state.up.e, worker.pushed, algorithm.eta(plan)


def check(mpi_job, name, options):
    run = config.configure(
        name, data=DATA, dtype="float64", lr=0.05, batch=10, **options
    )
    algorithm = run.build()
    problem = make_problem(DATA, dtype=np.float64)
    plan = Plan(
        workers=mpi_job.size - 1,
        rounds=1000,
        dim=problem.dim,
        bounds=problem.bounds,
        dtype=np.float64,
        seed=5,
        check_every=10,
    )
    transport = mpi_job.transport(*longest(algorithm.wire(plan), plan))
    role = work if mpi_job.rank else serve
    mine = role(mpi_job, transport, algorithm, problem, plan)
    moved, taken = mpi_job.allgather(None if mpi_job.rank else mine)[0]
    expected = 0.0
    if mpi_job.rank:
        walked, owed, pushed, eta = mine
        # What the server did not take: with local steps in units of the model.
        late = sum(pushed[taken[mpi_job.rank - 1] :], np.zeros(plan.dim))
        if name.startswith("dist-ef"):
            late *= eta(plan.rounds)
        expected = walked - owed - late
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
