"""Decentralised SGD: on the board, mixing, deadlines."""

import itertools

import numpy as np
import pytest

from psmpi import random
from psmpi.algorithms import find, gossip, gossip_options
from psmpi.base import ConfigError, Plan, PsmpiError
from psmpi.codecs import Decimal
from psmpi.links.compute_speed import Speeds
from psmpi.parts import topology as graphs
from psmpi.problems import Quadratic, make_problem
from psmpi.runs import config, mpi, setup
from psmpi.runs.local import run_local
from psmpi.runs.record import dense_bits
from psmpi.runs.recorded import read_decisions, read_run
from tests.reference import naive_algorithms as naive

SOFTMAX = "synthetic:softmax,samples=120,features=5,classes=3"
QUADRATIC = "synthetic:quadratic,dim=7,condition=10,heterogeneity=1"


def made(algorithm, **given):
    how = {"data": SOFTMAX, "workers": 5, "rounds": 30, "batch": 6, "lr": 0.2}
    how |= {"dtype": "float64", "topology": "ring", "seed": 3} | given
    return config.configure(algorithm, **how)


def go(algorithm, *, turns=None, problem=None, out=None, **given):
    run = made(algorithm, **given)
    return run_local(run, schedule=turns, problem=problem, out=out)


def gradients(n, size=6):
    """Return the start, and each node's gradient of a round's batch."""
    whole = make_problem(SOFTMAX, dtype=np.float64, seed=3)

    def of(i):
        shard = whole.shard(i, n)

        def gradient(x, k):
            out = np.empty_like(x)
            shard.grad(x, out, shard.batch(random.key(3, "batch", i, k), size))
            return out

        return gradient

    return whole.start(3), [of(i) for i in range(n)]


@pytest.fixture
def models(monkeypatch):
    """{(node, round): (its model, what it sends, its gradient)} of the last run."""
    found = {}
    for cls in (gossip.Gossip, gossip.AsyncDsgd):
        mix = cls.mix

        def noting(self, link, s, weights, key, mix=mix):
            frame = link.up.encode(s.x, key=key)
            z = link.up.decode(frame, s.x.size, dtype=np.float64)
            found[link.worker, s.round] = s.x.copy(), z, s.gradient.copy()
            mix(self, link, s, weights, key)

        monkeypatch.setattr(cls, "mix", noting)
    return found


@pytest.mark.parametrize("topology", ["ring", "star", "complete", "erdos-renyi:0.6"])
@pytest.mark.parametrize("weights", ["metropolis", "laplacian"])
@pytest.mark.parametrize("algorithm", ["dsgd", "q-dsgd"])
def test_it_is_as_on_the_board(algorithm, topology, weights):
    start, parts = gradients(5)
    W = graphs.weights(graphs.graph(topology, 5, 3), weights)
    rule = {"alpha": 0.2, "eps": 1.0, "rounds": 30}
    options = {}
    if algorithm == "q-dsgd":
        rule |= {"alpha": 0.2 / 30 ** (1 / 6), "eps": 2.0 / 30**0.5}
        options = {"lr": 0.2, "rule": "nonconvex", "mixing": 2.0}
        options |= {"codec": "decimal:digits=2"}
        codec = Decimal(digits=2)

        def quantise(x, i, k):
            key = random.key(3, "up", i, k)
            return codec.decode(codec.encode(x, key=key), x.size, dtype=np.float64)

        rule["quantise"] = quantise
    expected = naive.gossip(parts, np.tile(start, (5, 1)), W, **rule)
    options |= {"topology": topology, "weights": weights, "evaluate_every": 1}
    result = go(algorithm, turns=2, **options)
    np.testing.assert_allclose(result.x, expected[-1].mean(0), rtol=1e-11, atol=1e-13)
    spread = [np.sum((X - X.mean(0)) ** 2) / 5 for X in expected]
    found = [row["consensus"] for row in result.rows]
    np.testing.assert_allclose(found, spread, rtol=1e-9, atol=1e-20)
    assert spread[-1] > 1e-6


