"""The one decorator of all kernels: numba compiles a kernel at its first call.

Importing numba takes a quarter of a second, and its first compiled call as long again,
on every rank. So neither happens before a kernel is called, and what is never called is
never loaded. What has been compiled once is in numba's cache on disk.

Numba caches a kernel by its own file's time stamp only: after editing a kernel that
kernels of other files call, delete ``psmpi/kernels/__pycache__``.
"""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
_CALLEES = 20  # at least as many as a kernel calls, directly or not
#: All kernels of the modules that have been imported.
KERNELS: list[Kernel] = []


class Kernel:
    """A function to be compiled by numba, or loaded from its cache, when called.

    Arguments have one spelling each, so that there is one compilation for float32 and
    one for float64: codecs bring whatever they are given to it.
    """

    def __init__(self, function: types.FunctionType) -> None:
        self.py_func = function
        functools.update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        for _ in range(_CALLEES):
            try:
                return self.dispatcher(*arguments)
            except OSError as error:
                # Kernels touch no file. One has been compiled, this or one that it
                # calls, and could not be kept; it is there for the next try.
                _warn_not_kept(f"{error.filename or ''} {error.strerror or error}")
        return self.dispatcher(*arguments)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """Numba's function object: cached on disk, without the GIL, IEEE arithmetic.

        No fastmath: NaN tests must stay, and sums must come out equal on every rank. No
        threads: a rank is the unit of parallelism. Division by zero follows IEEE, as
        the branch to Python's exception would keep loops from being vectorised.
        """
        from numba import njit

        # Numba looks up what a kernel calls in the globals of the kernel's module, and
        # knows its own objects only.
        names = self.py_func.__globals__
        for name in self.py_func.__code__.co_names:
            found = names.get(name)
            if isinstance(found, Kernel):
                names[name] = found.dispatcher
            elif isinstance(found, _Instruction):
                names[name] = found.intrinsic
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            return njit(cache=True, **options)(self.py_func)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _warn_not_kept("numba finds no folder that it may write to")
            return njit(**options)(self.py_func)


@functools.cache
def _warn_not_kept(reason: str) -> None:
    """Warn, once a process, that compiled kernels are not kept."""
    warnings.warn(
        f"kernels: can't be kept on disk ({reason.strip()}), so they are compiled "
        "again in every process (half a minute); set NUMBA_CACHE_DIR to a folder with "
        "space that you may write to",
        stacklevel=4,
    )


class _Instruction:
    """A name of ``instructions``, which is imported when a kernel is compiled."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def intrinsic(self) -> Any:
        from psmpi.kernels import instructions

        return getattr(instructions, self.name)


def kernel(function: F) -> F:
    """Make ``function`` a kernel, which numba compiles at its first call."""
    KERNELS.append(Kernel(cast(types.FunctionType, function)))
    return cast(F, KERNELS[-1])


def _instruction(name: str) -> Callable[..., Any]:
    return cast(Callable[..., Any], _Instruction(name))


load = _instruction("load")
store = _instruction("store")
magnitude = _instruction("magnitude")
as_float = _instruction("as_float")
trailing_zeros = _instruction("trailing_zeros")
ones = _instruction("ones")

U0, U1 = np.uint64(0), np.uint64(1)

# NumPy's casts under the types that they have inside of kernels.
signed = cast(Callable[[Any], int], np.int64)
real = cast(Callable[[Any], float], np.float64)
