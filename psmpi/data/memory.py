"""Refuses sizes that no memory of this machine can hold, before anything allocates."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from psmpi.errors import ConfigError

_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container or a batch job on Linux
_USED = Path("/sys/fs/cgroup/memory.current")
_SYSTEM = Path("/proc/meminfo")

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def available() -> int | None:
    """Return the bytes of memory of this machine, or the limit of this container.

    None where the system tells neither.
    """
    sizes = []
    with contextlib.suppress(ValueError, OSError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(ValueError, OSError):  # no such file, or "max": no limit
        sizes.append(int(_LIMIT.read_text()))
    return min(sizes, default=None)


def free() -> int | None:
    """Return the bytes of memory that new processes of this host can have now.

    None where the system doesn't tell.
    """
    sizes = []
    with contextlib.suppress(ValueError, OSError):
        lines = _SYSTEM.read_text().splitlines()
        rows = (line.split() for line in lines if line.startswith("MemAvailable:"))
        sizes += [int(kibibytes) * 1024 for _, kibibytes, _ in rows]
    with contextlib.suppress(ValueError, OSError):
        sizes.append(int(_LIMIT.read_text()) - int(_USED.read_text()))
    return min(sizes, default=None)


def require(thing: str, size: int, remedy: str) -> None:
    """Raise ``ConfigError`` if ``size`` bytes are more than this machine has at all.

    ``thing`` says what would take the memory, as ``"hidden: a model of ..."``. Less
    than all the memory may still be too much: that is a ``MemoryError`` later, which
    ``shortage`` puts into words.
    """
    present = available()
    if present is not None and size > present:
        raise ConfigError(
            f"{thing} needs at least {readable(size)} of memory, but this machine has "
            f"{readable(present)}; {remedy}"
        )


def shortage(thing: str, error: MemoryError) -> ConfigError:
    """Return the ``ConfigError`` that says which allocation for ``thing`` failed."""
    present = available()
    has = "" if present is None else f"; this machine has {readable(present)}"
    reason = f" ({str(error).rstrip('.')})" if str(error) else ""
    return ConfigError(
        f"{thing}: doesn't fit into memory{reason}{has}; use smaller sizes"
    )


def readable(size: float) -> str:
    """Return a number of bytes with a decimal unit.

    >>> readable(2.04e9)
    '2.04 GB'
    """
    power = 0
    while size >= 999.5 and power < len(_UNITS) - 1:
        size /= 1000
        power += 1
    return f"{size:.3g} {_UNITS[power]}"
