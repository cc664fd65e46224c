"""Nested values with tensors, as checkpoints hold them: with arrays, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def arrays(value: Any) -> Any:
    """Return ``value`` with arrays in place of tensors.

    Types that NumPy does not have, like bfloat16, become float32.
    """

    def convert(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        tensor = leaf.detach().cpu()
        return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()

    return _mapped(value, convert)


def tensors(value: Any) -> Any:
    """Return ``value`` with tensors in place of arrays."""

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, np.generic):
            return leaf.item()
        return torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf

    return _mapped(value, convert)


def _mapped(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(item, convert) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, convert) for item in value]
    return convert(value)
