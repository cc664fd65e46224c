"""A model as a Problem: against PyTorch's own loop, psmpi's softmax, its contract."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra psmpi[torch]")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import Dataset, TensorDataset  # noqa: E402

import psmpi  # noqa: E402
from psmpi import random  # noqa: E402
from psmpi.data.dataset import assemble  # noqa: E402
from psmpi.errors import ConfigError  # noqa: E402
from psmpi.problems import Softmax  # noqa: E402

SAMPLES, FEATURES, CLASSES = 48, 6, 3


def data(dtype=torch.float32):
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(SAMPLES, FEATURES, generator=draw, dtype=torch.float64)
    return x.to(dtype), torch.randint(0, CLASSES, (SAMPLES,), generator=draw)


def perceptron():
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, CLASSES))


def with_batch_norm():
    return nn.Sequential(
        nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES)
    )


def make(model=perceptron, loss=F.cross_entropy, samples=None, **options):
    return psmpi.torch.problem(model, loss, samples or data(), **options)


def gradient(problem, x, batch=None):
    out = np.full_like(x, np.nan)
    return problem.grad(x, out, batch), out


def test_sgd_over_workers_is_a_single_process_with_the_global_batch():
    """100 steps: the losses are those of torch.optim.SGD to float rounding."""
    workers, batch, lr = 4, 3, 0.3
    torch.manual_seed(1)
    problem = make(perceptron())
    result = psmpi.run(
        "sgd",
        problem=problem,
        local=True,
        workers=workers,
        batch=batch,
        lr=lr,
        reduce="mean",
        rounds=100,
        evaluate_every=1,
        seed=2,
    )
    torch.manual_seed(1)
    net, (x, y) = perceptron(), data()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    part = SAMPLES // workers
    for k, row in enumerate(result.rows):
        with torch.no_grad():
            loss = F.cross_entropy(net(x), y).item()
        assert row["loss"] == pytest.approx(loss, rel=2e-5), k
        drawn = [
            m * part + problem.shard(m, workers).batch(random.key(2, "batch", m, k), 3)
            for m in range(workers)
        ]
        which = np.concatenate(drawn)
        optimizer.zero_grad()
        F.cross_entropy(net(x[which]), y[which]).backward()
        optimizer.step()
    assert result.rows[-1]["loss"] < result.rows[0]["loss"] - 0.1


def test_a_linear_model_is_psmpis_own_softmax():
    x, y = data(torch.float64)
    whole = (x.numpy(), y.numpy())
    own = Softmax(
        assemble("made", "test", whole, whole, dtype=np.float64, kind="auto"), l2=0.1
    )
    net = nn.Linear(FEATURES, CLASSES, dtype=torch.float64)
    problem = make(net, samples=(x, y), test=(x, y), l2=0.1)
    point = np.random.default_rng(0).standard_normal(problem.dim)
    weights, bias = np.split(point, [FEATURES * CLASSES])
    # psmpi's weights have the shape (features, classes) or its transpose.
    for order in (weights.reshape(CLASSES, FEATURES).T.ravel(), weights):
        theirs = np.concatenate([order, bias])
        if abs(own.loss(theirs) - problem.loss(point)) < 1e-12:
            break
    else:
        pytest.fail("the losses differ")
    assert own.accuracy(theirs) == problem.accuracy(point)
    for worker in range(3):
        a, b = own.shard(worker, 3), problem.shard(worker, 3)
        for batch in (None, np.array([3, 0, 7])):
            (f, g), (value, out) = gradient(a, theirs, batch), gradient(b, point, batch)
            assert value == pytest.approx(f, rel=1e-12)
            if order is not weights:
                w = g[:-CLASSES].reshape(FEATURES, CLASSES).T.ravel()
                g = np.concatenate([w, g[-CLASSES:]])
            np.testing.assert_allclose(out, g, rtol=1e-10, atol=1e-13)


def test_chunks_and_shards_add_up_to_the_whole():
    problem, small = make(), make(chunk=5)
    x = problem.start(3)
    loss, g = gradient(problem, x)
    chunked, h = gradient(small, x)
    assert chunked == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(h, g, rtol=1e-4, atol=1e-6)
    parts = [gradient(problem.shard(m, 5), x) for m in range(5)]  # of unequal size
    assert np.mean([value for value, _ in parts]) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(
        np.mean([part for _, part in parts], axis=0), g, rtol=1e-4, atol=1e-6
    )
    losses = [problem.shard(m, 5).loss(x) for m in range(5)]
    assert np.mean(losses) == pytest.approx(problem.loss(x), rel=1e-6)


def test_shards_do_not_disturb_each_other():
    problem = make()
    a, b = problem.shard(0, 2), problem.shard(1, 2)
    x, other = problem.start(0), problem.start(1)
    alone = gradient(make().shard(0, 2), x)
    out = np.zeros_like(x)
    a.grad(x, out)
    kept = out.copy()
    b.grad(other, np.zeros_like(x))
    problem.loss(other)
    np.testing.assert_array_equal(out, kept)
    np.testing.assert_array_equal(gradient(a, x)[1], alone[1])


def test_the_callers_model_stays_as_it_is():
    net = with_batch_norm()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    problem = make(net)
    psmpi.run("sgd", problem=problem, local=True, workers=2, batch=4, rounds=5, lr=0.1)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_the_start_is_the_models_own_or_built_from_the_seed():
    net = perceptron()
    own, built = make(net), make(perceptron)
    expected = torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy()
    np.testing.assert_array_equal(own.start(0), expected)
    np.testing.assert_array_equal(own.start(0), own.start(1))
    np.testing.assert_array_equal(built.start(1), make(perceptron).start(1))
    assert (built.start(0) != built.start(1)).any()
    first = own.start(0)
    first[:] = 0
    np.testing.assert_array_equal(own.start(0), expected)


def test_dropout_is_a_function_of_the_batch():
    def build():
        return nn.Sequential(nn.Linear(FEATURES, 40), nn.Dropout(), nn.Linear(40, 3))

    problem = make(build)
    x, batch = problem.start(0), np.arange(6)
    torch.manual_seed(1)
    first = gradient(problem, x, batch)[1]
    state = torch.get_rng_state()
    second = gradient(problem, x, batch)[1]
    np.testing.assert_array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert (gradient(problem, x, batch[::-1].copy())[1] != first).any()
    assert problem.loss(x) == problem.loss(x)


def test_evaluation_uses_statistics_of_batch_norm_at_its_own_x():
    """A loss is a function of x, whatever gradients have been computed before."""
    problem = make(with_batch_norm, test=data(), statistics=SAMPLES)
    x, other = problem.start(0), problem.start(1)
    before = problem.loss(x), problem.accuracy(x)
    for step in range(20):
        gradient(problem, other + step, np.arange(10))
    assert (problem.loss(x), problem.accuracy(x)) == before
    # Statistics over all samples at once are those of one big batch.
    net, (inputs, targets) = problem.module(x), data()
    hidden = net[0](inputs)
    np.testing.assert_allclose(
        net[1].running_mean.numpy(), hidden.mean(0).detach().numpy(), rtol=1e-5
    )
    assert F.cross_entropy(net(inputs), targets).item() == pytest.approx(before[0])
    net.train()
    expected = torch.autograd.grad(
        F.cross_entropy(net(inputs), targets), list(net.parameters())
    )
    flat = torch.cat([g.reshape(-1) for g in expected]).numpy()
    np.testing.assert_allclose(gradient(problem, x)[1], flat, rtol=1e-4, atol=1e-6)


def test_a_module_in_evaluation_mode_stays_so():
    net = with_batch_norm()
    net[1].eval()
    problem = make(net)
    x = problem.start(0)
    gradient(problem, x)
    problem.loss(x)
    assert not problem.model[1].training
    assert problem.model[0].training
    assert bool((problem.model[1].running_mean == 0).all())


@pytest.mark.parametrize(
    "algorithm", ["laq", "dist-ef-sgdm", "qsparse-local-sgd", "asylpg", "dsgd"]
)
def test_every_family_of_algorithms_takes_a_model(algorithm):
    more = {"batch": 8} if algorithm != "laq" else {}
    result = psmpi.run(
        algorithm,
        problem=make(test=data()),
        local=True,
        workers=4,
        rounds=12,
        evaluate_every=4,
        **more,
    )
    assert np.isfinite([row["loss"] for row in result.rows]).all()
    assert result.rows[-1]["loss"] != result.rows[0]["loss"]


def test_the_test_set_is_measured():
    x, y = data()
    problem = make(
        test=(x[:10], y[:10]),
        chunk=4,
        metrics={"confidence": lambda out, _: out.softmax(1).amax(1).mean()},
    )
    at = problem.start(0)
    out = problem.module(at)(x[:10])
    assert problem.accuracy(at) == int((out.argmax(1) == y[:10]).sum()) / 10
    measured = problem.metrics(at)
    assert measured["test_loss"] == pytest.approx(F.cross_entropy(out, y[:10]).item())
    confidence = out.softmax(1).amax(1).mean().item()
    assert measured["confidence"] == pytest.approx(confidence)
    assert make().accuracy(at) is None
    assert make().metrics(at) == {}


def test_real_targets_have_no_accuracy():
    x, _ = data()
    y = x[:, :1] * 2
    problem = make(nn.Linear(FEATURES, 1), F.mse_loss, (x, y), test=(x, y))
    assert problem.accuracy(problem.start(0)) is None
    assert "test_loss" in problem.metrics(problem.start(0))


def test_accuracy_of_sequences_of_classes():
    tokens = torch.arange(12).reshape(3, 4) % 5
    net = nn.Embedding(5, 5)  # scores of the next token, classes last

    def loss(out, y):
        return F.cross_entropy(out.flatten(0, 1), y.flatten())

    problem = make(net, loss, (tokens, tokens), test=(tokens, tokens))
    assert problem.accuracy(np.eye(5, dtype=np.float32).ravel()) == 1.0


def test_a_recorded_loss_over_some_samples():
    x, y = data()
    problem = make(loss_samples=5)
    at = problem.start(0)
    which = np.linspace(0, SAMPLES - 1, 5).astype(int)
    expected = F.cross_entropy(problem.module(at)(x[which]), y[which]).item()
    assert problem.loss(at) == pytest.approx(expected)
    np.testing.assert_array_equal(gradient(problem, at)[1], gradient(make(), at)[1])


class Items(Dataset):
    """Numbered items, as torchvision's data sets have them."""

    def __init__(self, noise=0.0):
        self.x, self.y = data()
        self.noise = noise

    def __len__(self):
        return SAMPLES

    def __getitem__(self, i):
        return self.x[i] + self.noise * torch.randn(FEATURES), int(self.y[i])


