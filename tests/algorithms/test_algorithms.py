"""Algorithms in process: against the board, against each other, under any schedule."""

import dataclasses

import numpy as np
import pytest

from psmpi import algorithms
from psmpi.base import Codec, ConfigError, LinkError, Plan, Stopped
from psmpi.links.server import ServerEnd
from psmpi.links.transport import local
from psmpi.links.worker import WorkerEnd
from psmpi.problems import Quadratic, make_problem
from psmpi.runs import config
from psmpi.runs.evaluation import Diverged
from psmpi.runs.local import run_local
from psmpi.runs.recorded import read_decisions, read_run
from tests.helpers.algorithm_table import (
    ASYNCHRONOUS,
    IDS,
    QUADRATIC,
    ROWS,
    SYNCHRONOUS,
    go,
    same,
)
from tests.reference import naive_algorithms as naive


def test_every_algorithm_is_tested():
    assert set(IDS) == set(algorithms.ALGORITHMS)


@pytest.mark.parametrize(("algorithm", "options", "residual"), ROWS, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_converges(algorithm, options, residual, dtype):
    result = go(algorithm, rounds=400, dtype=dtype, **options)
    assert result.summary["residual"] < residual
    assert result.x.dtype == dtype


COUNTED = (
    *("uploads", "paper_bits_up", "paper_bits_down"),
    *("wire_bytes_up", "wire_bytes_down", "wire_bytes_observed"),
)


def counted(result):
    return [result.summary[key] for key in COUNTED]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("algorithm", "options", "residual"), SYNCHRONOUS, ids=lambda v: str(v)[:20]
)
def test_the_schedule_does_not_matter(algorithm, options, residual, seed):
    plain, shuffled = go(algorithm, **options), go(algorithm, turns=seed, **options)
    assert same(plain, shuffled)
    assert counted(plain) == counted(shuffled)


@pytest.mark.parametrize(
    ("algorithm", "options", "residual"), ASYNCHRONOUS, ids=lambda v: str(v)[:20]
)
def test_what_time_decided_can_be_had_again(algorithm, options, residual, tmp_path):
    run = config.configure(algorithm, data=QUADRATIC, workers=3, rounds=60, **options)
    then = run_local(run, schedule=1, out=tmp_path / "run")
    decided = read_decisions(read_run(tmp_path / "run"))
    for turns in (None, 2, 3):
        again = run_local(run, schedule=turns, replay=decided)
        assert same(then, again)
        assert [row["loss"] for row in again.rows] == [r["loss"] for r in then.rows]
        assert counted(again) == counted(then)
    if "speeds" not in options:  # these simulate time, whatever the turns are
        assert not same(then, run_local(run, schedule=2))


@pytest.mark.parametrize(("algorithm", "options", "residual"), ROWS, ids=IDS)
def test_the_seed_matters(algorithm, options, residual):
    assert not same(go(algorithm, **options), go(algorithm, seed=4, **options))


def gradients(workers):
    whole = make_problem(QUADRATIC, dtype=np.float64)

    def of(shard):
        def gradient(x):
            out = np.empty_like(x)
            shard.grad(x, out)
            return out

        return gradient

    return whole, [of(whole.shard(m, workers)) for m in range(workers)]


def test_gd_is_gradient_descent():
    whole, parts = gradients(3)
    expected = naive.gd(parts, whole.start(3), 0.1, 60)[-1]
    result = go("gd", lr=0.1, dtype="float64")
    np.testing.assert_allclose(result.x, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("algorithm", "bits"), [("laq", 3), ("laq", 8), ("lag-wk", None)]
)
@pytest.mark.parametrize("window", [1, 10])
def test_laq_is_as_on_the_board(algorithm, bits, window):
    whole, parts = gradients(3)
    rule = {"alpha": 0.3, "bits": bits, "D": window, "weight": 0.8, "tbar": 7}
    expected, uploads = naive.laq(parts, whole.start(3), rounds=60, **rule)
    result = go(
        algorithm,
        lr=0.3,
        lazy_window=window,
        lazy_weight=0.8,
        max_skip=7,
        dtype="float64",
        **({} if bits is None else {"bits": bits}),
    )
    assert result.summary["uploads"] == uploads
    assert 0 < uploads < 3 * 60
    np.testing.assert_allclose(result.x, expected[-1], rtol=1e-6, atol=1e-9)


