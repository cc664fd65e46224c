"""Reports the phases of a run before its first row, one line each.

Every slow step logs a line on the logger ``psmpi`` at level INFO. In a run in process
the caller's function gets these lines. In an MPI job rank 0 writes them to a file that
the launcher reads. Otherwise they go where Python's logging is set up to send them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

LOG = logging.getLogger("psmpi")
OnStatus = Callable[[str], None]


class _Forward(logging.Handler):
    """A log handler that passes each line to a function."""

    def __init__(self, on_status: OnStatus) -> None:
        super().__init__(logging.INFO)
        self._on_status = on_status

    def emit(self, record: logging.LogRecord) -> None:
        self._on_status(record.getMessage())


@contextlib.contextmanager
def forwarded(on_status: OnStatus | None) -> Iterator[None]:
    """Pass the lines that are logged in the block to ``on_status``, if it is given."""
    if on_status is None:
        yield
        return
    handler, level = _Forward(on_status), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)


def writer(path: Path) -> OnStatus:
    """Return a function that appends a line to the file, for ``reader``."""

    def write(text: str) -> None:
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    return write


def reader(path: Path) -> Iterator[list[str]]:
    """Yield, each time it is asked, the lines since the last time; it never ends."""
    offset = 0
    while True:
        text = b""
        if path.exists():
            with path.open("rb") as file:
                file.seek(offset)
                text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        offset += len(whole)
        yield whole.decode(errors="replace").splitlines()
