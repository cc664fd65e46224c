"""Trains a small transformer on several nodes, which send what 15 steps have changed.

``psmpi launch --workers 2 examples/transformer/compressed.py [--steps 600] ...``
"""

import torch
from model import Text, Transformer, arguments, fixed_loss

import psmpi.torch


def train(model, text, optimizer, args, seed):
    """Do all steps, and look at the validation part every 60."""
    batches = torch.Generator().manual_seed(seed)
    for step in range(1, args.steps + 1):
        optimizer.zero_grad()
        loss = model.loss(*text.batch(args.batch, batches))
        loss.backward()
        optimizer.step(loss=loss)
        if step % 60 == 0 or step == args.steps:
            validation = fixed_loss(model, *text.fixed(text.validation, args.windows))
            print(f"step {step}: training {loss:.3f}, validation {validation:.3f}")


if __name__ == "__main__":
    args = arguments()
    text = Text(args.context)
    torch.manual_seed(args.seed)
    model = Transformer(text.letters, args.context, args.width, args.layers, args.heads)
    inner = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95))
    with psmpi.torch.LocalUpdates(inner, every=15, algorithm="sparseloco") as optimizer:
        train(model, text, optimizer, args, seed=args.seed + optimizer.session.worker)
