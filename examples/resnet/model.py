"""ResNet-20 for CIFAR-10 (He, Zhang, Ren, Sun 2016, section 4.2), and its data."""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """Two convolutions and a shortcut, which pads new channels with zeros."""

    def __init__(self, narrow, wide):
        super().__init__()
        self.stride, self.more = wide // narrow, wide - narrow
        self.conv1 = nn.Conv2d(narrow, wide, 3, self.stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)

    def forward(self, x):
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.more))
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + shortcut)


class ResNet(nn.Module):
    """Three stages of ``blocks`` blocks each; 3 of them make ResNet-20."""

    def __init__(self, blocks=3, width=16):
        super().__init__()
        widths = [width] * blocks + [2 * width] * blocks + [4 * width] * blocks
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        pairs = zip([width, *widths], widths, strict=False)
        self.blocks = nn.Sequential(*(Block(narrow, wide) for narrow, wide in pairs))
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x):
        y = self.blocks(F.relu(self.norm(self.conv(x))))
        return self.head(y.mean(dim=(2, 3)))


def cifar10(folder):
    """Return training and test images, (N, 3, 32, 32), with labels.

    ``folder`` holds the binary version of CIFAR-10; without one the images are noise
    around ten patterns, to try the script.
    """
    if folder is None:
        draw = np.random.default_rng(0)
        y = draw.integers(0, 10, 2000)
        x = draw.normal(size=(10, 3, 32, 32))[y] + draw.normal(size=(2000, 3, 32, 32))
        return split(x.astype(np.float32), y, 1600)
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    files = [Path(folder) / name for name in names]
    rows = [np.fromfile(file, np.uint8).reshape(-1, 3073) for file in files]
    images = np.concatenate(rows)
    x = images[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32)
    x = (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True)
    return split(x, images[:, 0], 50_000)


def split(x, y, train):
    """Return the first ``train`` samples, and the others, as tensors."""
    x, y = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    return (x[:train], y[:train]), (x[train:], y[train:])


def batches(x, y, size, steps, seed):
    """Yield batches, half of them mirrored and all shifted by up to 4 pixels."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(x), (size,), generator=draw)
        images = x[chosen]
        if torch.rand((), generator=draw) < 0.5:
            images = images.flip(3)
        down, right = torch.randint(-4, 5, (2,), generator=draw).tolist()
        yield images.roll((down, right), (2, 3)), y[chosen]


@torch.no_grad()
def accuracy(model, x, y):
    """Return the share of images that the model names rightly."""
    model.eval()
    guesses = torch.cat([model(part).argmax(1) for part in x.split(500)])
    model.train()
    return float((guesses == y).double().mean())


def arguments():
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="folder of CIFAR-10's binary version")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()
