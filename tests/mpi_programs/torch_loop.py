"""Workers train a PyTorch model in their own loop: torch_loop.py WHAT."""

import os
import sys
import time

import torch

import psmpi
from psmpi.processes.environment import world_rank
from tests.helpers.torch_loop import batch, loss, model, weights

WHAT = sys.argv[1]
guilty = world_rank() == 2
print("pid", os.getpid(), flush=True)
net = model()
if guilty and WHAT == "start":
    with torch.no_grad():
        net[2].weight[1, 1] += 1e-3
try:
    optimizer = psmpi.torch.Optimizer(net, "sgd", lr=0.2, reduce="mean")
except psmpi.ConfigError as error:
    print("refused", error, flush=True)
    sys.exit(0)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 8, 0.5)
with optimizer:
    s = optimizer.session
    for step in range(40):
        optimizer.zero_grad()
        value = loss(net, batch(step, s.worker, s.workers))
        value.backward()
        optimizer.step(loss=value)
        if guilty and WHAT == "lr" and step == 5:
            print("misdeed at", time.time(), flush=True)
            optimizer.param_groups[0]["lr"] = 0.07
        scheduler.step()
    print("model", s.worker, weights(net).tobytes().hex(), flush=True)
