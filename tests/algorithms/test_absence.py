"""What the server makes of rounds that some workers take no part in."""

import itertools

import numpy as np
import pytest

from psmpi.algorithms.asylpg_state import whole_gradient
from psmpi.base import LeftOut
from tests.algorithms.test_invariants import assert_close, played

M = 4


def sometimes(probability, rounds=300, seed=0):
    """Return who lacks which gradient; in round 7 nobody has any."""
    lacking = np.random.default_rng(seed).random((M, rounds)) < probability
    lacking[:, 7] = True
    return lambda m, n: bool(lacking[m, n])


def follow(play, plain, owed, kept=lambda: 0.0, step=lambda k: 1.0):
    """Run ``play`` and check every round against the rule of means.

    Q = x - (1/M) (what the server has ``kept`` + sum of what workers have ``owed(m)``)
    moves by -(1/M) sum of the present workers' ``plain(m, k)`` - (1/P - 1/M) sum of
    what they have sent, times ``step(k)``. What absent workers have owed stays.
    """
    counts, before, owed_before = [], None, []

    def check(k):
        nonlocal before, owed_before
        owes = [owed(m).copy() for m in range(M)]
        now = play.server_state.x - (kept() + sum(owes)) / M
        present = play.server.present
        if k > 0:
            moved = np.zeros_like(now)
            for m in present:
                sent = step(k - 1) * play.workers[m].pushed[-1]
                moved += plain(m, k - 1) / M + (1 / len(present) - 1 / M) * sent
            assert_close(now, before - moved)
            for m in set(range(M)) - set(present):
                np.testing.assert_array_equal(owes[m], owed_before[m])
            counts.append(len(present))
        before, owed_before[:] = now, owes

    play.run(check)
    assert len(counts) == play.plan.rounds
    assert min(counts) == 0
    assert max(counts) == M
    assert len(set(counts)) > 2


@pytest.mark.parametrize(
    "options",
    [
        {"codec": "sign", "blocks": 8},
        {"codec": "topk", "k": 0.1, "downlink": "update"},
        {"codec": "topk", "k": 0.1, "downlink": "model"},
    ],
    ids=str,
)
def test_dist_ef_moves_by_the_mean_over_the_present(options):
    schedule = {"lr": 0.05, "lr_schedule": "warmup:5+drop:0.1@60", "batch": 10}
    play = played("dist-ef-sgdm", rounds=300, **schedule, **options)
    play.leave_out(sometimes(0.2))
    eta, states = play.problems[0].eta, play.worker_states

    def kept():
        memory = play.server_state.down.memory  # M et, if there is one
        return memory.eta * memory.e if hasattr(memory, "e") else 0.0

    follow(
        play,
        lambda m, k: eta(k) * states[m].gradient,
        lambda m: states[m].up.eta * states[m].up.e,
        kept,
        eta,
    )


