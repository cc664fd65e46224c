"""The flat vector of a model: views, copies where there must be some, and refusals."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra psmpi[torch]")
from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from psmpi.errors import ConfigError  # noqa: E402
from psmpi.torch import FlatParameters  # noqa: E402


def model(dtype=torch.float32):
    torch.manual_seed(3)
    layers = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    return layers.to(dtype)


def inputs(dtype=torch.float32):
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(1)).to(dtype)


class Copied(TorchDispatchMode):
    """Counts the bytes that are copied while it is active."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if any(word in name for word in ("copy", "clone", "_to_copy")):
            self.bytes += args[0].numel() * args[0].element_size()
        return func(*args, **(kwargs or {}))


def test_the_vector_holds_all_parameters_in_order_and_is_their_memory():
    net = model()
    expected = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    flat = FlatParameters(net)
    assert flat.dtype == np.float32
    assert flat.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert flat.bounds == (0, 20, 24, 36, 39)
    np.testing.assert_array_equal(flat.x, expected.numpy())
    flat.x[20:24] = 7
    assert net[0].bias.tolist() == [7.0] * 4
    with torch.no_grad():
        net[2].bias.fill_(-1)
    assert flat.x[36:].tolist() == [-1.0] * 3


def test_backward_writes_into_the_flat_gradient_without_a_copy():
    net, x = model(), inputs()
    (plain := model())(x).square().sum().backward()
    expected = torch.cat([p.grad.reshape(-1) for p in plain.parameters()])
    flat = FlatParameters(net)
    net(x).square().sum().backward()
    with Copied() as copied:
        flat.collect()
        flat.load()
        flat.zero()
    assert copied.bytes == 0
    assert not flat.gradient.any()
    net(x).square().sum().backward()
    flat.collect()
    np.testing.assert_array_equal(flat.gradient, expected.numpy())
    assert np.shares_memory(net[0].weight.grad.numpy(), flat.gradient)


def test_the_counter_of_copies_counts():
    """The test above fails for an implementation that copies."""
    flat = FlatParameters(net := model())
    net.zero_grad()
    net(inputs()).sum().backward()
    with Copied() as copied:
        flat.collect()
    assert copied.bytes == 4 * flat.dim


def test_binding_to_other_vectors_copies_nothing_and_moves_the_model():
    flat = FlatParameters(net := model())
    other, gradient = flat.x + 1, np.empty_like(flat.x)
    with Copied() as copied:
        flat.bind(other)
        flat.bind_gradient(gradient)
    assert copied.bytes == 0
    assert np.shares_memory(net[2].weight.detach().numpy(), other)
    net(inputs()).sum().backward()
    flat.collect()
    assert gradient.any()


@pytest.mark.parametrize("to_none", [True, False])
def test_a_gradient_that_the_model_has_replaced_comes_back(to_none):
    flat = FlatParameters(net := model())
    net(inputs()).sum().backward()
    flat.collect()
    net.zero_grad(set_to_none=to_none)
    net(inputs()).square().sum().backward()
    flat.collect()
    (plain := model())(inputs()).square().sum().backward()
    expected = torch.cat([p.grad.reshape(-1) for p in plain.parameters()])
    np.testing.assert_array_equal(flat.gradient, expected.numpy())
    assert np.shares_memory(net[0].bias.grad.numpy(), flat.gradient)