def on_the_board(algorithm, **options):
    return go(algorithm, dtype="float64", batch=None, **options).x


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("mu", [0.0, 0.7])
def test_dist_ef_is_as_on_the_board(mu, decay):
    whole, parts = gradients(3)
    etas = [0.05 * (k + 1) / 4 for k in range(4)] + [0.05] * 10 + [0.005] * 10
    blocks = [(0, 8), (8, 16), (16, 24), (24, 30)]
    rule = {"etas": etas, "mu": mu, "decay": decay, "blocks": blocks}
    expected = naive.dist_ef(parts, whole.start(3), **rule)[-1]
    options = {"lr": 0.05, "lr_schedule": "warmup:4+drop:0.1@14", "rounds": 24}
    options |= {"blocks": 8, "momentum": mu, "weight_decay": decay}
    found = on_the_board("dist-ef-sgdm", **options)
    # The server's scales are those of sums, which round to other float32.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("workers", [3, 4])
def test_signum_is_as_on_the_board(workers):
    whole, parts = gradients(workers)
    rule = {"mu": 0.7, "decay": 0.05, "rounds": 60}
    expected = naive.signum(parts, whole.start(3), eta=0.02, **rule)
    options = {"momentum": 0.7, "weight_decay": 0.05, "workers": workers}
    found = on_the_board("signum", lr=0.02, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("downlink", ["model", "update"])
def test_qsparse_is_as_on_the_board(downlink):
    whole, parts = gradients(3)
    rule = {"k": 7, "H": 3, "mu": 0.6, "decay": 0.05, "rounds": 20}
    expected = naive.qsparse(parts, whole.start(3), eta=0.05, **rule)
    options = {"k": 7, "local_steps": 3, "momentum": 0.6, "weight_decay": 0.05}
    options |= {"codec": "topk", "downlink": downlink, "rounds": 20, "lr": 0.05}
    found = on_the_board("qsparse-local-sgd", **options)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("local-sgd", {"local_steps": 4}),
        ("ef-signsgd", {}),
        ("qsparse-local-sgd", {"downlink": "model", "k": 10}),
        ("sgd", {"weight_decay": 0.1, "reduce": "mean"}),
        ("dist-ef-sgdm", {"downlink": "model", "weight_decay": 0.1}),
    ],
)
def test_a_fine_model_downlink_is_as_good_as_floats(algorithm, options):
    options = {"lr": 0.05, "batch": 20, "rounds": 200, "dtype": "float64"} | options
    exact = go(algorithm, **options)
    fine = go(algorithm, down_codec="uniform", bits_down=16, **options)
    distance = np.abs(exact.x - fine.x).max()
    assert 0 < distance < 0.02 * np.abs(exact.x).max()


def test_float32_models_of_a_float64_run_are_no_error():
    for options in ({"bits_down": 32}, {"down_codec": "dense:bits=32"}):
        run = go("sgd", dtype="float64", check_every=5, batch=20, lr=0.3, **options)
        assert run.summary["residual"] < 1


def test_bits_down_keeps_the_other_options_of_the_codec():
    options = {"codec": "qtopk", "k": 0.5, "bits": 4}
    one = go("dist-ef-sgd", **options).summary
    two = go("dist-ef-sgd", bits_down=4, **options).summary
    assert one["paper_bits_down"] == two["paper_bits_down"]


@pytest.mark.parametrize(
    ("options", "sparse"),
    [
        ({"codec": "topk:k=0.1"}, True),
        ({"codec": "bernoulli:k=0.1,scaled"}, True),
        ({"codec": "topk:k=0.1+topk:k=0.1"}, True),
        ({"codec": "stochastic:bits=6,scaled"}, False),
    ],
)
def test_sums_of_few_entries_are_sent_as_their_union(options, sparse):
    data = "synthetic:softmax,samples=120,features=40,classes=3"
    s = go("qsparse-local-sgd", data=data, **options).summary
    dense = 32 * 123 * 3 * 60
    assert (s["paper_bits_down"] < 0.8 * dense) == sparse


@pytest.mark.parametrize("algorithm", ["laq", "lag-wk", "slaq", "lag-ps"])
def test_lazy_methods_take_a_step_of_zero(algorithm):
    options = {"batch": 20} if algorithm == "slaq" else {}
    run = go(algorithm, lr=0.3, lr_schedule="warmup0:3", rounds=300, **options)
    assert run.summary["residual"] < 1e-2


