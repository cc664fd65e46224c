"""A small model, its data, and the batches of each worker, for loops of PyTorch's."""

import torch
import torch.nn.functional as F
from torch import nn

SAMPLES, FEATURES, CLASSES, BATCH = 48, 6, 3, 4


def data():
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(SAMPLES, FEATURES, generator=draw)
    return x, torch.randint(0, CLASSES, (SAMPLES,), generator=draw)


def model():
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, CLASSES))


def batch(step, worker, workers):
    """Return the numbers of a worker's samples in a step; no two workers share one."""
    draw = torch.Generator().manual_seed(step)
    order = torch.randperm(SAMPLES, generator=draw)[: workers * BATCH]
    return order[worker * BATCH : (worker + 1) * BATCH]


def loss(net, which):
    x, y = data()
    return F.cross_entropy(net(x[which]), y[which])


def weights(net):
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy().copy()