def test_relayed_frames_are_the_same_frames():
    how = {"mixing": 0.5, "rule": "constant"}
    direct, relayed = go("q-dsgd", **how), go("q-dsgd", relay=True, turns=1, **how)
    assert direct.x.tobytes() == relayed.x.tobytes()
    assert direct.summary["wire_bytes_down"] < relayed.summary["wire_bytes_down"]


@pytest.mark.parametrize("relay", [False, True])
def test_what_is_not_compressed_has_the_ratio_1(relay):
    s = go("dsgd", relay=relay, topology="complete", dtype="float32").summary
    assert dense_bits(s) == (s["paper_bits_up"], s["paper_bits_down"])


def test_weights_are_those_that_the_file_has_now(tmp_path):
    found = []
    for topology in ("ring", "complete"):
        W = graphs.weights(graphs.graph(topology, 4))
        np.save(tmp_path / "w.npy", W)
        how = {"weights": str(tmp_path / "w.npy"), "topology": None, "workers": 4}
        found.append(go("dsgd", **how, rounds=1).summary["uploads"])
    assert found == [8, 12]


def test_everybody_to_everybody_is_the_mean_and_a_step():
    start, parts = gradients(4)
    result = go("dsgd", topology="complete", workers=4)
    X = np.tile(start, (4, 1))
    for k in range(30):
        X = X.mean(0) - 0.2 * np.array([f(x, k) for f, x in zip(parts, X, strict=True)])
    np.testing.assert_allclose(result.x, X.mean(0), rtol=1e-12, atol=1e-14)


def test_equal_gradients_are_plain_gradient_descent():
    how = {"data": "synthetic:quadratic,dim=7,heterogeneity=0,spread=0", "workers": 4}
    how |= {"lr": 0.5, "rounds": 60, "dtype": "float64", "seed": 3}
    one = run_local(config.configure("gd", reduce="mean", **how)).x
    for topology in ("complete", "ring"):
        other = run_local(config.configure("dsgd", topology=topology, **how)).x
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def heard_by(node, peers, decisions):
    """Return, a round each, {peer: the round whose model was its newest}."""
    newest, found = {}, []
    for first in range(0, len(decisions), len(peers)):
        of_round = decisions[first : first + len(peers)]
        newest |= {j: r for j, r in zip(peers, of_round, strict=False) if r >= 0}
        found.append(dict(newest))
    return found


def test_async_dsgd_is_as_its_journal_says_on_the_board(models, tmp_path):
    how = {"speeds": "exponential:100", "slow": "1:4x", "link_latency": 0.01}
    how |= {"topology": "star"}
    go("async-dsgd", out=tmp_path / "run", **how)
    decided = read_decisions(read_run(tmp_path / "run")).decisions
    start, parts = gradients(5)
    graph = graphs.graph("star", 5)
    heard = [heard_by(i, graph.peers(i), decided[1 + i]) for i in range(5)]
    W = graphs.weights(graph)
    expected = naive.async_gossip(parts, start, W, heard, alpha=0.2)
    rounds = [max(k for i, k in models if i == node) for node in range(5)]
    assert rounds[1] < min(rounds[2:]) / 2  # the slow one
    assert sum(rounds) >= 30 * 5
    for (i, k), (x, _, _) in models.items():
        np.testing.assert_allclose(x, expected[i, k], rtol=1e-11, atol=1e-13)
    late = [k - r for i in range(5) for k, h in enumerate(heard[i]) for r in h.values()]
    assert max(late) > 3 > 0 > min(late)


class Apart(Quadratic):
    """The quadratic, whose workers start at points of their own."""

    def start(self, seed):
        draw = np.random.default_rng([seed, self.worker])
        return draw.standard_normal(self.dim).astype(self.dtype)


def apart():
    return Apart(dim=7, dtype=np.float64)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("dsgd", {}),
        ("q-dsgd", {"codec": "dense:bits=64", "mixing": 0.7, "rule": "constant"}),
    ],
)
def test_exact_mixing_keeps_the_mean(algorithm, options):
    how = {"lr": 0.0, "rounds": 1000, "evaluate_every": 250, "problem": apart()}
    result = go(algorithm, **how, **options)
    whole = apart()
    starts = np.array([whole.shard(m, 5).start(3) for m in range(5)])
    np.testing.assert_allclose(result.x, starts.mean(0), rtol=0, atol=5e-15)
    assert result.rows[0]["consensus"] > 1
    assert result.rows[-1]["consensus"] < 1e-28


