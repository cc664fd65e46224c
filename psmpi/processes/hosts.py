"""The hosts of a job: lists, host files, and how many ranks a core gets."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable

from psmpi.errors import ConfigError

RANKS_PER_CORE = 8  # above, a job is most likely a mistake
INSIST = "PSMPI_OVERSUBSCRIBE"  # environment variable that permits more


def parse_hosts(hosts: str) -> list[tuple[str, int | None]]:
    """Return names and slots of a list of hosts, or of the host file of that name.

    A list is "name,name" or "name:slots,name:slots". A host file has one ``name`` or
    ``name:slots`` a line; ``#`` begins a comment. Raises ``ConfigError`` for anything
    else, with the line of a file.
    """
    if not os.path.isfile(hosts):
        return [_entry(word, "hosts") for word in hosts.split(",")]
    try:
        with open(hosts, encoding="utf-8") as file:
            lines = [line.partition("#")[0].strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"hosts: can't read {hosts} ({error})") from None
    entries = [
        _entry(line, f"hosts: {hosts}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line
    ]
    if not entries:
        raise ConfigError(f"hosts: {hosts} names no host; write one NAME:SLOTS a line")
    return entries


def _entry(text: str, where: str) -> tuple[str, int | None]:
    name, colon, slots = text.strip().partition(":")
    valid = name and not any(c.isspace() or c == "/" for c in text.strip())
    if not valid or (colon and not (slots.isdigit() and int(slots) > 0)):
        raise ConfigError(
            f"{where}: can't read {text!r}; give NAME or NAME:SLOTS for every host, "
            "separated by commas, or the name of a file with one a line"
        )
    return name, int(slots) if colon else None


def host_list(entries: Iterable[tuple[str, int | None]]) -> str:
    """Return hosts as mpiexec takes them: "name:slots,name"."""
    return ",".join(
        name if slots is None else f"{name}:{slots}" for name, slots in entries
    )


def ranks_here(ranks: int, hosts: str | None = None) -> int:
    """Return how many of a job's ranks are on this host; all of them without hosts."""
    if hosts is None:
        return ranks
    slots = (slots or 1 for name, slots in parse_hosts(hosts) if is_local(name))
    return min(ranks, sum(slots))


def is_local(name: str) -> bool:
    """Return whether a host's name is this one's."""
    return name in {"localhost", "127.0.0.1", platform.node()}


def threads_caution(
    ranks: int, threads: int, hosts: str | None = None, cores: int | None = None
) -> list[str]:
    """Return a warning if threads make this host's ranks more than its cores.

    Without threads, more ranks than cores is how a run is tried out.
    """
    here = ranks_here(ranks, hosts)
    if cores is None:
        cores = len(os.sched_getaffinity(0))
    if threads == 1 or here * threads <= cores:
        return []
    fitting = max(1, cores // here)
    return [
        f"threads: {here} ranks with {threads} threads each are {here * threads} "
        f"threads on this host's {cores} cores, and wait for one another; give "
        f"--threads {fitting}"
    ]


def check_oversubscription(
    ranks: int, hosts: str | None = None, cores: int | None = None
) -> None:
    """Raise ``ConfigError`` if this host would get more than 8 ranks a core.

    With ``hosts`` only the slots of this host count; nothing is known of the others'
    cores. ``cores`` defaults to the ones that this process may use. The environment
    variable PSMPI_OVERSUBSCRIBE=1 permits any number.
    """
    if os.environ.get(INSIST) == "1":
        return
    ranks = ranks_here(ranks, hosts)
    if cores is None:
        cores = len(os.sched_getaffinity(0))
    if ranks > RANKS_PER_CORE * cores:
        raise ConfigError(
            f"workers: {ranks} ranks (workers and the server) on this host's {cores} "
            f"cores are {ranks / cores:.0f} per core, and more than {RANKS_PER_CORE} "
            f"are most likely a mistake; give at most {RANKS_PER_CORE * cores - 1} "
            f"workers, or set {INSIST}=1 to start them all the same"
        )