# Steps of a power of two, and as many workers: scaling gradients is exact.
MEAN_OF_4 = ("sgd", {"reduce": "mean", "workers": 4, "batch": 8})
FINE = {"bits": 8}  # omega < 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("laq", {"lazy_weight": 0.0, "error_weight": 0.0}), ("qgd", {})),
        (("laq", {"max_skip": 0}), ("qgd", {})),
        (("random-selection", {"probability": 1.0}), ("qgd", {})),
        (("laq", {"codec": "dense", "error_weight": 0.0}), ("lag-wk", {})),
        (("slaq", {"batch": None, "bits": 4}), ("laq", {"bits": 4})),
        (("sgd", {"batch": None}), ("gd", {})),
        (("qsgd", {"codec": "dense", "batch": 9}), ("sgd", {"batch": 9})),
        (("ssgd", {"codec": "dense", "batch": 9}), ("sgd", {"batch": 9})),
        (("compressed-gd", {"codec": "dense"}), ("gd", {})),
        (("gd", {"reduce": "mean", "lr": 0.75}), ("gd", {"lr": 0.25})),
        (("sgd", {"downlink": "update"}), ("sgd", {})),
        (("topk-sgd", {"downlink": "model"}), ("topk-sgd", {})),
        (("mem-sgd", {}), ("topk-sgd", {})),
        (("qsparse-local-sgd", {"local_steps": 1}), ("signtopk", {})),
        (("qsparse-local-sgd", {"local_steps": 1, "codec": "topk"}), ("topk-sgd", {})),
        (
            ("qsparse-local-sgd", {"local_steps": 1, "codec": "qtopk"}),
            ("qtopk", {}),
        ),
        (
            ("qsparse-local-sgd", {"codec": "dense", "downlink": "model"}),
            ("local-sgd", {"local_steps": 8}),
        ),
        (
            ("qsparse-local-sgd", {"local_steps": 1, "codec": "sign"}),
            ("ef-signsgd", {}),
        ),
        (
            ("qsparse-local-sgd", {"local_steps": 1, "schedule": "async"}),
            ("signtopk", {"downlink": "model"}),
        ),
        (("local-sgd", {"local_steps": 1, "workers": 4}), MEAN_OF_4),
        (("topk-sgd", {"k": 30, "workers": 4}), MEAN_OF_4),
        (("dist-ef-sgdm", {"momentum": 0.0}), ("dist-ef-sgd", {})),
        (("dist-ef-sgd", {"rescale": False}), ("doublesqueeze", {})),
        (("dist-ef-sgd", {}), ("doublesqueeze", {})),  # nothing to rescale
        (("dist-ef-sgd", {"codec": "dense"}), ("sgd", {"reduce": "mean"})),
        (
            ("dist-ef-sgdm", {"codec": "dense", "weight_decay": 0.01}),
            ("sgd", {"reduce": "mean", "momentum": 0.9, "weight_decay": 0.01}),
        ),
        (("signum", {"momentum": 0.0}), ("signsgd", {})),
        (
            ("ecq-sgd", {"feedback_weight": 1.0, "feedback_decay": 1.0} | FINE),
            ("dist-ef-sgd", {"codec": "stochastic", "downlink": "model"} | FINE),
        ),
        (
            ("ecq-sgd", {"feedback_weight": 0.0}),
            ("qsgd", {"reduce": "mean", "bits": 4}),
        ),
        (("terngrad", {"clip": 0.0}), ("sgd", {"codec": "ternary"})),
    ],
)
def test_it_collapses_to_its_baseline(one, other):
    shared = {"lr": 0.25}
    a = go(one[0], **shared | one[1])
    b = go(other[0], **shared | other[1])
    assert same(a, b)
    assert a.summary["uploads"] == b.summary["uploads"]


