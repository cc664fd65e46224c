"""Loops of PyTorch's that are cut off go on to the same bits, schedulers included."""

import pytest

torch = pytest.importorskip("torch")

import psmpi  # noqa: E402
from psmpi.torch import trees  # noqa: E402
from tests.helpers import torch_loop  # noqa: E402
from tests.runs.test_resume import untimed  # noqa: E402

STEPS = 24


class Killed(Exception):
    pass


def train(out, make, kill=None):
    """Train, and go on where there is something to go on from; return the weights."""
    net = torch_loop.model()
    with make(net, out=out, resume=True, checkpoint_every=4, evaluate_every=2) as outer:
        inner = getattr(outer, "inner", outer)
        scheduler = torch.optim.lr_scheduler.StepLR(inner, step_size=5, gamma=0.5)
        first = 0
        if outer.extra is not None:
            first = outer.extra["next"]
            scheduler.load_state_dict(outer.extra["scheduler"])
        for step in range(first, STEPS):
            if step == kill:
                raise Killed
            outer.zero_grad()
            loss = torch_loop.loss(net, torch_loop.batch(step, 0, 1))
            loss.backward()
            outer.step(loss=loss)
            scheduler.step()
            outer.checkpoint(
                lambda step=step: {
                    "next": step + 1,
                    "scheduler": scheduler.state_dict(),
                    "tensor": torch.full((3,), step),
                }
            )
    return torch_loop.weights(net), outer.session.result


def optimizer(net, **options):
    groups = [
        {"params": net[0].parameters(), "lr": 0.1},
        {"params": net[2].parameters(), "lr": 0.05, "weight_decay": 0.01},
    ]
    return psmpi.torch.Optimizer(groups, "dist-ef-sgdm", **options)


def local_updates(net, **options):
    inner = torch.optim.AdamW(net.parameters(), lr=0.01)
    return psmpi.torch.LocalUpdates(inner, every=2, algorithm="diloco", **options)


@pytest.mark.parametrize("make", [optimizer, local_updates])
def test_a_loop_goes_on_to_the_same_bits(tmp_path, make):
    weights, whole = train(tmp_path / "whole", make)
    with pytest.raises(Killed):
        train(tmp_path / "cut", make, kill=19)
    again, result = train(tmp_path / "cut", make)
    assert again.tobytes() == weights.tobytes()
    assert untimed(result.rows, "") == untimed(whole.rows, "")


def test_tensors_come_back_as_tensors():
    value = {"a": [torch.ones(2), 1], 0: torch.ones(2, dtype=torch.bfloat16), "b": "c"}
    back = trees.tensors(trees.arrays(value))
    assert torch.equal(back["a"][0], torch.ones(2))
    assert back[0].dtype is torch.float32
    assert back["a"][1] == 1
    assert back["b"] == "c"
