"""Counts memory: of arrays that objects hold, of a call's temporaries, of a process.

``python -m psmpi.runs.footprint MODULE ...`` prints the resident bytes of a process
that has loaded what every rank loads, and these modules.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from psmpi.base import PsmpiError

_LEAVES = (str, bytes, int, float, complex, np.generic, np.dtype, type, ModuleType)
_SECONDS = 120.0  # for a process that loads modules; more means that it hangs


def nbytes(*things: Any) -> int:
    """Return the bytes of all arrays that ``things`` hold, each memory once.

    An array counts with all the memory that it keeps, also where it is a view of a part
    of it; so do tensors and other objects that have ``nbytes``.
    """
    owners: dict[int, int] = {}
    seen: dict[int, Any] = {}  # keeps what it has seen, so that no id is used again
    queue: deque[Any] = deque(things)
    while queue:
        thing = queue.popleft()
        if thing is None or isinstance(thing, _LEAVES) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        size = getattr(thing, "nbytes", None)
        if isinstance(size, int):
            owner = _owner(thing)
            owners[id(owner)] = int(owner.nbytes)
            seen[id(owner)] = owner
        else:
            queue.extend(_inside(thing))
    return sum(owners.values())


def _owner(array: Any) -> Any:
    """Return the object whose memory an array is a view of."""
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array


def _inside(thing: Any) -> Iterator[Any]:
    """Yield what an object consists of."""
    if isinstance(thing, dict):
        yield from thing.values()
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        yield from thing
    elif isinstance(thing, MethodType):
        yield thing.__self__
    elif isinstance(thing, FunctionType):
        for cell in thing.__closure__ or ():
            yield cell.cell_contents
    else:
        yield from getattr(thing, "__dict__", {}).values()
        for cls in type(thing).__mro__:
            names = cls.__dict__.get("__slots__", ())
            for name in (names,) if isinstance(names, str) else names:
                yield getattr(thing, name, None)


def peak(*calls: Callable[[], object]) -> int:
    """Make the calls; return the most bytes that one of them had allocated at a time.

    What a call keeps beyond its end, such as scratch of a later one, counts too.
    """
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    most = 0
    before, _ = tracemalloc.get_traced_memory()
    for call in calls:
        tracemalloc.reset_peak()
        call()
        most = max(most, tracemalloc.get_traced_memory()[1] - before)
    if not tracing:
        tracemalloc.stop()
    return most


def of_process(modules: Sequence[str]) -> int:
    """Return the resident bytes of a new process that has loaded ``modules``.

    It loads the libraries that a rank needs before it has any data; MPI itself is not
    started. Raises ``PsmpiError`` if the modules can't be loaded.
    """
    line = [sys.executable, "-m", "psmpi.runs.footprint", *modules]
    ended = subprocess.run(
        line, capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    if ended.returncode:
        reason = ended.stderr.strip().rpartition("\n")[2]
        raise PsmpiError(f"memory: a rank could not load its libraries ({reason})")
    return int(ended.stdout)


def _resident() -> int:
    """Return the most bytes that this process has had in memory."""
    try:
        # Unlike getrusage, this is of the program alone, not of who has started it.
        with open("/proc/self/status", encoding="utf-8") as file:
            (line,) = (line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # not Linux
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(modules: Sequence[str]) -> None:
    """Print the resident bytes of this process with ``modules`` and one kernel."""
    for name in modules:
        importlib.import_module(name)
    from psmpi.kernels.warmup import examples

    kernel, arguments = next(iter(examples(np.float32)))
    kernel(*arguments)  # which loads numba, most of a rank's memory
    print(_resident())  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
