"""AsyLPG: on the board, the age of gradients, differences, refusals."""

import numpy as np
import pytest

from psmpi import base, random
from psmpi.algorithms import asylpg, find
from psmpi.base import ConfigError, Plan
from psmpi.codecs import Dense
from psmpi.links.metering import MeteredProblem
from psmpi.links.server import ServerEnd
from psmpi.problems import Quadratic, make_problem
from psmpi.runs import config
from psmpi.runs.local import run_local
from tests.helpers.asylpg_runs import SOFTMAX, go
from tests.reference import naive_algorithms as naive

SPARSE = "synthetic:softmax,samples=90,features=40,classes=3,density=0.1"
QUADRATIC = "synthetic:quadratic,dim=12,condition=10"
OF_DATA = ("l1", "l2", "partition", "seed")
FAMILY = [
    *("asylpg", "sparse-asylpg", "acc-asylpg", "asysvrg", "qsvrg"),
    *("low-precision-model", "sparse-asysvrg"),
]


def functions(data, workers, **options):
    """Return the whole problem without ridge, the shards' gradients, and draws."""
    options = {"seed": 3} | options
    whole = make_problem(data, dtype=np.float64, **options).without_ridge()
    shards = [whole.shard(m, workers) for m in range(workers)]

    def of(problem):
        def gradient(x, batch=None):
            out = np.empty_like(x)
            problem.grad(x, out, batch)
            return out

        return gradient

    def draw(m, k):
        return shards[m].batch(random.key(3, "batch", m, k), 7)

    return whole, [of(shard) for shard in shards], of(whole), draw


@pytest.fixture
def served(monkeypatch):
    """The order in which the server took the workers' answers."""
    order, recv = [], ServerEnd.recv

    def noting(self, workers=None):
        worker, frame = recv(self, workers)
        order.append(worker)
        return worker, frame

    monkeypatch.setattr(ServerEnd, "recv", noting)
    return order


EXACT = {"acc-asylpg": {"codec": "dense", "mu": 1e-300}, "asysvrg": {}}


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("tau", [1, 2, 6])
@pytest.mark.parametrize(
    ("l1", "l2", "partition"),
    [(0.0, 0.0, "contiguous"), (0.02, 0.1, "by-label"), (0.0, 0.1, "all")],
)
def test_it_is_as_on_the_board(served, algorithm, tau, l1, l2, partition):
    turns = tau + 7
    of_data = {"l1": l1, "l2": l2, "partition": partition}
    _, parts, full, draw = functions(SOFTMAX, 3, **of_data)
    options = EXACT[algorithm] | {"epoch": 9, "staleness": tau}
    result = go(algorithm, turns=turns, **options, **of_data)
    start = make_problem(SOFTMAX, dtype=np.float64).start(3)
    rule = {"eta": 0.3, "length": 9, "tau": tau, "l1": l1, "l2": l2}
    rule["accelerated"] = algorithm == "acc-asylpg"
    expected, late = naive.asylpg(parts, draw, full, start, served, **rule)
    assert len(served) == 40
    np.testing.assert_allclose(result.x, expected[-1], rtol=1e-10, atol=1e-13)
    whole = make_problem(SOFTMAX, dtype=np.float64, **of_data)
    losses = [whole.loss(x) for x in expected]
    np.testing.assert_allclose([r["loss"] for r in result.rows], losses, rtol=1e-12)
    assert result.summary["late"] == late
    assert late > 0
    if algorithm == "asysvrg":  # the accelerated one has its zeros in y
        assert (result.x == 0).any() == (l1 > 0)


