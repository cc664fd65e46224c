"""Trains ResNet-20 on CIFAR-10, by SGD with momentum.

psmpi launch --workers 4 examples/resnet/compressed.py --data cifar-10-batches-bin
"""

import torch
import torch.nn.functional as F
from model import ResNet, accuracy, arguments, batches, cifar10

import psmpi.torch


def train(model, data, optimizer, args, seed):
    """Do all steps, with two drops of the step size."""
    drops = [args.steps // 2, args.steps * 3 // 4]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops)
    for x, y in batches(*data, args.batch, args.steps, seed):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step(loss=loss)
        schedule.step()


if __name__ == "__main__":
    args = arguments()
    data, test = cifar10(args.data)
    torch.manual_seed(args.seed)
    model = ResNet(args.blocks, args.width)
    settings = {"lr": args.lr, "momentum": 0.9, "weight_decay": 1e-4}
    with psmpi.torch.Optimizer(model, "dist-ef-sgdm", **settings) as optimizer:
        train(model, data, optimizer, args, args.seed + optimizer.session.worker)
        optimizer.session.report(accuracy=accuracy(model, *test))