def test_a_data_set_with_items_is_the_same_as_its_tensors():
    tensors, items = make(), make(samples=Items())
    x, batch = tensors.start(0), np.array([4, 1, 9])
    for number in range(3):
        a, b = tensors.shard(number, 3), items.shard(number, 3)
        for which in (None, batch):
            (f, g), (value, out) = gradient(a, x, which), gradient(b, x, which)
            assert value == f
            np.testing.assert_array_equal(out, g)
    assert make(samples=TensorDataset(*data())).digest() == tensors.digest()


def test_transforms_that_draw_are_functions_of_the_batch():
    problem = make(samples=Items(noise=0.1))
    x, batch = problem.start(0), np.arange(5)
    np.testing.assert_array_equal(
        gradient(problem, x, batch)[1], gradient(problem, x, batch)[1]
    )
    assert problem.digest() == make(samples=Items(noise=0.1)).digest()


def test_digests_tell_problems_apart():
    def wider():
        return nn.Sequential(nn.Linear(FEATURES, 9), nn.Tanh(), nn.Linear(9, CLASSES))

    def rectified():
        return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES))

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = perceptron()

        def forward(self, x):
            return self.inner(x)

    class Own2(Own):
        def forward(self, x):
            return 2 * self.inner(x)

    Own2.__qualname__ = Own.__qualname__
    Own2.__name__ = Own.__name__
    x, y = data()
    changed = x.clone()
    changed[-1, -1] += 1
    problems = [
        make(),
        make(wider),
        make(rectified),
        make(Own),
        make(Own2),
        make(loss=nn.CrossEntropyLoss(label_smoothing=0.1)),
        make(loss=nn.CrossEntropyLoss()),
        make(loss=lambda a, b: F.cross_entropy(a, b)),
        make(loss=lambda a, b: F.cross_entropy(2 * a, b)),
        make(samples=(changed, y)),
        make(l2=0.1),
        make(test=(x, y)),
        make().shard(0, 2),
        make().shard(1, 2),
    ]
    digests = [problem.digest() for problem in problems]
    assert len(set(digests)) == len(digests)
    assert make().digest() == digests[0]
    torch.manual_seed(1)
    a = perceptron()
    torch.manual_seed(1)
    assert make(a).digest() == make(perceptron()).digest()
    assert make(a).digest() != make(perceptron()).digest()


