"""All trainable parameters of a model as views of one flat vector, gradients too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from psmpi.base import ConfigError, Vector

_FLOATS: dict[Any, torch.dtype] = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}
Parameters: TypeAlias = (
    "nn.Module | Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]]"
)


class Slot(NamedTuple):
    """Where a parameter lies in the flat vector: ``x[low:high]``.

    ``direct``: it is a view of these entries, and not a copy.
    """

    name: str
    parameter: nn.Parameter
    low: int
    high: int
    stride: tuple[int, ...]
    direct: bool

    def view(self, flat: Tensor) -> Tensor:
        """Return these entries of a flat tensor in the parameter's shape."""
        return flat.as_strided(self.parameter.shape, self.stride, self.low)


class FlatParameters:
    """The trainable parameters of a model, in order, in one vector.

    ``x`` and ``gradient`` are float32 or float64 vectors of shape (dim,): every
    parameter is a view of the one, and its ``grad`` a view of the other, so that moving
    ``x`` moves the model, and ``backward`` writes into ``gradient``. Tensor i has
    entries ``bounds[i]:bounds[i + 1]``, in the order in which its memory is laid out
    (channels last stays so), and the name ``names[i]``. Shared parameters are in it
    once; those with ``requires_grad`` False are left out.

    Parameters of another dtype (bfloat16, half) and those on another device are copies:
    ``load`` writes ``x`` into them, ``collect`` reads their gradients. With parameters
    on CUDA, ``x`` and ``gradient`` lie in pinned memory; that is not tested, for want
    of such a machine.

    Parameters
    ----------
    parameters
        A model, its ``parameters()`` or its ``named_parameters()``.
    dtype
        Of the vectors; by default float64 if all parameters are, else float32.
    gradients
        Whether gradients become views; without, ``gradient`` has no entries.

    Raises ``ConfigError`` for a parameter that has no shape yet or isn't real, and
    where there is none to train.
    """

    def __init__(
        self, parameters: Parameters, dtype: Any = None, *, gradients: bool = True
    ) -> None:
        named = [(n, p) for n, p in unique(parameters) if p.requires_grad]
        if not named:
            raise ConfigError(
                "parameters: none of the model's requires a gradient; there is nothing "
                "to train"
            )
        for name, p in named:
            _check(name, p)
        if dtype is None:
            double = all(p.dtype == torch.float64 for _, p in named)
            dtype = np.float64 if double else np.float32
        self.dtype = np.dtype(dtype)
        if self.dtype not in _FLOATS:
            raise ConfigError(f"dtype: must be float32 or float64, got {self.dtype}")
        self.slots = self._slots(named)
        self.names = tuple(slot.name for slot in self.slots)
        self.bounds = (0, *(slot.high for slot in self.slots))
        self.dim = self.bounds[-1]
        self._known = {id(p) for _, p in named}
        self._pinned = any(p.device.type == "cuda" for _, p in named)
        x = self.zeros()
        flat = torch.from_numpy(x)
        for slot in self.slots:
            slot.view(flat).copy_(slot.parameter.detach())
        self.bind(x)
        self.gradient = x[:0]
        if gradients:
            self.bind_gradient(self.zeros())

    def _slots(self, named: list[tuple[str, nn.Parameter]]) -> tuple[Slot, ...]:
        slots, low = [], 0
        for name, p in named:
            # The strides of a dense tensor in any order, else contiguous ones.
            stride = torch.empty_like(p, device="meta").stride()
            direct = p.device.type == "cpu" and p.dtype == _FLOATS[self.dtype]
            slots.append(Slot(name, p, low, low + p.numel(), stride, direct))
            low += p.numel()
        return tuple(slots)

    def zeros(self) -> Vector:
        """Return a vector of zeros, shape (dim,), for ``bind`` or ``bind_gradient``."""
        flat = torch.zeros(self.dim, dtype=_FLOATS[self.dtype], pin_memory=self._pinned)
        return flat.numpy()

    def bind(self, x: Vector) -> None:
        """Make the parameters views of ``x``, shape (dim,); nothing is copied."""
        self.x = x
        self._flat = torch.from_numpy(x)
        for slot in self.slots:
            if slot.direct:
                slot.parameter.data = slot.view(self._flat)
        self.load()

    def load(self) -> None:
        """Write ``x`` into the parameters that are copies."""
        for slot in self.slots:
            if not slot.direct:
                slot.parameter.data.copy_(slot.view(self._flat))

    def store(self) -> None:
        """Write the parameters that are copies into ``x``."""
        for slot in self.slots:
            if not slot.direct:
                slot.view(self._flat).copy_(slot.parameter.detach())

    def bind_gradient(self, gradient: Vector) -> None:
        """Make the gradients views of ``gradient``, shape (dim,), and set them to 0."""
        self.gradient = gradient
        self._flat_gradient = torch.from_numpy(gradient)
        self._views = [slot.view(self._flat_gradient) for slot in self.slots]
        self.zero()

    def zero(self) -> None:
        """Set all gradients to 0; they stay views of ``gradient``."""
        self._flat_gradient.zero_()
        for slot, view in zip(self.slots, self._views, strict=True):
            slot.parameter.grad = view if slot.direct else None
        self._seen = self._flat_gradient._version

    def release(self) -> None:
        """Take the gradients off the parameters, so that they keep no vector alive."""
        for slot in self.slots:
            slot.parameter.grad = None

    def collect(self) -> None:
        """Bring all of the parameters' gradients into ``gradient``.

        That copies only what isn't there: a ``grad`` that was replaced by another
        tensor, as after ``model.zero_grad()``, or one of a copied parameter. A
        parameter without a ``grad`` has the gradient 0. Raises ``ConfigError`` if no
        parameter has got one since the last call.
        """
        # What writes into a view raises the version of its base.
        found = self._flat_gradient._version != self._seen
        for slot, view in zip(self.slots, self._views, strict=True):
            grad = slot.parameter.grad
            if grad is view:
                continue
            if grad is None:
                view.zero_()
                continue
            found = True
            view.copy_(grad.to_dense() if grad.is_sparse else grad)
            if slot.direct:
                slot.parameter.grad = view
        self._seen = self._flat_gradient._version
        if not found:
            raise ConfigError(
                "gradient: no parameter has one; call loss.backward() before the step, "
                "on a loss that depends on the model's parameters"
            )

    def adjust(self, low: int, high: int, decay: float, factor: float) -> None:
        """Do gradient <- factor (gradient + decay x) in the entries ``low:high``."""
        part = self._flat_gradient[low:high]
        if decay:
            part.add_(self._flat[low:high], alpha=decay)
        if factor != 1:
            part.mul_(factor)
        self._seen = self._flat_gradient._version

    def refuse_others(self, parameters: Parameters) -> None:
        """Raise ``ConfigError`` for a parameter to train that isn't in the vector."""
        for name, p in unique(parameters):
            if p.requires_grad and id(p) not in self._known:
                raise ConfigError(
                    f"parameter {name}: requires a gradient, but was added or unfrozen "
                    "after the start, so that it is not trained; build the whole model "
                    "first"
                )


def unique(parameters: Parameters) -> list[tuple[str, nn.Parameter]]:
    """Return parameters with their names, each once; unnamed ones are numbered."""
    if isinstance(parameters, nn.Module):
        return list(parameters.named_parameters())
    named: dict[int, tuple[str, Any]] = {}
    for number, entry in enumerate(parameters):
        name, p = entry if isinstance(entry, tuple) else (str(number), entry)
        if not isinstance(p, Tensor):
            raise ConfigError(
                f"parameters: must be a model or its parameters(), got {type(p)}"
            )
        named.setdefault(id(p), (name, p))
    return list(named.values())


def _check(name: str, p: nn.Parameter) -> None:
    if isinstance(p, nn.parameter.UninitializedParameter):
        raise ConfigError(
            f"parameter {name}: has no shape yet, as its module is lazy; let the model "
            "compute one batch first"
        )
    if not p.dtype.is_floating_point:
        raise ConfigError(
            f"parameter {name}: must be real, got {p.dtype}; keep its real and "
            "imaginary parts as parameters"
        )
    if not p.numel():
        raise ConfigError(f"parameter {name}: has no entries; leave it out")
