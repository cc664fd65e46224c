"""Progress of PyTorch's own optimizers, joined by psmpi."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra psmpi[torch]")
from torch import nn  # noqa: E402

import psmpi  # noqa: E402
from psmpi.errors import ConfigError  # noqa: E402
from tests.helpers.torch_loop import batch, loss, model, weights  # noqa: E402

H = 4
#: An outer step that changes nothing: one worker, floats, the model is its own.
PLAIN = {"algorithm": "local-updates", "codec": "dense", "outer_lr": 1.0}
OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "foreach": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True),
}


def train(net, optimizer, first, last):
    for step in range(first, last):
        optimizer.zero_grad()
        value = loss(net, batch(step, 0, 1))
        value.backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_compression_one_worker_is_the_inner_optimizer(name):
    net, twin = model(), model()
    inner = OPTIMIZERS[name](net.parameters())
    with psmpi.torch.LocalUpdates(inner, every=H, **PLAIN) as outer:
        train(net, outer, 0, 5 * H)
        assert outer.session.round == 5
        assert np.shares_memory(net[0].weight.detach().numpy(), outer.session.x)
        moved = weights(net)
    train(twin, OPTIMIZERS[name](twin.parameters()), 0, 5 * H)
    np.testing.assert_allclose(moved, weights(twin), rtol=1e-5, atol=1e-6)


def test_the_outer_step_is_nesterovs():
    """DiLoCo's server: m <- mu m + D; theta <- theta - alpha (D + mu m)."""
    alpha, mu = 0.7, 0.9
    net, twin = model(), model()
    inner = torch.optim.AdamW(net.parameters(), lr=0.01)
    with psmpi.torch.LocalUpdates(
        inner, every=H, algorithm="diloco", outer_lr=alpha, outer_momentum=mu
    ) as outer:
        train(net, outer, 0, 3 * H)
        moved = weights(net)
    inner = torch.optim.AdamW(twin.parameters(), lr=0.01)
    theta, m = weights(twin), 0.0
    for k in range(3):
        train(twin, inner, k * H, (k + 1) * H)
        delta = theta - weights(twin)
        m = mu * m + delta
        theta = theta - alpha * (delta + mu * m)
        start = torch.from_numpy(theta.copy())  # the parameters become views of it
        nn.utils.vector_to_parameters(start, twin.parameters())
    np.testing.assert_allclose(moved, theta, rtol=1e-4, atol=1e-6)


def sparseloco(first, last, state=None, resume=None):
    net = model()
    inner = torch.optim.AdamW(net.parameters(), lr=0.01)
    with psmpi.torch.LocalUpdates(inner, every=H, k=0.2, state=state) as outer:
        if resume is not None:
            outer.load_state_dict(resume)
        train(net, outer, first, last)
        return weights(net), outer.state_dict()


@pytest.mark.parametrize("how", ["state", "resume"])
def test_a_saved_state_goes_on_to_the_bit(how):
    whole, _ = sparseloco(0, 6 * H)
    _, state = sparseloco(0, 3 * H)
    resumed, _ = sparseloco(3 * H, 6 * H, **{how: state})
    np.testing.assert_array_equal(resumed, whole)
    assert state["steps"] == 3 * H
    residual = state["psmpi"]["worker.up.e"]
    assert residual.abs().sum() > 0
    residual.zero_()
    assert (sparseloco(3 * H, 6 * H, state)[0] != whole).any()


def test_compressed_progress_lowers_the_loss():
    before = loss(model(), torch.arange(48)).item()
    net = model()
    inner = torch.optim.AdamW(net.parameters(), lr=0.01)
    with psmpi.torch.LocalUpdates(
        inner, every=H, algorithm="sparseloco", k=0.2, rounds=30, evaluate_every=1
    ) as outer:
        for step in range(30 * H):
            outer.zero_grad()
            value = loss(net, batch(step, 0, 1))
            value.backward()
            outer.step(loss=value)
    assert loss(net, torch.arange(48)).item() < before - 0.1
    summary = outer.session.result.summary
    dense = 32 * len(weights(net)) * summary["uploads"]
    assert summary["paper_bits_up"] < dense / 2
    assert outer.session.result.rows[-1]["loss"] < before


def test_bfloat16_parameters_go_through_float32():
    net = model().to(torch.bfloat16)
    inner = torch.optim.SGD(net.parameters(), lr=0.1)
    with psmpi.torch.LocalUpdates(inner, every=2, **PLAIN) as outer:
        before = outer.session.x.copy()
        for p in net.parameters():
            p.grad = torch.ones_like(p)
        outer.step()
        np.testing.assert_array_equal(outer.session.x, before)
        outer.step()
        moved = torch.cat([p.detach().float().reshape(-1) for p in net.parameters()])
        np.testing.assert_array_equal(outer.session.x, moved.numpy())
        assert (outer.session.x < before).all()


def test_schedulers_are_the_inner_optimizers():
    net = model()
    inner = torch.optim.SGD(net.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(inner, 1, 0.1)
    with psmpi.torch.LocalUpdates(inner, every=1, **PLAIN) as outer:
        for _ in range(2):
            before = weights(net)
            for p in net.parameters():
                p.grad = torch.ones_like(p)
            outer.step()
            scheduler.step()
        step = before - weights(net)
    np.testing.assert_allclose(step, 0.05, rtol=1e-4)
    assert outer.param_groups is inner.param_groups


def make(**options):
    inner = options.pop("inner", None)
    if inner is None:
        inner = torch.optim.SGD(model().parameters(), lr=0.1)
    return psmpi.torch.LocalUpdates(inner, **{"every": H, **options})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inner": nn.Linear(2, 2)}, "inner: must be a torch.optim.Optimizer"),
        ({"every": 0}, "every: must be a whole number above 0"),
        ({"every": 2.5}, "every: must be a whole number above 0"),
        ({"outer_rate": 1}, "no option --outer-rate"),
        ({"algorithm": "sgd"}, "sgd: there is no option --local-steps"),
    ],
)
def test_what_cannot_be_done_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        make(**options)


def test_an_algorithm_of_gradients_is_refused_at_the_first_exchange():
    net = model()
    inner = torch.optim.SGD(net.parameters(), lr=0.1)
    with psmpi.torch.LocalUpdates(inner, every=H, algorithm="local-sgd") as outer:
        train(net, outer, 0, H - 1)
        with pytest.raises(ConfigError, match="take local-updates, diloco or sparse"):
            train(net, outer, H - 1, H)


def test_a_state_between_exchanges_is_refused():
    net = model()
    inner = torch.optim.SGD(net.parameters(), lr=0.1)
    with psmpi.torch.LocalUpdates(inner, every=H, **PLAIN) as outer:
        train(net, outer, 0, H + 1)
        with pytest.raises(ConfigError, match="1 steps were taken since"):
            outer.state_dict()
