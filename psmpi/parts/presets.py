"""Presets: algorithms that are another one with some of its options fixed."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def preset(**fixed: Any) -> Callable[[type[T]], type[T]]:
    """Return a class decorator: a frozen dataclass in which these options are fixed.

    A fixed option stays a field with this value, so that records of runs have it, but
    it is no argument any more and no option of the command line. On a mixin, which must
    stand before the base class, it fixes the options of every class that has the mixin.

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Sgd:
    ...     lr: float = 0.1
    ...     batch: int | None = 50
    >>> @preset(batch=None)
    ... class Gd(Sgd):
    ...     pass
    >>> Gd(lr=0.2)
    Gd(lr=0.2, batch=None)
    """

    def decorate(cls: type[T]) -> type[T]:
        types: dict[str, Any] = {}
        for base in reversed(cls.__mro__[1:]):
            if dataclasses.is_dataclass(base):
                types |= {field.name: field.type for field in dataclasses.fields(base)}
        own = dict(inspect.get_annotations(cls))
        for name, value in fixed.items():
            own[name] = types.get(name, Any)
            setattr(cls, name, dataclasses.field(default=value, init=False))
        cls.__annotations__ = own
        return dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    return decorate
