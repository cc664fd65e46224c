"""Identities that hold at every step, whatever the codec and the step sizes are.

Basu et al. (local steps) and Zheng et al. (dist-EF) prove convergence by a virtual
sequence that moves by the plain gradients. Here it is computed and compared.
"""

import numpy as np
import pytest

from psmpi.base import Plan
from psmpi.problems import make_problem
from psmpi.runs import config
from tests.helpers.roles import LoggedRun

ROUNDS = 1000
DATA = "synthetic:quadratic,dim=37,condition=20,heterogeneity=1,noise=0.3"


def played(algorithm, *, rounds=ROUNDS, workers=4, seed=None, **options):
    run = config.configure(algorithm, data=DATA, dtype="float64", **options)
    problem = make_problem(DATA, dtype=np.float64)
    plan = Plan(
        workers=workers,
        rounds=rounds,
        dim=problem.dim,
        bounds=problem.bounds,
        dtype=np.float64,
        seed=5,
        check_every=0,  # comparing, the server would wait until workers are ahead
        on_nan="skip",  # so that copies are kept by which local steps are undone
    )
    return LoggedRun(run.build(), problem, plan, seed=seed)


def assert_close(a, b):
    scale = max(np.abs(a).max(), np.abs(b).max(), 1.0)
    assert np.abs(a - b).max() <= 1e-12 * scale


CHANGING = "warmup0:5+drop:0.1@300,600+drop:7@800"


@pytest.mark.parametrize(
    "options",
    [
        {"codec": "sign"},
        {"codec": "sign", "blocks": 8},
        {"codec": "topk", "k": 0.1},
        {"codec": "stochastic", "bits": 2, "scaled": True},
        {"codec": "sign", "down_codec": "topk:k=3"},
        {"codec": "topk", "k": 0.1, "downlink": "update"},
        {"codec": "topk", "k": 0.1, "downlink": "model"},
    ],
    ids=str,
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_dist_ef_moves_by_the_plain_gradients(options, momentum):
    options = {"lr": 0.05, "lr_schedule": CHANGING, "batch": 10} | options
    play = played("dist-ef-sgdm", momentum=momentum, **options)
    eta, server, workers = play.problems[0].eta, play.server_state, play.worker_states
    before = server.x.copy()
    M = play.plan.workers
    seen = 0

    def virtual():
        # xt_t = x_t - eta_{t-1} ( et_t + (1/M) sum_i e_{t,i} ); the server keeps M et
        memory = server.down.memory
        kept = getattr(memory, "eta", 0.0) * getattr(
            memory, "e", np.zeros(play.plan.dim)
        )
        return server.x - (kept + sum(s.up.eta * s.up.e for s in workers)) / M

    def check(k):
        nonlocal before, seen
        now = virtual()
        if k > 0:
            # xt_{t+1} = xt_t - (eta_t / M) sum_i (g_i + mu m_i)
            moved = eta(k - 1) / M * sum(s.gradient for s in workers)
            assert_close(now, before - moved)
            seen += 1
        before = now

    play.run(check)
    assert seen == ROUNDS


@pytest.mark.parametrize("schedule", ["sync", "async"])
@pytest.mark.parametrize(
    "options",
    [
        {"codec": "dense", "bits": 64},
        {"codec": "topk", "k": 0.1},
        {"codec": "sign", "blocks": 8},
        {"codec": "stochastic", "bits": 2, "scaled": True},
        {"codec": "topk", "k": 0.1, "local_steps": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [None, 3])
def test_qsparse_moves_by_the_plain_gradients(schedule, options, seed):
    options = {"lr": 0.05, "lr_schedule": CHANGING, "batch": 10} | options
    options = {"local_steps": 3} | options
    if seed is not None:
        options["lr_schedule"] = "warmup0:5+drop:0.1@60,120+drop:7@200"
    rounds = ROUNDS if seed is None else 100
    play = played(
        "qsparse-local-sgd", schedule=schedule, seed=seed, rounds=rounds, **options
    )
    server, workers, R = play.server_state, play.worker_states, play.plan.workers
    start = server.x.copy()
    seen = 0

    def check(k):
        nonlocal seen
        # xt = x - (1/R) sum_r u_r = x_0 - (1/R) sum_r sum_t eta_t grad_{r,t}
        owed = sum(s.up.e for s in workers) + play.in_flight()
        step_sum = sum(problem.step_sum for problem in play.problems)
        assert_close(server.x - owed / R, start - step_sum / R)
        seen += 1

    play.run(check)
    assert seen == rounds + 1
    assert all(
        problem.steps >= rounds * play.algorithm.local_steps
        for problem in play.problems
    )


@pytest.mark.parametrize(
    "options",
    [
        {"codec": "topk", "k": 0.1},
        {"codec": "chunktopk:chunk=10,k=4"},
        {"codec": "sign", "blocks": 8, "downlink": "model"},
        {"codec": "stochastic", "bits": 2, "scaled": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("inner", ["adamw", "sgd"])
def test_local_updates_move_by_the_plain_progress(options, inner):
    options = {"lr": 0.003, "local_steps": 3, "inner": inner} | options
    play = played("local-updates", rounds=200, **options)
    server, workers, R = play.server_state, play.worker_states, play.plan.workers
    before, seen = server.x.copy(), 0

    def check(k):
        nonlocal before, seen
        # theta - (1/R) sum_r e_r
        now = server.x - sum(s.up.e for s in workers) / R
        if k > 0:
            assert_close(now, before - sum(s.delta for s in workers) / R)
            seen += 1
        before = now

    play.run(check)
    assert seen == 200
    assert max(np.abs(s.up.e).max() for s in workers) > 1e-3
