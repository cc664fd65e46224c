"""Trains ResNet-20 on CIFAR-10, by SGD with momentum.

python examples/resnet/plain.py --data cifar-10-batches-bin
"""

import torch
import torch.nn.functional as F
from model import ResNet, accuracy, arguments, batches, cifar10


def train(model, data, optimizer, args, seed):
    """Do all steps, with two drops of the step size."""
    drops = [args.steps // 2, args.steps * 3 // 4]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops)
    for x, y in batches(*data, args.batch, args.steps, seed):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()


if __name__ == "__main__":
    args = arguments()
    data, test = cifar10(args.data)
    torch.manual_seed(args.seed)
    model = ResNet(args.blocks, args.width)
    settings = {"lr": args.lr, "momentum": 0.9, "weight_decay": 1e-4}
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    train(model, data, optimizer, args, args.seed)
    print(f"accuracy {accuracy(model, *test):.3f}")
