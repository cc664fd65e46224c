"""The optimizer of a caller's own loop, against PyTorch's and against psmpi.run."""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra psmpi[torch]")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import psmpi  # noqa: E402
from psmpi import random  # noqa: E402
from psmpi.errors import ConfigError  # noqa: E402
from tests.helpers.torch_loop import SAMPLES, data, model, weights  # noqa: E402


def train(net, optimizer, steps=20, scheduler=None):
    """Train by batches of 8, and return the losses."""
    x, y = data()
    losses = []
    for k in range(steps):
        which = np.arange(8 * k, 8 * k + 8) % SAMPLES
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x[which]), y[which])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if scheduler is not None:
            scheduler.step()
    return losses


def compare(ours, theirs, steps=20, schedule=lambda optimizer: None):
    """Train twins by two optimizers, and require equal losses and parameters."""
    net, twin = model(), model()
    with ours(net) as optimizer:
        a = train(net, optimizer, steps, schedule(optimizer))
        moved = weights(net)
    other = theirs(twin)
    b = train(twin, other, steps, schedule(other))
    np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_allclose(moved, weights(twin), rtol=1e-4, atol=1e-6)


def test_sgd_is_pytorchs_sgd():
    compare(
        lambda net: psmpi.torch.Optimizer(net, "sgd", lr=0.2, reduce="mean"),
        lambda net: torch.optim.SGD(net.parameters(), lr=0.2),
        steps=100,
    )


def test_nesterovs_momentum_and_weight_decay_are_pytorchs():
    compare(
        lambda net: psmpi.torch.Optimizer(
            net, "sgd", lr=0.05, weight_decay=0.1, momentum=0.9
        ),
        lambda net: torch.optim.SGD(
            net.parameters(), lr=0.05, weight_decay=0.1, momentum=0.9, nesterov=True
        ),
    )


def test_groups_have_step_sizes_and_decays_of_their_own():
    def groups(net):
        return [
            {"params": net[0].parameters(), "lr": 0.05, "weight_decay": 0.3},
            {"params": net[2].parameters()},
        ]

    compare(
        lambda net: psmpi.torch.Optimizer(groups(net), "sgd", lr=0.2),
        lambda net: torch.optim.SGD(groups(net), lr=0.2),
    )


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_scheduler_sets_the_sessions_step_size(factor):
    compare(
        lambda net: psmpi.torch.Optimizer(net, "sgd", lr=0.02),
        lambda net: torch.optim.SGD(net.parameters(), lr=0.02),
        schedule=lambda o: torch.optim.lr_scheduler.StepLR(o, 4, factor),
    )


def test_it_is_psmpi_run_of_the_same_problem_bit_for_bit():
    """One worker, momentum, and error feedback in both directions."""
    x, y = data()
    problem = psmpi.torch.problem(model(), F.cross_entropy, (x, y))
    run = psmpi.run(
        "dist-ef-sgdm",
        problem=problem,
        local=True,
        workers=1,
        batch=8,
        rounds=15,
        lr=0.1,
        seed=4,
        evaluate_every=1,
    )
    net = model()
    with psmpi.torch.Optimizer(net, "dist-ef-sgdm", lr=0.1, seed=4) as optimizer:
        for k, row in enumerate(run.rows[:-1]):
            with torch.no_grad():
                assert F.cross_entropy(net(x), y).item() == row["loss"]
            batch = problem.batch(random.key(4, "batch", 0, k), 8)
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        assert F.cross_entropy(net(x), y).item() == run.rows[-1]["loss"]


