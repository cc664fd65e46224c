"""Has all kernels compiled once per machine, and a run's own loaded before its clock.

Compiling takes about half a minute, once: numba keeps what it compiled in a cache on
disk, and a stamp beside it says that the cache is complete. Loading costs a few
milliseconds a kernel, so a rank loads those that its algorithm and codecs call.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import psmpi.kernels
from psmpi.data import cache
from psmpi.kernels.warmup import examples
from psmpi.runs.setup import PreparedRun

_LOG = logging.getLogger("psmpi")
_ROOMS = ("psmpi.algorithms.", "psmpi.codecs.", "psmpi.parts.", "psmpi.problems.")
_DTYPES = (np.float32, np.float64)


def compile_all() -> None:
    """Compile all kernels that are not in numba's cache yet; say so if any is not.

    Run it on one rank per machine before the others load their kernels.
    """
    key = _cache_key()
    if any((folder / f"complete-{key}").exists() for folder in _stamp_folders()):
        return
    _LOG.info("compiling the kernels (once on this machine, about half a minute) ...")
    for dtype in _DTYPES:
        for kernel, arguments in examples(dtype):
            kernel(*arguments)
    for folder in _stamp_folders():
        cache.write(folder / f"complete-{key}", lambda file: file.write(b""))
        if (folder / f"complete-{key}").exists():
            return


def load(prepared: PreparedRun) -> None:
    """Load the kernels that a run calls, so that its clock does not see that."""
    wanted = kernels_of(prepared)
    for kernel, arguments in examples(prepared.plan.dtype):
        if _python_function(kernel) in wanted:
            kernel(*arguments)


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


def _stamp_folders() -> list[Path]:
    """Return where the stamp may be: in numba's cache, or in psmpi's."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    first = (
        Path(given) if given else Path(psmpi.kernels.__file__).parent / "__pycache__"
    )
    return [first, cache.folder()]


def _cache_key() -> str:
    """Return a digest of what compiled kernels depend on: source, numba, processor."""
    source = Path(psmpi.kernels.__file__).parent
    files = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(source.glob("*.py"))
    ]
    versions = [importlib.metadata.version(name) for name in ("numba", "numpy")]
    facts = (str(source), files, versions, sys.version, _processor())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:40]


def _processor() -> str:
    """Return the model and features of the processor, which numba compiles for."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "flags", "Features", "CPU part")
    return repr(sorted({line for line in lines if line.startswith(wanted)}))
