"""Compiles, or loads from numba's cache, the kernels of a run before its clock starts.

A kernel that no run on this machine has called yet is compiled in about a second, and
numba keeps it in a cache on disk. Loading it from there takes a few milliseconds. A
rank does either only for the kernels that its algorithm and codecs call.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from psmpi.kernels.warmup import examples
from psmpi.runs.setup import PreparedRun

_LOG = logging.getLogger("psmpi")
_ROOMS = ("psmpi.algorithms.", "psmpi.codecs.", "psmpi.parts.", "psmpi.problems.")
_DTYPES = (np.float32, np.float64)
_SILENCE = 1.5  # seconds that loading may take without a word


def compile_all() -> None:
    """Compile all kernels for both dtypes, so that later runs only load them."""
    for dtype in _DTYPES:
        for kernel, arguments in examples(dtype):
            kernel(*arguments)


def load(prepared: PreparedRun) -> None:
    """Load or compile the kernels that a run calls; announce it if it takes long.

    Over MPI one rank per machine does this before the others, which then find all
    kernels in the cache.
    """
    announcement = threading.Timer(
        _SILENCE,
        _LOG.info,
        ["compiling the kernels of this run (once on this machine)"],
    )
    announcement.daemon = True
    announcement.start()
    try:
        wanted = kernels_of(prepared)
        for kernel, arguments in examples(prepared.plan.dtype):
            if _python_function(kernel) in wanted:
                kernel(*arguments)
    finally:
        announcement.cancel()


def kernels_of(prepared: PreparedRun) -> set[Callable[..., Any]]:
    """Return the kernels, as Python functions, that the modules of a run mention.

    These are the modules of its algorithm, codecs and problem, and what those import of
    psmpi's rooms or, for a plugin, of its own package.
    """
    things: list[object] = [prepared.algorithm, prepared.problem]
    things += prepared.codecs()
    modules = {cls.__module__ for thing in things for cls in type(thing).__mro__}
    own = {type(thing).__module__.partition(".")[0] for thing in things} - {"psmpi"}
    rooms = (*_ROOMS, *(f"{package}." for package in own))
    queue = [name for name in modules if f"{name}.".startswith(rooms)]
    found: set[Callable[..., Any]] = set()
    seen = set(queue)
    while queue:
        for value in vars(sys.modules[queue.pop()]).values():
            function = _python_function(value)
            if function is not None:
                found.add(function)
            name = _home(value)
            mentioned = f"{name}.".startswith(rooms) and not _is_package(name)
            if mentioned and name not in seen:
                seen.add(name)
                queue.append(name)
    return found


def _python_function(value: object) -> Callable[..., Any] | None:
    """Return the function behind a kernel; None for anything else."""
    function = getattr(value, "py_func", None)
    home = getattr(function, "__module__", "")
    return function if home.startswith("psmpi.kernels.") else None


def _home(value: object) -> str:
    """Return the name of a module, or of the module that defines ``value``."""
    if isinstance(value, ModuleType):
        return value.__name__
    return getattr(value, "__module__", None) or ""


def _is_package(name: str) -> bool:
    return name not in sys.modules or hasattr(sys.modules[name], "__path__")