def test_ranks_in_process_have_one_thread_of_pytorch_each(monkeypatch):
    seen = []

    class Looks(nn.Linear):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return super().forward(x)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        problem = make(lambda: Looks(FEATURES, CLASSES))
        seen.clear()
        psmpi.run("sgd", problem=problem, local=True, workers=2, batch=4, rounds=2)
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Counting(nn.Module):
    """Changes a buffer of its own in every forward pass."""

    def __init__(self):
        super().__init__()
        self.inner = perceptron()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += 1
        return self.inner(x)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": lambda: 3}, "model: must be a torch.nn.Module or a function"),
        ({"model": Counting}, "buffer seen: a forward pass changes it"),
        ({"loss": lambda a, b: a}, r"loss: must return one number.*\(2, 3\)"),
        ({"loss": lambda a, b: 1.0}, "loss: must return one number.*float"),
        ({"loss": lambda a, b: a.detach().mean()}, "loss: does not depend"),
        ({"loss": nn.CrossEntropyLoss(reduction="sum")}, "loss: is the sum"),
        ({"samples": (torch.zeros(3, 2), torch.zeros(4))}, "data: inputs .* targets"),
        ({"samples": (torch.zeros(0, 2), torch.zeros(0))}, "data: has no samples"),
        ({"samples": 3}, "data: must be two tensors"),
        ({"test": [torch.zeros(2)]}, "test: an item must be a pair"),
        ({"l2": -1.0}, "l2: must be finite"),
        ({"chunk": 0}, "chunk: must be at least 1"),
        ({"dtype": np.float16}, "dtype: must be float32 or float64"),
    ],
)
def test_what_is_no_problem_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        make(**options).accuracy(np.zeros(83, np.float32))


def test_bad_calls_are_refused():
    problem = make()
    x = problem.start(0)
    out = np.empty_like(x)
    with pytest.raises(ConfigError, match="x: must be a float32 vector"):
        problem.grad(x.astype(np.float64), out)
    with pytest.raises(ConfigError, match="out: must be a float32 vector"):
        problem.grad(x, out[:-1])
    with pytest.raises(ConfigError, match=r"batch: .* 0 \.\. 11"):
        problem.shard(1, 4).grad(x, out, np.array([0, 12]))
    with pytest.raises(ConfigError, match="already the shard"):
        problem.shard(1, 4).shard(0, 2)
    with pytest.raises(ConfigError, match="can't be split over 49"):
        problem.shard(0, 49)


def test_without_pytorch_there_is_one_clear_line():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import psmpi\n"
        "try: psmpi.torch\n"
        "except psmpi.ConfigError as error: print(error)"
    )
    line = [sys.executable, "-c", code]
    said = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    assert said == (
        "psmpi.torch: PyTorch is not installed; pip install 'psmpi[torch]'\n"
    )