@pytest.mark.parametrize("downlink", ["update", "model"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_qsparse_undoes_the_local_steps_of_an_absent_worker(downlink, momentum):
    play = played(
        "qsparse-local-sgd",
        rounds=100,
        lr=0.05,
        batch=10,
        codec="topk",
        k=0.1,
        local_steps=3,
        downlink=downlink,
        momentum=momentum,
    )
    lacks = sometimes(0.1)
    play.leave_out(lambda m, n: n // 3 == 7 or lacks(m, n))
    states = play.worker_states
    before = [np.zeros(play.plan.dim) for _ in range(M)]

    def plain(m, k):
        # u after all local steps is C(u) + m', and m + sum of eta_t g_t
        gained = play.workers[m].pushed[-1] + states[m].up.e - before[m]
        before[m][:] = states[m].up.e
        return gained

    follow(play, plain, lambda m: states[m].up.e)
    for m, state in enumerate(states):
        assert np.abs(state.up.e).max() > 0
        assert play.problems[m].steps > 3 * len(play.workers[m].pushed)


def test_local_updates_take_the_mean_over_the_present():
    how = {"lr": 0.003, "local_steps": 3, "inner": "adamw", "codec": "topk", "k": 0.1}
    play = played("local-updates", rounds=100, **how)
    lacks = sometimes(0.1)
    play.leave_out(lambda m, n: n // 3 == 7 or lacks(m, n))
    inner = [s.inner.steps for s in play.worker_states]
    follow(
        play,
        lambda m, k: play.worker_states[m].delta,
        lambda m: play.worker_states[m].up.e,
    )
    for m, state in enumerate(play.worker_states):
        present = len(play.workers[m].pushed)
        assert state.inner.steps == inner[m] + 3 * present  # absent rounds are undone


@pytest.mark.parametrize("algorithm", ["laq", "qgd", "lag-wk", "random-selection"])
def test_the_aggregate_stays_the_sum_of_all_references(algorithm):
    play = played(algorithm, rounds=200, lr=0.02)
    play.leave_out(sometimes(0.2))
    seen = 0

    def check(k):
        nonlocal seen
        references = sum(s.up.reference for s in play.worker_states)
        assert_close(play.server_state.sum + play.in_flight(), references)
        seen += 1

    play.run(check)
    assert seen == 201
    assert np.abs(play.server_state.sum).max() > 0
    assert min(len(worker.pushed) for worker in play.workers) > 0


def test_lag_ps_keeps_the_old_term_of_an_absent_worker():
    play = played("lag-ps", rounds=60, lr=0.05)
    play.leave_out(lambda m, n: (m + n) % 3 == 0)
    play.run()
    server, gradient = play.server_state, np.zeros(play.plan.dim)
    total = np.zeros(play.plan.dim)
    for state, problem, stale in zip(
        play.worker_states, play.problems, server.stale, strict=True
    ):
        type(problem).grad(problem, stale, gradient)  # at thetahat_m
        assert_close(state.up.reference, gradient)
        total += gradient
    assert_close(server.sum, total)


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_sums_stay_sums_and_means_are_over_the_present(reduce):
    play = played("sgd", rounds=4, lr=0.1, batch=10, reduce=reduce)
    play.leave_out(lambda m, n: (n == 1 and m == 2) or n == 2)
    xs = []
    play.run(lambda k: xs.append(play.server_state.x.copy()))
    sent = [worker.pushed for worker in play.workers]
    assert [len(frames) for frames in sent] == [3, 3, 2, 3]
    share = {"sum": (1, 1), "mean": (1 / 4, 1 / 3)}[reduce]
    assert_close(xs[1], xs[0] - 0.1 * share[0] * sum(frames[0] for frames in sent))
    present = [sent[m][1] for m in (0, 1, 3)]
    assert_close(xs[2], xs[1] - 0.1 * share[1] * sum(present))
    np.testing.assert_array_equal(xs[3], xs[2])  # nobody was there
    last = sum(frames[-1] for frames in sent)
    assert_close(xs[4], xs[3] - 0.1 * share[0] * last)
    for state in play.worker_states:
        np.testing.assert_array_equal(state.x, xs[4])


def test_nobody_present_means_no_decay_either():
    play = played("sgd", rounds=3, lr=0.1, weight_decay=0.5, downlink="update")
    play.leave_out(lambda m, n: True)
    start = play.server_state.x.copy()
    play.run()
    for state in (play.server_state, *play.worker_states):
        np.testing.assert_array_equal(state.x, start)


def test_the_absent_do_not_vote():
    play = played("signum", rounds=50, lr=0.01, batch=10)
    lacks = sometimes(0.3, seed=1)
    play.leave_out(lacks)
    xs = []
    play.run(lambda k: xs.append(play.server_state.x.copy()))
    taken = [0] * M
    for n in range(50):
        present = [m for m in range(M) if not lacks(m, n)]
        if not present:
            np.testing.assert_array_equal(xs[n + 1], xs[n])
            continue
        signs = sum(play.workers[m].pushed[taken[m]] for m in present)
        for m in present:
            taken[m] += 1
        assert_close(xs[n + 1], xs[n] - 0.01 * np.where(signs >= 0, 1.0, -1.0))
    for state in play.worker_states:
        np.testing.assert_array_equal(state.x, xs[-1])


@pytest.mark.parametrize("relay", [False, True])
@pytest.mark.parametrize("topology", ["ring", "complete", "star"])
@pytest.mark.parametrize("absent", [{1}, {0, 2}, {0, 1, 2, 3}], ids=str)
def test_mixing_stays_doubly_stochastic(topology, absent, relay):
    play = played("dsgd", rounds=1, lr=0.1, topology=topology, relay=relay)
    for m, (state, problem) in enumerate(
        zip(play.worker_states, play.problems, strict=True)
    ):
        state.x[:] = 0
        state.x[m] = 1  # so that the models after the round are W's rows

        def grad(x, out, batch=None, *, m=m):
            if m in absent:
                raise LeftOut
            out[:] = 0

        problem.grad = grad
    play.run()
    W = np.array([state.x[:M] for state in play.worker_states])
    np.testing.assert_allclose(W, W.T, atol=1e-15)
    np.testing.assert_allclose(W.sum(axis=0), 1, atol=1e-15)
    np.testing.assert_allclose(W.sum(axis=1), 1, atol=1e-15)
    for m in absent:
        assert W[m, m] == 1
    full = play.algorithm.network(play.plan)[1]
    for i in set(range(M)) - absent:
        for j in set(range(M)) - absent - {i}:
            assert W[i, j] == pytest.approx(full[i, j])


def test_the_full_gradient_is_the_mean_over_the_present():
    play = played("asylpg", rounds=1, lr=0.1, epoch=50, batch=10)
    play.leave_out(lambda m, n: m == 2 and n == 0)
    play.run()
    shares, x = [], play.problems[0].start(5)
    for m in (0, 1, 3):
        share, bare = np.zeros(play.plan.dim), play.problems[m].problem.without_ridge()
        whole_gradient(bare, x, share, M)
        shares.append(share)
    assert_close(play.server_state.full, sum(shares) / 3)


def test_a_step_of_asylpg_without_an_answer_leaves_the_model():
    play = played("asylpg", rounds=20, lr=0.1, epoch=50, batch=10)
    play.leave_out(lambda m, n: n > 0)
    xs = []
    play.run(lambda k: xs.append(play.server_state.x.copy()))
    moved = sum((after != before).any() for before, after in itertools.pairwise(xs))
    # Besides shares of G, only what needs no gradient, at the snapshot itself, is sent.
    assert moved == sum(len(worker.pushed) for worker in play.workers) - M
    assert 0 < moved < len(xs) - 1 == 20


def test_dynamic_averaging_goes_on_without_the_absent():
    play = played("dynamic-averaging", rounds=3, lr=0.01, local_steps=2, delta=0.0)
    play.leave_out(lambda m, n: m == 1 and n in (2, 3))  # in round 1
    models = []
    play.run(lambda k: models.append([x.copy() for x in play.server_state.models]))
    server = play.server_state
    sent = [worker.pushed for worker in play.workers]
    assert [len(frames) for frames in sent] == [3, 2, 3, 3]
    # All who are present violate, so theirs is the next reference of all.
    reference = np.mean([sent[m][1] for m in (0, 2, 3)], axis=0)
    for model in models[2]:
        assert_close(model, reference)
    for state in play.worker_states:
        np.testing.assert_array_equal(state.reference, server.reference)
