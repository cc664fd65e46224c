"""Inputs and targets by number, from tensors or from a data set of PyTorch's."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset, default_collate

from psmpi.base import ConfigError, Indices
from psmpi.torch.modes import seeded

_LOOKED_AT = 64  # items of a data set without tensors that its digest covers


class Samples:
    """Pairs of an input and a target.

    Parameters
    ----------
    source
        Two tensors or arrays (inputs, targets) with samples along the first axis, a
        ``TensorDataset`` of two tensors, or any data set with ``len`` and numbered
        items ``(input, target)``, which are read item by item.
    name
        What it is called in errors.
    """

    def __init__(self, source: Any, name: str = "data") -> None:
        self._tensors: tuple[Tensor, Tensor] | None = None
        self._items: Any = None
        if type(source) is TensorDataset:
            source = source.tensors
        if isinstance(source, tuple | list) and len(source) == 2:
            x, y = (torch.as_tensor(part) for part in source)
            if x.dim() == 0 or y.dim() == 0 or len(x) != len(y):
                raise ConfigError(
                    f"{name}: inputs {tuple(x.shape)} and targets {tuple(y.shape)} "
                    "must have as many samples, along the first axis"
                )
            self._tensors = x, y
            count = len(x)
        elif hasattr(source, "__len__") and hasattr(source, "__getitem__"):
            self._items = source
            count = len(source)
        else:
            raise ConfigError(
                f"{name}: must be two tensors (inputs, targets) or a data set with "
                f"numbered items (input, target), got {type(source).__name__}"
            )
        if not count:
            raise ConfigError(f"{name}: has no samples")
        self._low, self._high = 0, count
        self._name = name

    def __len__(self) -> int:
        return self._high - self._low

    def part(self, number: int, parts: int) -> Self:
        """Return one of ``parts`` contiguous parts, whose sizes differ by at most 1."""
        ends = np.array_split(np.arange(len(self)), parts)[number]
        own = copy.copy(self)
        own._low, own._high = self._low + int(ends[0]), self._low + int(ends[-1]) + 1
        return own

    def chunks(
        self, size: int, batch: Indices | None = None
    ) -> Iterator[tuple[Any, Any, int]]:
        """Yield (inputs, targets, count) of all samples, or of those in ``batch``.

        At most ``size`` samples come at a time.
        """
        count = len(self) if batch is None else len(batch)
        if batch is not None and not (
            count and batch.min() >= 0 and batch.max() < len(self)
        ):
            raise ConfigError(
                f"batch: needs sample numbers in 0 .. {len(self) - 1}, got {batch}"
            )
        for low in range(0, count, size):
            high = min(low + size, count)
            if batch is None:
                which: Any = slice(self._low + low, self._low + high)
            else:
                which = torch.from_numpy(batch[low:high] + self._low)
            yield *self._take(which), high - low

    def _take(self, which: Any) -> tuple[Any, Any]:
        if self._tensors is not None:
            x, y = self._tensors
            return x[which], y[which]
        numbers = (
            range(which.start, which.stop)
            if isinstance(which, slice)
            else which.tolist()
        )
        collated = default_collate([self._items[i] for i in numbers])
        if not isinstance(collated, tuple | list) or len(collated) != 2:
            raise ConfigError(
                f"{self._name}: an item must be a pair (input, target), got "
                f"{type(self._items[self._low]).__name__}"
            )
        return collated[0], collated[1]

    def digest(self) -> str:
        """Return a hex digest: of all bytes of tensors, else of 64 items and the size.

        Items are read under a fixed seed of PyTorch's, as they may be drawn.
        """
        sha = hashlib.sha256(repr((self._low, self._high)).encode())
        if self._tensors is not None:
            parts: list[Any] = [t[self._low : self._high] for t in self._tensors]
        else:
            count = min(len(self), _LOOKED_AT)
            at = np.linspace(self._low, self._high - 1, count).astype(int)
            with seeded(0):
                parts = [leaf for i in at for leaf in self._items[int(i)]]
        for part in parts:
            tensor = torch.as_tensor(part)
            sha.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
            sha.update(content(tensor))
        return sha.hexdigest()


def content(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor of any dtype."""
    flat = tensor.detach().cpu().reshape(-1).view(torch.uint8)
    return flat.numpy().data
