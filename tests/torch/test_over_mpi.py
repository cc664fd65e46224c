"""PyTorch's loops on ranks: the steps of one process, and misdeeds that are named."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra psmpi[torch]")

from tests.helpers.jobs import SECONDS  # noqa: E402
from tests.helpers.torch_loop import batch, loss, model, weights  # noqa: E402

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(120)]
WORKERS = 3


def test_workers_do_the_steps_of_one_process(start):
    ended = start("torch_loop.py", "train", ranks=WORKERS + 1, bare=True).finish(60)
    assert ended.status == 0, ended.output
    models = re.findall(r"model \d (\w+)", ended.output)
    assert len(models) == WORKERS
    assert len(set(models)) == 1
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 8, 0.5)
    for step in range(40):
        optimizer.zero_grad()
        loss(
            net, torch.cat([batch(step, m, WORKERS) for m in range(WORKERS)])
        ).backward()
        optimizer.step()
        scheduler.step()
    there = np.frombuffer(bytes.fromhex(models[0]), np.float32)
    np.testing.assert_allclose(there, weights(net), rtol=1e-4, atol=1e-6)


def test_a_model_that_starts_differently_is_named_by_tensor_and_rank(start):
    ended = start("torch_loop.py", "start", ranks=WORKERS + 1, bare=True).finish(60)
    assert ended.status == 0, ended.output
    said = r"refused session: '2\.weight' starts with other values on worker 1"
    assert len(re.findall(said, ended.output)) == WORKERS, ended.output


def test_a_step_size_that_differs_is_named(start):
    ended = start("torch_loop.py", "lr", ranks=WORKERS + 1, bare=True).finish(60)
    assert ended.status != 0
    said = "lr: in round 6 it is 0.07 on worker 1 and not set on worker 0"
    assert said in ended.output
    assert "model" not in ended.output
    assert ended.since_misdeed() <= SECONDS