@pytest.mark.parametrize("topology", ["ring", "star", "complete"])
@pytest.mark.parametrize("weights", ["metropolis", "laplacian"])
@pytest.mark.parametrize("eps", [1.0, 0.3])
def test_distances_shrink_by_the_spectral_gap(topology, weights, eps):
    how = {"topology": topology, "weights": weights, "rule": "constant", "lr": 0.0}
    how |= {"mixing": eps, "codec": "dense:bits=64", "evaluate_every": 1}
    result = go("q-dsgd", problem=apart(), rounds=30, **how)
    spread = np.array([row["consensus"] for row in result.rows])
    W = graphs.weights(graphs.graph(topology, 5), weights)
    gap = graphs.spectral_gap((1 - eps) * np.eye(5) + eps * W)
    seen = spread > 1e-20
    rates = spread[1:][seen[1:]] / spread[:-1][seen[1:]]
    assert (rates <= (1 - gap) ** 2 * (1 + 1e-6)).all()
    if gap < 1 - 1e-9:  # else all agree at once
        np.testing.assert_allclose(rates[-1], (1 - gap) ** 2, rtol=0.02)
    else:
        assert spread[1] < 1e-28


@pytest.mark.parametrize("eps", [1.0, 0.4])
@pytest.mark.parametrize("topology", ["ring", "star"])
def test_rounding_moves_the_mean_as_it_should(models, topology, eps):
    how = {"topology": topology, "rule": "constant", "lr": 0.0, "mixing": eps}
    go("q-dsgd", problem=apart(), codec="decimal:digits=1", **how)
    own = graphs.weights(graphs.graph(topology, 5)).diagonal()
    moved = []
    for k in range(29):
        X, Z = (np.array([models[i, k][what] for i in range(5)]) for what in (0, 1))
        after = np.array([models[i, k + 1][0] for i in range(5)])
        # (eps / n) sum_j (1 - w_jj) (z_j - x_j)
        drift = eps / 5 * ((1 - own)[:, None] * (Z - X)).sum(0)
        np.testing.assert_allclose(after.mean(0) - X.mean(0), drift, atol=1e-14)
        moved.append(np.abs(drift).max())
    assert min(moved) > 1e-3


def test_batches_are_as_large_as_speeds_allow(models, tmp_path):
    how = {"speeds": "uniform:1,60", "deadline": 0.2, "slow": "2:3x", "lr": 1.0}
    how |= {"out": tmp_path / "run", "mixing": 0.5, "rule": "constant"}
    result = go("quantimed-dsgd", codec="decimal:digits=4", **how)
    decided = read_decisions(read_run(tmp_path / "run")).decisions
    whole = make_problem(SOFTMAX, dtype=np.float64, seed=3)
    speeds, empty = Speeds.parse("uniform:1,60"), 0
    for i in range(5):
        sizes = []
        for k in range(30):
            speed = speeds.draw(random.key(3, "speed", i, k)) / (3 if i == 2 else 1)
            sizes.append(int(speed * 0.2))
        written = [[size, 0] if size else [0] for size in sizes]
        assert decided[1 + i] == list(itertools.chain(*written))
        assert result.summary["ranks"][1 + i]["samples"] == sum(sizes)
        shard = whole.shard(i, 5)
        for k, size in enumerate(sizes):
            x, _, gradient = models[i, k]
            if not size:
                assert (gradient == 0).all()
                empty += 1
                continue
            order = shard.batch(random.key(3, "batch", i, k), shard.samples)
            expected = np.empty_like(x)
            shard.grad(x, expected, order[:size])
            np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)
    assert 5 < empty < 100
    for i, k in [(i, k) for i, k in models if k < 29]:  # all mix, also without a batch
        assert (models[i, k][0] != models[i, k + 1][0]).any()


