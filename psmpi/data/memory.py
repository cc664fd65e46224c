"""Refuses sizes that no memory of this machine can hold, before anything allocates."""

from __future__ import annotations

import os

from psmpi.errors import ConfigError

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def installed() -> int | None:
    """Return the bytes of memory of this machine; None where the system hides it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def require(thing: str, size: int, remedy: str) -> None:
    """Raise ``ConfigError`` if ``size`` bytes are more than this machine has at all.

    ``thing`` says what would take the memory, as ``"hidden: a model of ..."``. Less
    than all the memory may still be too much: that is a ``MemoryError`` later, which
    ``shortage`` puts into words.
    """
    present = installed()
    if present is not None and size > present:
        raise ConfigError(
            f"{thing} needs at least {readable(size)} of memory, but this machine has "
            f"{readable(present)}; {remedy}"
        )


def shortage(thing: str, error: MemoryError) -> ConfigError:
    """Return the ``ConfigError`` that says which allocation for ``thing`` failed."""
    present = installed()
    has = "" if present is None else f"; this machine has {readable(present)}"
    reason = f" ({str(error).rstrip('.')})" if str(error) else ""
    return ConfigError(
        f"{thing}: doesn't fit into memory{reason}{has}; use smaller sizes"
    )


def readable(size: float) -> str:
    """Return a number of bytes with a decimal unit.

    >>> readable(2.04e9)
    '2 GB'
    """
    power = 0
    while size >= 999.5 and power < len(_UNITS) - 1:
        size /= 1000
        power += 1
    return f"{size:.3g} {_UNITS[power]}"
