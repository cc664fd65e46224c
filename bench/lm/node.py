"""One node of a measurement: trains by a method of torch.distributed, or alone.

    python bench/lm/node.py METHOD NODE OUT SETTING

SETTING is a ``training.Setting`` as JSON. Nodes find each other at MASTER_ADDR. The
methods: ``alone``; ``ddp``, and ``bf16`` and ``powersgd``, its communication hooks;
``local``, local steps whose models are averaged.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import (
    default_hooks,
    powerSGD_hook,
)
from torch.nn.parallel import DistributedDataParallel
from training import Log, Setting

RANK = 1  # of PowerSGD's matrices
ONE_BUCKET = 1000  # MB
FLOAT_STEPS = 2  # steps before PowerSGD begins, the fewest that it takes


def main() -> None:
    method, node, out, setting = sys.argv[1:]
    torch.set_num_threads(1)
    train(method, int(node), Path(out), Setting(**json.loads(setting)))


def train(method: str, node: int, out: Path, setting: Setting) -> None:
    if method != "alone":
        dist.init_process_group("gloo", rank=node, world_size=setting.nodes)
    setting.prefer()
    model, text, batches = setting.model(), setting.text(), setting.batches(node)
    optimizer = setting.adamw(model)
    forward = wrapped(method, model)
    for _ in range(2):  # PyTorch's first steps take longer; the optimizer does nothing
        forward(*text.batch(setting.batch, torch.Generator())).backward()
        optimizer.zero_grad()
    if method != "alone":
        dist.barrier()
    log = Log(setting, node)
    log.start()
    while not agreed(method, log):
        loss = forward(*text.batch(setting.batch, batches))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        whole = len(log.times) % setting.every == setting.every - 1
        if method == "local" and whole:
            average(model)
        log.step(loss.item())
        if method != "local" or whole:
            log.copy(model)
    log.write(out)
    if method != "alone":
        dist.barrier()
        dist.destroy_process_group()


def wrapped(method: str, model: torch.nn.Module) -> torch.nn.Module:
    """Return the model's loss as a module, whose gradients are averaged over nodes."""
    loss = Loss(model)
    if method in ("alone", "local"):
        return loss
    # PowerSGD's hook starts further sums when sums end. Over gloo, with more than one
    # bucket, nodes then start them in different orders, and wait for each other.
    size = ONE_BUCKET if method == "powersgd" else None
    ddp = DistributedDataParallel(
        loss, gradient_as_bucket_view=True, bucket_cap_mb=size
    )
    if method == "bf16":
        ddp.register_comm_hook(None, bf16)
    elif method == "powersgd":
        state = powerSGD_hook.PowerSGDState(
            None,
            matrix_approximation_rank=RANK,
            start_powerSGD_iter=FLOAT_STEPS,
        )
        ddp.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    elif method != "ddp":
        raise SystemExit(f"no method {method}")
    return ddp


def bf16(group, bucket):  # type: ignore[no-untyped-def]  # DDP reads annotations
    """Be PyTorch's bf16 hook, which DDP refuses over gloo by its name; gloo can it."""
    return default_hooks.bf16_compress_hook(group, bucket)


class Loss(torch.nn.Module):
    """The model's loss, because DDP takes modules."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.model.loss(inputs, targets)


def average(model: torch.nn.Module) -> None:
    """Average the models of all nodes, as one vector."""
    with torch.no_grad():
        flat = torch.nn.utils.parameters_to_vector(model.parameters())
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        torch.nn.utils.vector_to_parameters(flat, model.parameters())


def agreed(method: str, log: Log) -> bool:
    """Return whether all nodes end here: node 0 says so, every ``every`` steps."""
    if len(log.times) % log.setting.every:
        return False
    over = torch.tensor([log.over()])
    if method != "alone":
        dist.broadcast(over, 0)
    return bool(over)


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "eth0")
    main()
