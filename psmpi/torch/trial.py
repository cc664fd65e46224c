"""Checks a model, a loss and data before a run, and names what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from psmpi.base import ConfigError
from psmpi.torch.modes import Modes, seeded
from psmpi.torch.samples import Samples, content


def check(
    model: nn.Module, loss: Callable[[Any, Any], Any], data: Samples, modes: Modes
) -> None:
    """Compute a loss of the first samples, and refuse what could not be trained.

    Raises ``ConfigError`` for a loss that is no scalar or a sum over samples, and for a
    buffer that a forward pass changes other than running statistics.
    """
    pair = np.arange(min(2, len(data)))
    ((inputs, targets, _),) = data.chunks(2, pair)
    with seeded(0):
        with modes.evaluation():
            value = loss(model(inputs), targets)
            if not isinstance(value, Tensor) or value.numel() != 1:
                what = (
                    f"shape {tuple(value.shape)}"
                    if isinstance(value, Tensor)
                    else type(value).__name__
                )
                raise ConfigError(
                    "loss: must return one number, the mean over the samples of a "
                    f"batch, got {what}; reduction='mean' does"
                )
            if not value.requires_grad:
                raise ConfigError(
                    "loss: does not depend on any parameter that is to be trained"
                )
            if len(pair) == 2:
                _refuse_sum(model, loss, data, value.item())
        _refuse_buffers(model, inputs, modes)


def _refuse_sum(model: nn.Module, loss: Any, data: Samples, both: float) -> None:
    with torch.no_grad():
        single = [
            loss(model(inputs), targets).item()
            for inputs, targets, _ in data.chunks(1, np.arange(2))
        ]
    total = sum(single)
    if total != 0 and abs(both - total) <= 1e-3 * abs(total) < abs(both - total / 2):
        raise ConfigError(
            "loss: is the sum over the samples of a batch, and must be their mean; "
            "take reduction='mean'"
        )


def _refuse_buffers(model: nn.Module, inputs: Any, modes: Modes) -> None:
    own = {id(b) for norm in modes.norms for b in norm.buffers(recurse=False)}
    others = {n: b for n, b in model.named_buffers() if id(b) not in own}
    if not others:
        return
    before = {name: buffer.clone() for name, buffer in others.items()}
    with torch.no_grad():
        model(inputs)
    now = dict(model.named_buffers())
    for name, value in before.items():
        if not torch.equal(value, now[name]):
            raise ConfigError(
                f"buffer {name}: a forward pass changes it, so that it would differ "
                "between workers, which don't exchange buffers; only running "
                "statistics of batch normalisation are known. Make it a parameter, or "
                "leave it out"
            )


def digest(model: nn.Module, *facts: object) -> str:
    """Return a sha256 hex digest of a model, its code and numbers, and of ``facts``."""
    sha = hashlib.sha256(repr((code(model), facts)).encode())
    for name, value in model.state_dict().items():
        sha.update(name.encode())
        sha.update(content(value))
    return sha.hexdigest()


def code(part: Any) -> tuple[Any, ...]:
    """Return what a module or function is, in plain data: structure and bytecode."""
    if isinstance(part, nn.Module):
        kinds = {type(module) for module in part.modules()}
        own = sorted(
            (kind.__qualname__, *_instructions(kind.forward.__code__))
            for kind in kinds
            if not kind.__module__.startswith("torch.")
            and hasattr(kind.forward, "__code__")
        )
        plain = bool | int | float | str | None
        chosen = [
            (name, key, value)
            for name, module in part.named_modules()
            for key, value in sorted(vars(module).items())
            if isinstance(value, plain)
        ]
        return (repr(part), chosen, *own)
    function = getattr(part, "func", part)  # functools.partial
    name = getattr(function, "__qualname__", type(function).__qualname__)
    given = (getattr(part, "args", ()), getattr(part, "keywords", {}))
    inner = getattr(function, "__code__", None)
    return (name, repr(given), *(_instructions(inner) if inner else ()))


def _instructions(function: CodeType) -> Iterator[str]:
    yield function.co_code.hex()
    yield repr(function.co_names)
    for constant in function.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)
        else:
            yield repr(constant)