def test_one_worker_is_plain_proximal_svrg():
    _, (gradient,), _, draw = functions(SOFTMAX, 1)
    start = make_problem(SOFTMAX, dtype=np.float64).start(3)
    rule = {"eta": 0.3, "length": 8, "epochs": 5, "l1": 0.01, "l2": 0.1}
    messages = lambda s, i: draw(0, 9 * s + 1 + i)  # noqa: E731
    expected = naive.prox_svrg(gradient, messages, start, **rule)
    for tau in (1, 5):
        how = {"epoch": 8, "staleness": tau, "l1": 0.01, "l2": 0.1}
        result = go("asysvrg", workers=1, **how)
        np.testing.assert_allclose(result.x, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("l1", [0.0, 0.02])
def test_batches_of_everything_are_proximal_gradient_descent(l1):
    how = {"l1": l1, "l2": 0.1, "batch": 60, "partition": "all", "workers": 1}
    result = go("asysvrg", epoch=4, **how)
    _, _, full, _ = functions(SOFTMAX, 1)
    x = make_problem(SOFTMAX, dtype=np.float64).start(3)
    for _ in range(40):
        x = naive.prox(x - 0.3 * full(x), 0.3, l1, 0.1)
    np.testing.assert_allclose(result.x, x, rtol=1e-11, atol=1e-14)


@pytest.fixture(scope="module", params=[0.0, 0.02])
def optimum(request):
    """(l1, the least loss), by proximal gradient descent on the board."""
    l1 = request.param
    _, _, full, _ = functions(SOFTMAX, 1)
    whole = make_problem(SOFTMAX, dtype=np.float64, l1=l1, l2=0.1)
    x = whole.start(3)
    for _ in range(2000):
        x = naive.prox(x - full(x), 1.0, l1, 0.1)
    if not l1:
        assert abs(whole.loss(x) - whole.optimum()) < 1e-12
    return l1, whole.loss(x)


@pytest.mark.parametrize("algorithm", FAMILY)
def test_it_gets_to_the_optimum_of_ridge_and_l1(optimum, algorithm):
    l1, least = optimum
    how = {"l1": l1, "l2": 0.1, "rounds": 600, "evaluate_every": 600, "staleness": 1}
    result = go(algorithm, epoch=20, batch=15, partition="all", **how)
    assert result.rows[0]["loss"] > least + 0.1
    limit = 1e-4 if algorithm == "acc-asylpg" else 1e-7  # its steps grow with epochs
    assert -1e-12 < result.summary["loss"] - least < limit


@pytest.mark.parametrize("tau", [1, 2, 3, 4, 8])
def test_nobody_is_older_than_tau_whatever_the_turns(monkeypatch, served, tau):
    out, urgent = [], asylpg.urgent

    def noting(ages, t, bound):
        out.append((t, dict(ages)))
        return urgent(ages, t, bound)

    monkeypatch.setattr(asylpg, "urgent", noting)
    quick = {"rounds": 60, "epoch": 20, "evaluate_every": 60, "optimum": False}
    quick |= {"data": QUADRATIC, "workers": 4, "staleness": tau}
    ages = set()
    for seed in range(15):
        served.clear()
        summary = go("asylpg", turns=seed, **quick).summary
        ages |= {int(age) for age in summary["staleness"]}
        assert sum(summary["staleness"].values()) == len(served) == 60
        assert set(served) == {0, 1, 2, 3}
        assert summary["arrivals"] == [served.count(m) for m in range(4)]
    assert max(ages) == tau  # and schedules were hostile enough to get there
    assert {len(them) for _, them in out} == {min(tau + 1, 4)}
    assert all(t - then <= tau for t, them in out for then in them.values())


@pytest.mark.parametrize("tau", [1, 2, 3, 8])
@pytest.mark.parametrize("speeds", ["constant:100", "exponential:100"])
def test_the_slowest_is_waited_for(tau, speeds):
    how = {"workers": 4, "staleness": tau, "slow": "0:20x", "speeds": speeds}
    how |= {"data": QUADRATIC, "evaluate_every": 60, "rounds": 60, "epoch": 60}
    summary = go("asylpg", **how).summary
    assert max(map(int, summary["staleness"])) == tau
    assert min(summary["arrivals"]) >= 60 // max(tau + 1, 4) - 1
    assert summary["arrivals"][0] == min(summary["arrivals"])
    assert summary["late"] == 0


def test_urgent_is_neither_too_strict_nor_too_lax():
    """Whom it names can be served now without lateness, and nobody else can."""

    def fits(ages, t, tau):
        """Whether all can still be in time, served by age."""
        order = sorted(ages.values())
        return all(t + i <= then + tau for i, then in enumerate(order))

    draw = np.random.default_rng(4)
    checked = 0
    for _ in range(3000):
        tau, t = int(draw.integers(1, 7)), 9
        thens = draw.integers(t - tau, t + 1, draw.integers(1, 6))
        ages = dict(enumerate(thens.tolist()))
        if not fits(ages, t, tau):
            continue
        named = asylpg.urgent(ages, t, tau)
        for worker in ages:
            rest = {m: then for m, then in ages.items() if m != worker}
            assert fits(rest, t + 1, tau) == (worker in named)
            checked += worker not in named
    assert checked > 100


def test_a_slow_worker_may_be_late_in_every_epoch():
    how = {"workers": 3, "slow": "0:20x", "speeds": "constant:100", "rounds": 60}
    summary = go("asylpg", data=QUADRATIC, epoch=6, **how).summary
    assert summary["late"] >= 9
    # Its first answer in an epoch takes no time, as it is to the snapshot itself.
    assert summary["arrivals"][0] == 10
    frames = 60 + summary["late"] + 3 * 10  # with gradients of snapshots
    # what still is on its way when the run ends is counted as well, not as late
    assert frames <= summary["uploads"] <= frames + 2


@pytest.mark.parametrize("algorithm", ["asylpg", "sparse-asylpg", "sparse-asysvrg"])
def test_differences_are_unbiased_as_they_are_sent(algorithm):
    chosen = find(algorithm)()
    whole = make_problem(SPARSE, dtype=np.float64).without_ridge().shard(1, 3)
    plan = Plan(workers=3, rounds=1, dim=whole.dim, bounds=whole.bounds)
    up = chosen.wire(plan).up
    coded = up.part(asylpg.CODED)
    x, alpha = whole.start(1), np.zeros(whole.dim)
    support = whole.difference(x, 0.5 * x, alpha, np.arange(3))
    assert support is not None
    total, squares, n = np.zeros(whole.dim), np.zeros(whole.dim), 4000
    for k in range(n):
        key = random.key(0, "up", 1, k)
        frame = coded.encode_at(support, alpha[support], whole.dim, key=key)
        once = up.decode(frame, whole.dim, dtype=np.float64)
        total += once
        squares += once**2
    error = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0) / n)
    assert error.max() > 0
    assert (np.abs(total / n - alpha) <= 5 * error + 1e-6 * np.abs(alpha)).all()


