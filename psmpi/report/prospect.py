"""What a run would do, for a terminal: settings, messages, and memory by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from psmpi.report.metrics import NONE
from psmpi.report.settings import flat
from psmpi.report.sheets import Sheet, SheetColumn
from psmpi.report.units import size, times

if TYPE_CHECKING:
    from psmpi.runs.estimate import Estimate

#: Fields of ``Memory`` and what they are called.
_PARTS = {
    "base": "libraries",
    "problem": "whole problem",
    "optimum": "optimum",
    "shard": "shard",
    "state": "state",
    "link": "messages",
    "work": "temporaries",
    "saved": "checkpoints",
    "total": "at most",
}
_LEGEND = (
    "libraries: interpreter, NumPy, numba, MPI. The server searches the optimum before "
    "the rounds, and workers give up the whole problem once they have their shard; so "
    "the most at a time is less than the sum. messages: buffers for the longest ones."
)


def prospect(found: Estimate) -> RenderableType:
    """Return what a run would do, and the table of its memory."""
    ranks = f"{found.workers + 1} ranks, a server and {found.workers} workers"
    where = "in this process" if found.local else "over MPI"
    settings = ", ".join(f"{k} {v}" for k, v in flat(found.settings).items())
    lines = [
        f"{found.algorithm}: {ranks}, {where}; nothing was started",
        f"problem: {found.samples} samples, {found.dim} entries of {found.dtype}",
        f"settings: {settings}",
        f"messages: {_message(found.message_up, found)} up, "
        f"{_message(found.message_down, found)} down, at most, with a frame",
        f"server: {size(found.per_worker)} more with each further worker",
    ]
    cells = [
        [rank, *(_size(getattr(memory, name)) for name in _PARTS)]
        for rank, memory in (("server", found.server), ("worker", found.worker))
    ]
    columns = [
        SheetColumn("rank"),
        *(SheetColumn(t, "memory") for t in _PARTS.values()),
    ]
    return Group(
        *(Text(line) for line in lines),
        Text(),
        Sheet(columns, cells),
        Text(_together(found)),
        Text(_LEGEND, style="dim"),
    )


def shortage(found: Estimate) -> list[str]:
    """Return a warning if this host lacks the memory for its ranks."""
    if found.fits or found.available is None:
        return []
    return [
        f"memory: {found.ranks_here} ranks on this host need {size(found.needed)}, and "
        f"{size(found.available)} are available; give fewer --workers or more --hosts, "
        "or take a smaller model or data set"
    ]


def _size(nbytes: int | None) -> str:
    return NONE if nbytes is None else size(nbytes)


def _message(nbytes: int, found: Estimate) -> str:
    return f"{size(nbytes)} ({times(nbytes / found.dense)} dense)"


def _together(found: Estimate) -> str:
    has = "" if found.available is None else f", of {size(found.available)} available"
    return f"this host: {found.ranks_here} ranks need {size(found.needed)}{has}"