class Copied(TorchDispatchMode):
    """Counts the bytes that PyTorch copies while it is active."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(word in func.overloadpacket.__name__ for word in ("copy", "clone")):
            self.bytes += args[0].numel() * args[0].element_size()
        return func(*args, **(kwargs or {}))


def test_a_step_copies_nothing_of_the_model():
    net = model()
    x, y = data()
    with psmpi.torch.Optimizer(net, "sgd", lr=0.1) as optimizer:
        assert np.shares_memory(net[0].weight.detach().numpy(), optimizer.session.x)
        for _ in range(3):
            with Copied() as copied:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
            assert copied.bytes == 0
        grad = net[2].bias.grad
        assert np.shares_memory(grad.numpy(), optimizer.session.gradient)


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_of_several_batches_add_up(to_none):
    net, twin = model(), model()
    x, y = data()
    with psmpi.torch.Optimizer(net, "sgd", lr=0.3) as optimizer:
        for _ in range(4):
            optimizer.zero_grad(set_to_none=to_none)
            for part in torch.arange(SAMPLES).split(12):
                (F.cross_entropy(net(x[part]), y[part]) / 4).backward()
            optimizer.step()
        moved = weights(net)
    other = torch.optim.SGD(twin.parameters(), lr=0.3)
    for _ in range(4):
        other.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        other.step()
    np.testing.assert_allclose(moved, weights(twin), rtol=1e-4, atol=1e-6)


def test_a_closure_is_called_once():
    net, twin = model(), model()
    x, y = data()

    def closure_of(net, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss

        return closure

    with psmpi.torch.Optimizer(net, "sgd", lr=0.3) as optimizer:
        a = [optimizer.step(closure_of(net, optimizer)).item() for _ in range(5)]
        moved = weights(net)
    other = torch.optim.SGD(twin.parameters(), lr=0.3)
    b = [other.step(closure_of(twin, other)).item() for _ in range(5)]
    np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_allclose(moved, weights(twin), rtol=1e-5, atol=1e-7)


def test_an_algorithm_with_several_gradients_takes_a_closure_of_the_batch():
    net, (x, y) = model(), data()
    asked = []
    with psmpi.torch.Optimizer(
        net, "asylpg", lr=0.3, batch=4, epoch=10, samples=SAMPLES
    ) as optimizer:

        def closure(batch):
            asked.append(None if batch is None else len(batch))
            which = slice(None) if batch is None else batch
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x[which]), y[which])
            loss.backward()
            return loss

        first = F.cross_entropy(net(x), y).item()
        for _ in range(30):
            optimizer.step(closure)
        assert np.shares_memory(net[0].bias.detach().numpy(), optimizer.session.x)
        assert F.cross_entropy(net(x), y).item() < first - 0.1
    assert set(asked) == {None, 4}


def loop(first, last, resume=None, **options):
    """Do some steps of dist-EF-SGDM; return weights and the state, as if by a file."""
    net = model()
    x, y = data()
    with psmpi.torch.Optimizer(net, "dist-ef-sgdm", lr=0.1, **options) as optimizer:
        if resume is not None:
            optimizer.load_state_dict(resume)
        for step in range(first, last):
            if step == 4:
                optimizer.param_groups[0]["lr"] = 0.03
            which = np.arange(8 * step, 8 * step + 8) % SAMPLES
            optimizer.zero_grad()
            F.cross_entropy(net(x[which]), y[which]).backward()
            optimizer.step()
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return weights(net), torch.load(file, weights_only=True)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_saved_state_goes_on_to_the_bit(at_once):
    whole, _ = loop(0, 12)
    _, state = loop(0, 6)
    if at_once:
        resumed, _ = loop(6, 12, state=state)
    else:
        resumed, _ = loop(6, 12, state)
    np.testing.assert_array_equal(resumed, whole)
    assert state["param_groups"][0]["lr"] == 0.03
    residual = state["psmpi"]["worker.momentum.velocity"]
    assert residual.abs().sum() > 0
    residual.zero_()
    assert (loop(6, 12, state)[0] != whole).any()


def test_a_state_that_does_not_fit_is_refused(tmp_path):
    _, state = loop(0, 3)
    with pytest.raises(ConfigError, match="state: holds no state of a session"):
        loop(0, 1, state={"param_groups": [], "state": {}})
    with pytest.raises(ConfigError, match="give state= with out="):
        loop(3, 6, state, out=tmp_path / "run")
    net = model()
    with psmpi.torch.Optimizer(net, "dist-ef-sgdm", lr=0.1) as optimizer:
        train(net, optimizer, steps=1)
        with pytest.raises(ConfigError, match="1 rounds have been done"):
            optimizer.load_state_dict(state)


def test_the_loss_is_recorded():
    net = model()
    x, y = data()
    with psmpi.torch.Optimizer(
        net, "sgd", lr=0.1, rounds=6, evaluate_every=2
    ) as optimizer:
        losses = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            losses.append(loss.item())
            optimizer.step(loss=loss)
    rows = optimizer.session.result.rows
    assert any(
        row["loss"] == pytest.approx(np.mean(losses[:2]), rel=1e-5) for row in rows
    )


def test_frozen_and_unused_parameters():
    net = model()
    net[0].weight.requires_grad_(False)
    net.spare = nn.Linear(2, 2)
    x, y = data()
    frozen, spare = net[0].weight.clone(), net.spare.weight.detach().clone()
    with psmpi.torch.Optimizer(net, "dist-ef-sgd", lr=0.1) as optimizer:
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(net[2](net[1](net[0](x))), y).backward()
            optimizer.step()
        assert torch.equal(net[0].weight, frozen)
        assert torch.equal(net.spare.weight, spare)


def test_bfloat16_parameters_train_through_float32():
    net = model().to(torch.bfloat16)
    x, y = data()
    with psmpi.torch.Optimizer(net, "sgd", lr=0.2) as optimizer:
        assert optimizer.session.x.dtype == np.float32
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x.to(torch.bfloat16)).float(), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        rounded = torch.from_numpy(optimizer.session.x).to(torch.bfloat16)
        assert torch.equal(
            torch.cat([p.detach().reshape(-1) for p in net.parameters()]), rounded
        )
    assert losses[-1] < losses[0] - 0.05


def test_autocast_works():
    net, twin = model(), model()
    x, y = data()

    def steps(net, optimizer):
        for _ in range(10):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()

    with psmpi.torch.Optimizer(net, "sgd", lr=0.2) as optimizer:
        steps(net, optimizer)
        assert np.shares_memory(net[0].weight.grad.numpy(), optimizer.session.gradient)
        moved = weights(net)
    steps(twin, torch.optim.SGD(twin.parameters(), lr=0.2))
    np.testing.assert_allclose(moved, weights(twin), rtol=1e-4, atol=1e-6)


def test_compiled_models_train_and_are_compiled_once():
    net, twin = model(), model()
    torch._dynamo.reset()
    compiled = torch.compile(net, backend="aot_eager")
    with (
        torch._dynamo.config.patch(error_on_recompile=True),
        psmpi.torch.Optimizer(compiled, "sgd", lr=0.2) as optimizer,
    ):
        a = train(compiled, optimizer, steps=10)
    b = train(twin, torch.optim.SGD(twin.parameters(), lr=0.2), steps=10)
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_compiled_models_are_problems():
    x, y = data()
    torch._dynamo.reset()
    compiled = torch.compile(model(), backend="aot_eager")
    a, b = (
        psmpi.run(
            "sgd",
            problem=psmpi.torch.problem(net, F.cross_entropy, (x, y)),
            local=True,
            workers=2,
            batch=8,
            rounds=5,
            lr=0.1,
        )
        for net in (compiled, model())
    )
    assert a.rows[-1]["loss"] == pytest.approx(b.rows[-1]["loss"], rel=1e-5)


def test_the_end_of_the_run_ends_the_block():
    net = model()
    with psmpi.torch.Optimizer(net, "sgd", lr=0.1, rounds=3) as optimizer:
        train(net, optimizer, steps=10)
        pytest.fail("the run has three rounds")
    assert optimizer.session.round == 3
    assert optimizer.session.stopped
    with pytest.raises(psmpi.PsmpiError, match="has ended"):
        train(net, optimizer, steps=1)


def test_what_cannot_be_done_is_refused():
    net = model()
    with psmpi.torch.Optimizer(net, "sgd", lr=0.1) as optimizer:
        optimizer.zero_grad()
        with pytest.raises(ConfigError, match="no parameter has one"):
            optimizer.step()
        with pytest.raises(ConfigError, match="a group was added after the start"):
            optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
        net.head = nn.Linear(2, 2)
        with pytest.raises(ConfigError, match=r"parameter head\.weight"):
            optimizer.step()


def test_errors_name_the_tensor_by_its_name():
    net = model()
    with torch.no_grad():
        net[2].bias[1] = torch.nan
    with pytest.raises(ConfigError, match=r"2\.bias|entry"):
        psmpi.torch.Optimizer(net, "sgd", lr=0.1)
    with pytest.raises(ConfigError, match="no option"):
        psmpi.torch.Optimizer(model(), "sgd", lr=0.1, momentun=0.9)