@pytest.mark.parametrize("sizes", [[], [4], [4, 4, 3], [1] * 9])
def test_micro_batches_add_up_to_one_gradient(sizes):
    chosen = find("quantimed-dsgd")()
    problem = make_problem(SOFTMAX, dtype=np.float64, seed=3).shard(1, 5)
    plan = Plan(workers=5, rounds=1, dim=problem.dim, bounds=problem.bounds, seed=3)
    x = problem.start(3)

    class Clock:
        def until(self, deadline, samples, batch):
            assert (deadline, samples, batch) == (0.5, 24, 4)
            return iter(sizes)

    class Link:
        worker = 1
        clock = Clock()

    state = gossip.GossipWorkerState(
        x=x, gradient=x + 1, part=x + 1, next=x, heard={}, deadline=0.5, round=7
    )
    chosen.take_gradient(Link(), problem, plan, state)
    order = problem.batch(random.key(3, "batch", 1, 7), 24)[: sum(sizes)]
    expected = np.zeros_like(x)
    if sizes:
        problem.grad(x, expected, order)
    np.testing.assert_allclose(state.gradient, expected, rtol=1e-12, atol=1e-15)


def test_the_deadline_allows_for_the_batch_on_average():
    result = go("quantimed-dsgd", speeds="uniform:10,90", batch=12, rounds=200)
    done = [rank["samples"] for rank in result.summary["ranks"][1:]]
    assert 11 < np.mean(done) / 200 < 12  # 12 but for rounding down
    assert result.rows[-1]["seconds"] >= 200 * 12 / 50


NPY = "weights.npy"


@pytest.mark.parametrize(
    ("algorithm", "given", "message"),
    [
        ("dsgd", {"lr": -1.0}, "lr: must be a number of at least 0, got -1.0"),
        ("dsgd", {"lr": np.nan}, "lr: must be a number of at least 0, got nan"),
        ("dsgd", {"batch": 0}, "batch: must be at least 1, got 0"),
        ("q-dsgd", {"mixing": 0.0}, "mixing: must be a positive number, got 0.0"),
        ("q-dsgd", {"rule": "convex"}, "rule: can't read 'convex'; give constant"),
        ("q-dsgd", {"rule": "convex:0.5"}, "rule: can't read 'convex:0.5'"),
        ("q-dsgd", {"rule": "nonconvex:0.2"}, "rule: can't read 'nonconvex:0.2'"),
        ("q-dsgd", {"rule": "sqrt"}, "rule: can't read 'sqrt'"),
        (
            "q-dsgd",
            {"codec": "sign"},
            "codec: q-dsgd needs an unbiased codec, got sign",
        ),
        ("q-dsgd", {"codec": "topk:k=2"}, "q-dsgd needs an unbiased codec"),
        ("dsgd", {"mixing": 0.5}, "dsgd: there is no option --mixing"),
        ("async-dsgd", {"relay": True}, "async-dsgd: there is no option --relay"),
        (
            "quantimed-dsgd",
            {"micro_batch": 0},
            "micro-batch: must be at least 1, got 0",
        ),
        ("quantimed-dsgd", {"deadline": 0.0}, "deadline: must be a positive number"),
    ],
)
def test_options_are_refused_before_anything_starts(algorithm, given, message):
    with pytest.raises(ConfigError, match=message):
        config.configure(algorithm, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"topology": "rnig"},
            "topology: there is none called 'rnig'; did you mean ring",
        ),
        ({"weights": "metropolitan"}, "weights: there are none called 'metropolitan'"),
        ({"topology": "erdos-renyi:0.1"}, "drawn by seed 3, is not connected"),
        ({"topology": "torus"}, "a torus has rows and columns, and 5 nodes is a prime"),
        ({"workers": 1}, "dsgd needs at least 2, got 1: nobody to"),
        ({"weights": "absent.npy", "topology": None}, "absent.npy: can't be read"),
        ({"weights": "absent.npy"}, "topology: ring, but the non-zeros of absent.npy"),
        ({"batch": 25}, "batch: 25 is more than the 24 samples of worker 0"),
    ],
)
def test_networks_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        go("dsgd", **given)


