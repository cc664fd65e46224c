"""A small character-level transformer, and the text that it learns.

The text ships with Python: the help topics of ``pydoc``, sorted by their names. The
first nine tenths of it are for training, the rest is for validation.
"""

from __future__ import annotations

import argparse
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional


class Text:
    """The text as numbers: ``training`` and ``validation``, and windows of both."""

    def __init__(self, context: int) -> None:
        text = "\n".join(topics[name] for name in sorted(topics))
        letters = {letter: number for number, letter in enumerate(sorted(set(text)))}
        numbers = torch.tensor([letters[letter] for letter in text])
        self.letters = len(letters)
        self.context = context
        border = len(text) * 9 // 10
        self.training, self.validation = numbers[:border], numbers[border:]

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of ``size`` random windows of the training part.

        Both have the shape (size, context); targets are inputs, one letter on.
        """
        last = len(self.training) - self.context
        return self.windows(torch.randint(last, (size,), generator=generator))

    def windows(self, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of the windows that begin there, for training."""
        windows = self.training[starts[:, None] + torch.arange(self.context + 1)]
        return windows[:, :-1], windows[:, 1:]

    def fixed(self, part: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of at most ``most`` windows that don't overlap."""
        count = min(most, (len(part) - 1) // self.context)
        size = count * self.context
        return part[:size].view(count, -1), part[1 : size + 1].view(count, -1)


class Block(nn.Module):
    """Causal attention, then a perceptron, both behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, context, width = x.shape
        shape = (batch, context, 3, self.heads, width // self.heads)
        q, k, v = self.qkv(self.norm1(x)).view(shape).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, context, width))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Logits of the next letter at every place of a window."""

    def __init__(
        self, letters: int, context: int, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters)
        nn.init.normal_(self.letters.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, inputs: Tensor) -> Tensor:
        places = torch.arange(inputs.shape[1], device=inputs.device)
        return self.head(
            self.norm(self.blocks(self.letters(inputs) + self.places(places)))
        )

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of the next letter, in nats."""
        return functional.cross_entropy(self(inputs).flatten(0, 1), targets.flatten())


@torch.no_grad()
def fixed_loss(model: Transformer, inputs: Tensor, targets: Tensor) -> float:
    """Return the mean loss over these windows, a few at a time."""
    pieces = zip(inputs.split(32), targets.split(32), strict=True)
    total = sum(float(model.loss(a, b)) * len(a) for a, b in pieces)
    return total / len(inputs)


def arguments() -> argparse.Namespace:
    """Return the command line's options: sizes of the model, and of the training."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600, help="of the optimizer")
    parser.add_argument("--batch", type=int, default=8, help="windows a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--context", type=int, default=64, help="letters a window")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--windows", type=int, default=256, help="for validation")
    return parser.parse_args()