def test_lag_ps_asks_everybody_when_its_bound_is_zero():
    # The innovation's float additions differ from the gradient's, so not bit for bit.
    a, b = go("lag-ps", lr=0.3, lazy_weight=0.0), go("gd", lr=0.3)
    assert a.summary["uploads"] == b.summary["uploads"]
    np.testing.assert_allclose(a.x, b.x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("codec", ["uniform", "stochastic"])
def test_the_downlink_can_be_quantised_too(codec):
    plain = go("laq", lr=0.3, bits=4, rounds=400)
    both = go("laq", lr=0.3, bits=4, rounds=400, down_codec=codec, bits_down=8)
    assert both.summary["residual"] < 1e-5
    assert both.summary["paper_bits_down"] < plain.summary["paper_bits_down"] / 2


def test_laq_joins_with_error_compensated_topk():
    dense = go("lag-wk", lr=0.3, rounds=400)
    sparse = go("laq", codec="topk", k=6, lr=0.3, rounds=800)
    assert sparse.summary["residual"] < 1e-6
    assert sparse.summary["uploads"] < 3 * 800 / 2
    assert sparse.summary["paper_bits_up"] < dense.summary["paper_bits_up"]


@pytest.mark.parametrize("algorithm", ["laq", "random-selection"])
def test_the_server_holds_the_sum_of_what_workers_hold(algorithm):
    run = config.configure(algorithm, data=QUADRATIC, lr=0.3, dtype="float64")
    chosen, problem = run.build(), make_problem(QUADRATIC, dtype=np.float64)
    plan = Plan(
        workers=3, rounds=50, dim=problem.dim, bounds=problem.bounds, dtype=np.float64
    )
    wire = chosen.wire(plan)
    scheduler, transports = local.connect(4)
    server = ServerEnd(transports[0], wire, plan)
    workers = [WorkerEnd(t, wire, plan) for t in transports[1:]]
    shards = [problem.shard(m, 3) for m in range(3)]
    state = chosen.server_state(server, problem, plan)
    states = [
        chosen.worker_state(w, s, plan) for w, s in zip(workers, shards, strict=True)
    ]

    def serve():
        for _ in chosen.server(server, plan, state):
            pass
        server.stop()

    def work(m):
        with pytest.raises(Stopped):
            chosen.worker(workers[m], shards[m], plan, states[m])
        workers[m].leave()

    scheduler.run([serve, *(lambda m=m: work(m) for m in range(3))])
    held = sum(s.up.reference for s in states)
    np.testing.assert_allclose(state.sum, held, rtol=1e-12, atol=1e-12)
    for s in states:
        assert s.round == 50


def test_dynamic_averaging_saves_when_nobody_drifts():
    calm = go("dynamic-averaging", lr=0.1, delta=1e9, batch=20)
    busy = go("dynamic-averaging", lr=0.1, delta=0.0, batch=20)
    assert calm.summary["uploads"] == 0
    assert busy.summary["uploads"] == 3 * 60


def test_dynamic_averaging_balances_with_a_part_of_the_workers():
    some = go("dynamic-averaging", lr=0.05, delta=0.5, batch=20, workers=5)
    assert 0 < some.summary["uploads"] < 5 * 60


def test_paper_bits_are_those_of_the_formula():
    result = go("laq", bits=3, lr=0.3)
    assert result.summary["paper_bits_up"] == (32 + 3 * 30) * result.summary["uploads"]
    assert result.summary["paper_bits_down"] == 32 * 30 * 3 * 60


@pytest.mark.parametrize(
    ("algorithm", "given", "message"),
    [
        ("laq", {"codec": "unifrom"}, "did you mean uniform"),
        ("laq", {"codec": "topk", "bits": 3}, "topk: there is no option 'bits'"),
        ("laq", {"bits": 17}, "bits"),
        ("laq", {"codec": "topk", "k": 31.0}, "k"),
        ("sgd", {"batch": 100_000}, "more than the"),
        ("gd", {"data": "synthetic:softmax,samples=5", "workers": 6}, "workers"),
        ("gd", {"until": ("accuracy=0.9",)}, "accuracy"),
        ("gd", {"until": ("residual=1",), "optimum": False}, "needs the optimum"),
        ("topk-sgd", {"k": 0}, "k must be"),
        ("signtopk", {"k": 31}, "at most 30"),
        ("qsparse-local-sgd", {"local_steps": 0}, "local-steps: must be at least 1"),
        ("qsparse-local-sgd", {"schedule": "random"}, "must be sync or async"),
        (
            "qsparse-local-sgd",
            {"schedule": "async", "downlink": "update"},
            "a sum that all workers need",
        ),
        (
            "qsparse-local-sgd",
            {"schedule": "async", "down_codec": "uniform"},
            "async sends whole models",
        ),
        (
            "dist-ef-sgd",
            {"codec": "stochastic", "bits": 1},
            r"^dist-ef-sgd: .* may lose 5.48 .*--scaled",
        ),
        ("dist-ef-sgd", {"codec": "plane"}, "may lose inf"),
        ("qtopk", {"k": 30, "bits": 1, "scaled": False}, "scaled"),
        ("sgd", {"downlink": "feedback", "down_codec": "uniform:bits=1"}, "may lose"),
        ("ecq-sgd", {"bits": 1, "feedback_weight": 1.0}, "is not below 1"),
        ("dist-ef-sgd", {"blocks": "tensors"}, "none, layers or a number"),
        ("dist-ef-sgd", {"blocks": 0}, "none, layers or a number"),
        ("dist-ef-sgd", {"codec": "sign:bounds=3"}, "bounds"),
        ("dist-ef-sgd", {"codec": "sign:blok=3"}, "no option 'blok'"),
        ("dist-ef-sgd", {"codec": "sign+dense"}, "can't take turns over 1 blocks"),
        ("dist-ef-sgd", {"scaled": True}, "takes an unbiased codec"),
        ("topk-sgd", {"blocks": 4, "codec": "dense"}, "blocks"),
        ("dist-ef-sgdm", {"momentum": 1.0}, "momentum: must be at least 0 and below"),
        ("dist-ef-sgdm", {"weight_decay": -1.0}, "weight-decay: must not be"),
        ("sgd", {"downlink": "tree"}, "downlink: must be one of model, update"),
        ("ssgd", {"k": 1000}, "at most 30"),
        ("ssgd", {"codec": "wangni", "k": 1000}, "at most 30"),
        ("dist-ef-sgd", {"codec": "sign:block"}, "block must be an integer"),
        ("sgd", {"batch": "3"}, "batch must be a whole number, got '3'"),
        ("sgd", {"lr": None}, "lr must be a number, got None"),
        ("qsparse-local-sgd", {"local_steps": 2.5}, "local-steps must be a whole"),
        ("qsparse-local-sgd", {"local_steps": True}, "local-steps must be a whole"),
        ("dist-ef-sgd", {"blocks": 2.5}, "blocks must be a whole number or text"),
        ("dist-ef-sgd", {"codec": ["sign", "dense"]}, "codec must be text"),
        ("sgd", {"lr_schedule": "drop:inf@3"}, "can't read"),
        ("sgd", {"lr_schedule": "drop:0.1@-1"}, "can't read"),
    ],
)
def test_what_cannot_run_is_refused(algorithm, given, message):
    with pytest.raises(ConfigError, match=message):
        go(algorithm, **given)


def test_divergence_is_told():
    with pytest.raises(Diverged, match=r"the server, round \d+: .*lower --lr"):
        go("gd", lr=1e30)


@pytest.mark.parametrize(("id", "options", "residual"), ROWS, ids=IDS)
def test_states_hold_all_that_survives_a_round(id, options, residual):
    """A state is a dataclass: what a checkpoint will walk over."""
    chosen = config.configure(id, data=QUADRATIC, **options).build()
    problem = make_problem(QUADRATIC)
    plan = Plan(workers=2, rounds=1, dim=problem.dim, bounds=problem.bounds)
    _, transports = local.connect(3)
    server = ServerEnd(transports[0], chosen.wire(plan), plan)
    worker = WorkerEnd(transports[1], chosen.wire(plan), plan)
    for state in (
        chosen.server_state(server, problem, plan),
        chosen.worker_state(worker, problem.shard(0, 2), plan),
    ):
        assert "round" in {field.name for field in dataclasses.fields(state)}
        assert not any(isinstance(v, Codec) for v in vars(state).values())


class Spoilt(Quadratic):
    """The quadratic, with one gradient that is not finite."""

    def grad(self, x, out, batch=None):
        loss = super().grad(x, out, batch)
        self.calls = getattr(self, "calls", 0) + 1
        if self.worker == 1 and self.calls == 7:
            out[4] = np.nan
        return loss


@pytest.mark.parametrize("algorithm", ["sgd", "qsparse-local-sgd", "signsgd"])
def test_a_gradient_that_is_not_finite_is_named(algorithm):
    whole = Spoilt(dim=30)
    with pytest.raises(
        Diverged,
        match=r"worker 1, round \d: the gradient's entry 4 is nan over the batch of "
        r"samples \d+, .*of the shard \(1 of 30 entries",
    ):
        go(algorithm, problem=whole, batch=9)


class Drifting(Quadratic):
    """The quadratic, with a worker that changes its model behind psmpi's back."""

    def grad(self, x, out, batch=None):
        self.calls = getattr(self, "calls", 0) + 1
        if self.worker == 2 and self.calls == 13:
            x[3] += 1
        return super().grad(x, out, batch)


@pytest.mark.parametrize("algorithm", ["dist-ef-sgd", "signum", "sgd"])
def test_models_that_differ_are_found(algorithm):
    given = {"downlink": "update"} if algorithm == "sgd" else {}
    with pytest.raises(LinkError, match="round 15: the model of worker 2 is not the"):
        go(algorithm, problem=Drifting(dim=30), check_every=5, **given)
    go(algorithm, problem=Drifting(dim=30), check_every=0, **given)


def test_models_are_compared_where_all_ranks_hold_one():
    plain, compared = go("dist-ef-sgd", check_every=0), go("dist-ef-sgd", check_every=6)
    assert same(plain, compared)
    extra = compared.summary["wire_bytes_up"] - plain.summary["wire_bytes_up"]
    assert extra == 3 * 11 * (16 + 4)
    assert compared.summary["paper_bits_up"] == plain.summary["paper_bits_up"]
    assert compared.summary["uploads"] == plain.summary["uploads"]
    lazy = [go("laq", check_every=n).summary["wire_bytes_up"] for n in (0, 6)]
    assert lazy[0] == lazy[1]


def test_an_asynchronous_worker_sends_within_the_gap():
    run = go("qsparse-local-sgd", local_steps=4, schedule="async", k=5)
    sync = go("qsparse-local-sgd", local_steps=4, k=5)
    assert sync.summary["uploads"] == 3 * 60
    assert 3 * 60 * 1.3 < run.summary["uploads"] < 3 * 60 * 1.9  # 2 H / (H + 1) = 1.6
    # whoever has sent receives the model
    bits = run.summary["paper_bits_down"]
    assert bits == 32 * 30 * run.summary["uploads"]


@pytest.mark.parametrize("algorithm", ["local-sgd", "dynamic-averaging"])
def test_the_horizon_counts_local_steps(algorithm):
    how = {"local_steps": 4, "rounds": 16, "batch": 20}  # T = 64
    a = go(algorithm, lr=0.4, lr_schedule="horizon", **how)
    assert same(a, go(algorithm, lr=0.05, **how))


def test_two_way_bits_of_dist_ef_are_the_formula():
    s = go("dist-ef-sgd", blocks=10).summary
    assert s["paper_bits_up"] == s["paper_bits_down"] == 60 * 3 * (30 + 3 * 32)


def test_a_warm_up_from_zero_begins_where_it_stands():
    run = go("dist-ef-sgdm", lr=0.03, lr_schedule="warmup0:10", rounds=1)
    assert run.x.tobytes() == make_problem(QUADRATIC).start(3).tobytes()
    assert go("dist-ef-sgdm", lr=0.03, lr_schedule="warmup0:10").summary["residual"] < 1


@pytest.mark.parametrize("blocks", ["none", "layers", 7])
@pytest.mark.parametrize("down", ["sign", "stochastic:bits=6,scaled", "topk:k=0.2"])
def test_piecewise_and_blocks_in_both_directions(blocks, down):
    data = "synthetic:softmax,samples=120,features=9,classes=3"
    options = {"codec": "signtopk:k=0.3+dense", "down_codec": down, "blocks": blocks}
    a = go("dist-ef-sgd", data=data, batch=10, lr=0.5, rounds=200, **options)
    assert a.summary["residual"] < 0.1
    b = go("dist-ef-sgd", data=data, batch=10, lr=0.5, rounds=200, turns=2, **options)
    assert same(a, b)


def test_gradients_of_zero_leave_everything_alone():
    class Flat(Quadratic):
        def grad(self, x, out, batch=None):
            out[:] = 0
            return 0.0

    for algorithm in ("dist-ef-sgdm", "qsparse-local-sgd", "terngrad", "adacomp"):
        run = go(algorithm, problem=Flat(dim=30))
        assert run.x.tobytes() == Flat(dim=30).start(3).tobytes()