def test_weights_of_a_file(tmp_path):
    good = graphs.weights(graphs.graph("star", 5), "laplacian")
    np.save(tmp_path / "good.npy", good)
    how = {"topology": None}
    a = go("dsgd", weights=str(tmp_path / "good.npy"), out=tmp_path / "run", **how)
    assert a.x.tobytes() == go("dsgd", topology="star", weights="laplacian").x.tobytes()
    assert np.load(tmp_path / "run" / NPY).tobytes() == good.tobytes()
    for name, wrong, message in (
        ("sum", good + 0.1 * np.eye(5), "is not doubly stochastic: row . sums to 1.1"),
        ("shape", np.eye(4), r"weights of 5 nodes must have shape \(5, 5\)"),
        ("parts", np.eye(5), "its graph is not connected"),
        ("even", good + 0.1 * np.eye(5, k=1) - 0.1 * np.eye(5), "must be symmetric"),
    ):
        np.save(tmp_path / name, wrong)
        with pytest.raises(ConfigError, match=message):
            go("dsgd", weights=str(tmp_path / f"{name}.npy"), **how)


def test_ranks_compare_the_weights(tmp_path, monkeypatch):
    star, facts = graphs.graph("star", 5), []
    for kind in ("metropolis", "laplacian", "laplacian"):
        monkeypatch.chdir(tmp_path)
        np.save(NPY, graphs.weights(star, kind))
        gossip_options._network.cache_clear()  # ranks are processes of their own
        run = made("dsgd", weights=NPY, topology=None)
        facts.append(setup.prepare(run).facts())
    assert facts[1] == facts[2]
    assert {k for k in facts[0] if facts[0][k] != facts[1][k]} == {NPY}


def test_a_deadline_before_the_first_sample_is_refused():
    how = {"deadline": 1e-3, "optimum": False, "mixing": 1.0}
    message = "deadline: 0.001 s is shorter than one sample takes on every worker"
    with pytest.raises(ConfigError, match=rf"{message} \(0.0111 s on the fastest"):
        go("quantimed-dsgd", speeds="uniform:10,90", **how)
    with pytest.raises(PsmpiError, match="deadline: 1e-09 s is shorter than one"):
        go("quantimed-dsgd", deadline=1e-9)
    # with the fastest at full speed it is enough, although others do nothing
    slow = "0:9x,1:9x,2:9x,3:9x"
    result = go("quantimed-dsgd", speeds="constant:1000", slow=slow, **how)
    done = [rank["samples"] for rank in result.summary["ranks"][1:]]
    assert done == [0, 0, 0, 0, 30]


@pytest.mark.parametrize(
    "given", [{"link_rate": 1e6}, {"link_latency": 0.1}, {"link_sharing": "node"}]
)
def test_a_simulated_network_is_refused_over_mpi(given, tmp_path):
    ((name, value),) = given.items()
    message = f"{name.replace('_', '-')}: {value} is of a simulated network"
    with pytest.raises(ConfigError, match=message):
        mpi.run_mpi([made("dsgd", **given)], [tmp_path / "run"])
    go("dsgd", rounds=2, **given)


def test_a_negative_own_weight_is_warned_of(capsys):
    eps = 15 / 100**0.5
    how = {"lr": 0.0, "topology": "complete"}
    how |= {"rule": "nonconvex", "mixing": 15.0}
    result = go("q-dsgd", rounds=100, **how)
    (said,) = result.summary["warnings"]
    assert f"psmpi: warning: {said}\n" == capsys.readouterr().err
    least = 1 - eps + eps / 5
    assert f"eps = {eps:.4g} over 100 rounds gives worker 0" in said
    assert f"the negative weight {least:.4g} on its own model" in said
    assert f"which may be unstable (least eigenvalue {1 - eps:.4g}" in said
    assert go("q-dsgd", lr=0.0, mixing=1.0).summary["warnings"] == []
    assert capsys.readouterr().err == ""


def test_the_end_is_told_at_once_however_slow_the_network():
    how = {"speeds": "constant:1000", "link_latency": 5.0}
    ranks = go("async-dsgd", **how).summary["ranks"]
    assert max(rank["rounds"] for rank in ranks) <= 32