SPARSELY = {"data": SPARSE, "batch": 4, "rounds": 60, "epoch": 15, "optimum": False}


@pytest.mark.parametrize("algorithm", FAMILY)
def test_knowing_where_differences_are_0_changes_no_bit(monkeypatch, algorithm):
    few = go(algorithm, **SPARSELY)
    difference, supports = MeteredProblem.difference, []

    def forgetful(self, x, reference, out, batch=None):
        supports.append(difference(self, x, reference, out, batch))

    monkeypatch.setattr(MeteredProblem, "difference", forgetful)
    all_of_it = go(algorithm, **SPARSELY)
    assert any(s is not None and 0 < s.size < 123 for s in supports)
    assert few.x.tobytes() == all_of_it.x.tobytes()
    for key in ("paper_bits_up", "paper_bits_down", "wire_bytes_up"):
        assert few.summary[key] == all_of_it.summary[key]


@pytest.mark.parametrize("algorithm", ["asylpg", "asysvrg", "sparse-asylpg"])
def test_sparse_differences_are_those_of_two_gradients(monkeypatch, algorithm):
    few = go(algorithm, **SPARSELY)
    cls = type(make_problem(SPARSE))
    monkeypatch.setattr(cls, "difference", base.Problem.difference)
    dense = go(algorithm, **SPARSELY)
    np.testing.assert_allclose(few.x, dense.x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("partition", ["contiguous", "by-label", "dirichlet", "all"])
def test_G_is_the_full_gradient(monkeypatch, partition):
    _, _, full, _ = functions(SOFTMAX, 7, l2=0.1, partition=partition)
    begin, checked = asylpg.AsyLpg._begin_epoch, []

    def checking(self, link, plan, s, exact):
        begin(self, link, plan, s, exact)
        np.testing.assert_allclose(s.full, full(s.snapshot), rtol=1e-12, atol=1e-14)
        checked.append(s.epoch)

    monkeypatch.setattr(asylpg.AsyLpg, "_begin_epoch", checking)
    how = {
        "batch": 1,
        "partition": partition,
        "epoch": 10,
        "turns": 2,
        "workers": 7,
    }  # parts of 8 and of 9
    assert go("asylpg", l2=0.1, **how).summary["epochs"] == 4
    assert checked == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("algorithm", "given", "message"),
    [
        ("asylpg", {"staleness": 0}, "staleness: tau must be at least 1, got 0"),
        ("asylpg", {"epoch": 0}, "epoch: m must be at least 1, got 0"),
        ("asylpg", {"batch": 0}, "batch: samples must be at least 1, got 0"),
        ("asylpg", {"mu": 0.0}, "mu: must be a positive number, got 0.0"),
        ("asylpg", {"mu": -1.0}, "mu: must be a positive number, got -1.0"),
        ("asylpg", {"mu": np.nan}, "mu: must be a positive number, got nan"),
        ("asylpg", {"mu": 0.5, "bits_down": 8}, "mu: 0.5 lets a rule .* --bits-down 8"),
        ("asylpg", {"bits_down": 1}, "bits-down: a model's grid has 2 to 17 bits"),
        ("asylpg", {"max_bits": 18}, "max-bits: a model's grid has 2 to 17 bits"),
        ("asylpg", {"bits": 0}, "grid has 2 to 17 bits, signs included, got 0"),
        ("asylpg", {"bits": 1}, "grid has 2 to 17 bits, signs included, got 1"),
        (
            "asylpg",
            {"codec": "sign"},
            "codec: asylpg needs an unbiased codec, got sign",
        ),
        ("asylpg", {"codec": "stochastic:bits=4,scaled"}, "needs an unbiased codec"),
        ("sparse-asylpg", {"bits": 4}, "sparsesign: there is no option 'bits'"),
        ("asysvrg", {"mu": 0.5}, "asysvrg: there is no option --mu"),
        ("qsvrg", {"bits_down": 5}, "qsvrg: there is no option --bits-down"),
        ("low-precision-model", {"bits": 5}, "there is no option --bits"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(algorithm, given, message):
    with pytest.raises(ConfigError, match=message):
        config.configure(algorithm, **given)


@pytest.mark.parametrize("algorithm", ["gd", "laq", "dist-ef-sgd", "dsgd"])
def test_l1_is_for_methods_with_a_proximal_step(algorithm):
    how = {"topology": "ring"} if algorithm == "dsgd" else {}
    with pytest.raises(ConfigError, match=f"l1: {algorithm} has no proximal step"):
        run_local(config.configure(algorithm, data=SOFTMAX, l1=0.1, **how))


def test_a_ridge_that_cannot_be_taken_apart_is_refused():
    class Ridged(Quadratic):
        l2 = 0.1

    with pytest.raises(ConfigError, match=r"^Ridged: its ridge .* can't be taken"):
        go("asylpg", problem=Ridged(dim=5, dtype=np.float64))


def test_exact_gradients_travel_as_floats():
    plan = Plan(workers=2, rounds=1, dim=3, bounds=(0, 3), dtype=np.float64)
    wire = find("asylpg")().wire(plan)
    assert wire.up.parts[asylpg.EXACT] == wire.down.parts[asylpg.EXACT] == Dense(64)


def test_naming_the_default_codec_means_the_default():
    plain, named = find("asylpg")(bits=3), find("asylpg")(codec="stochastic", bits=3)
    plan = Plan(workers=2, rounds=9, dim=8, bounds=(0, 8))
    assert plain.wire(plan) == named.wire(plan)
    other = find("asylpg")(codec="stochastic:bits=3")
    assert other.wire(plan) != named.wire(plan)
    sparse = find("sparse-asylpg")(codec="stochastic")
    assert sparse.wire(plan) == find("asylpg")().wire(plan)


def test_the_effective_settings_are_told():
    plan = Plan(workers=3, rounds=9, dim=8, bounds=(0, 8))
    effective = find("asylpg")().effective(plan)
    assert effective["codec"] == "stochastic:bits=3,norm=max"
    assert (effective["staleness"], effective["mu"]) == (6, 0.5)
    assert "mu" not in find("asylpg")(bits_down=5).effective(plan)
    assert find("qsvrg")().effective(plan)["down_codec"] == "dense"
    assert find("dsgd")().effective(plan) == {"topology": "ring"}
