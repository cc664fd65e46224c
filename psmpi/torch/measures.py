"""Means of a model's metrics over samples, and the share of correct classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

Metric = Callable[[Any, Any], Any]  # of outputs and targets: a mean over samples


def means(
    model: nn.Module,
    chunks: Iterable[tuple[Any, Any, int]],
    metrics: Mapping[str, Metric],
) -> tuple[float | None, dict[str, float]]:
    """Return the share of correct classes, None without classes, and all metrics.

    ``chunks`` are (inputs, targets, count).
    """
    sums, samples = dict.fromkeys(metrics, 0.0), 0
    right = classified = 0
    for inputs, targets, count in chunks:
        outputs = model(inputs)
        samples += count
        for name, metric in metrics.items():
            sums[name] += float(metric(outputs, targets)) * count
        hits = _hits(outputs, targets)
        if hits is not None:
            right += int(hits.sum())
            classified += hits.numel()
    share = right / classified if classified else None
    return share, {name: total / samples for name, total in sums.items()}


def _hits(outputs: Any, targets: Any) -> Tensor | None:
    """Return which targets are the class of the highest output; None if not classes.

    Classes are the second axis of outputs, as PyTorch's losses have them, or the last.
    """
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return None
    if targets.is_floating_point() or outputs.dim() != targets.dim() + 1:
        return None
    for axis in (1, -1):
        guess = outputs.argmax(axis)
        if guess.shape == targets.shape:
            return guess == targets
    return None