def test_several_backward_passes_add_up():
    flat = FlatParameters(net := model())
    for part in inputs().split(3):
        net(part).sum().backward()
    flat.collect()
    (plain := model())(inputs()).sum().backward()
    expected = torch.cat([p.grad.reshape(-1) for p in plain.parameters()])
    np.testing.assert_allclose(flat.gradient, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_an_unused_parameter_has_gradient_zero():
    flat = FlatParameters(net := model())
    flat.gradient[:] = 5
    net.zero_grad()
    net[0](inputs()).sum().backward()  # the last layer has no part in it
    flat.collect()
    assert flat.gradient[:24].any()
    assert not flat.gradient[24:].any()


@pytest.mark.parametrize("clear", [lambda f, n: f.zero(), lambda f, n: n.zero_grad()])
def test_no_gradient_at_all_is_an_error(clear):
    flat = FlatParameters(net := model())
    net(inputs()).sum().backward()
    flat.collect()
    clear(flat, net)
    with pytest.raises(ConfigError, match="gradient: no parameter has one"):
        flat.collect()


def test_frozen_parameters_are_left_out_and_shared_ones_once():
    net = model()
    net[0].weight.requires_grad_(False)
    net.again = net[2]
    net.tied = nn.Linear(4, 3)
    net.tied.weight = net[2].weight
    flat = FlatParameters(net)
    assert flat.names == ("0.bias", "2.weight", "2.bias", "tied.bias")
    flat.x[4:16] = 2
    assert bool((net.tied.weight == 2).all())


def test_parameters_in_other_dtypes_go_through_the_vector():
    net = model()
    net[0].to(torch.bfloat16)
    flat = FlatParameters(net)
    assert flat.dtype == np.float32
    flat.x[:] = np.linspace(-1, 1, flat.dim)
    flat.load()
    expected = torch.from_numpy(flat.x[:20]).to(torch.bfloat16).view(4, 5)
    assert torch.equal(net[0].weight.detach(), expected)
    hidden = net[0](inputs(torch.bfloat16)).relu().float()
    net[2](hidden).sum().backward()
    flat.collect()
    grad = net[0].weight.grad.float().reshape(-1)
    np.testing.assert_array_equal(flat.gradient[:20], grad.numpy())
    assert np.shares_memory(net[2].bias.grad.numpy(), flat.gradient)


def test_double_parameters_give_a_double_vector():
    assert FlatParameters(model(torch.float64)).dtype == np.float64
    assert FlatParameters(model(), np.float64).dtype == np.float64


def test_channels_last_keeps_its_layout():
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    before, plain = net.weight.detach().clone(), net(x)
    flat = FlatParameters(net)
    assert net.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(net.weight, before)
    assert torch.equal(net(x), plain)
    inner = before.permute(0, 2, 3, 1).reshape(-1)
    np.testing.assert_array_equal(flat.x[: inner.numel()], inner.numpy())
    net(x).square().sum().backward()
    flat.collect()
    assert np.shares_memory(net.weight.grad.permute(0, 2, 3, 1).numpy(), flat.gradient)


def test_a_parameter_with_gaps_becomes_contiguous():
    p = nn.Parameter(torch.arange(12.0).view(4, 3)[:, :2])
    flat = FlatParameters([p])
    assert flat.x.tolist() == [0, 1, 3, 4, 6, 7, 9, 10]
    assert p.is_contiguous()


def test_sparse_gradients_are_taken():
    net = nn.Embedding(6, 2, sparse=True)
    flat = FlatParameters(net)
    net.zero_grad()
    net(torch.tensor([1, 1, 4])).sum().backward()
    flat.collect()
    assert flat.gradient.reshape(6, 2)[:, 0].tolist() == [0, 2, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (lambda: nn.ReLU(), "none of the model's requires a gradient"),
        (lambda: nn.LazyLinear(3), "parameter weight: has no shape yet"),
        (lambda: [nn.Parameter(torch.zeros(2, dtype=torch.complex64))], "must be real"),
        (lambda: [nn.Parameter(torch.zeros(0))], "has no entries"),
        (lambda: [3], "must be a model or its parameters"),
    ],
)
def test_what_has_no_vector_is_refused(parameters, said):
    with pytest.raises(ConfigError, match=said):
        FlatParameters(parameters())


def test_a_parameter_added_later_is_refused_by_name():
    net = model()
    net[0].bias.requires_grad_(False)
    flat = FlatParameters(net)
    flat.refuse_others(net)
    net.head = nn.Linear(3, 2)
    with pytest.raises(ConfigError, match=r"parameter head\.weight: .*after the start"):
        flat.refuse_others(net)
    del net.head
    net[0].bias.requires_grad_(True)
    with pytest.raises(ConfigError, match=r"parameter 0\.bias"):
        flat.refuse_others(net)
