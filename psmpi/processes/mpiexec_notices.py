"""Passes on what mpiexec prints, and holds back what it says about failed ranks.

A rank that fails has already said what went wrong, in one report. The notices that
mpiexec adds (Open MPI's framed by dashes, MPICH's by equals signs) are kept until it is
known whether they are all there is.
"""

from __future__ import annotations

import re
from typing import BinaryIO

_RULE = re.compile(rb"(-{70,}|={70,})\s*")
_MPICH_FIRST = b"=   BAD TERMINATION"
_MPICH_LAST = b"Please see the FAQ page"
_OPENMPI = re.compile(rb"prterun|prte_|mpiexec|MPI_ABORT|PMIx|Primary job")
_LINES = re.compile(
    rb"Abort\(\d+\) on node \d+ .*application called MPI_Abort|\[warn\] Epoll MOD"
)
_OPENMPI_SIGNAL = re.compile(r"signal \d+ \([^)]*\)")
_OPENMPI_STATUS = re.compile(r"Exit code: +(\d+)")
_MPICH_REASON = re.compile(r"EXIT STRING: (.*)")
_FIRSTS = (b"-", b"=", b"A", b"[")  # what a line of a notice begins with
_LONGEST = 60  # lines of a notice


class Filter:
    """One output stream of mpiexec on its way to ``out``."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._line = b""  # the last one, not complete yet
        self._inside = False  # whether its beginning has been passed on
        self._block: list[bytes] = []  # lines that may turn out to be a notice
        self._empty = False  # an empty line is due: MPICH's notices begin with one
        self.held = b""

    def feed(self, data: bytes) -> None:
        """Take in some bytes, pass on what is certain to be no notice."""
        data = data.replace(b"\0", b"")  # prterun ends some of its messages like C does
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._take(line + b"\n")
        possible = self._block or self._line.startswith(_FIRSTS)
        if self._line and (self._inside or not possible):
            self._write(self._line)  # a prompt or a progress bar
            self._line, self._inside = b"", True
        self._out.flush()

    def finish(self, show: bool) -> None:
        """Pass on the rest; the notices only if ``show``."""
        self._write(b"".join(self._block) + self._line)
        if show:
            self._write(self.held)
        self._out.flush()

    def _take(self, line: bytes) -> None:
        if self._inside:
            self._write(line)
            self._inside = False
        elif self._block:
            self._take_notice(line)
        elif _RULE.fullmatch(line):
            self._block = [line]
        elif _LINES.match(line):
            self.held += line
        elif line == b"\n" and not self._empty:
            self._empty = True
        else:
            self._write(line)

    def _take_notice(self, line: bytes) -> None:
        """Add a line to what looks like a notice; decide where that can be done."""
        self._block.append(line)
        if self._block[0].startswith(b"-"):
            ended = bool(_RULE.fullmatch(line))
            notice = ended and _OPENMPI.search(b"".join(self._block)) is not None
        else:
            notice = line.startswith(_MPICH_LAST)
            ended = notice or not self._block[1].startswith(_MPICH_FIRST)
        if notice:
            self.held += b"".join(self._block)
            self._empty = False
        elif ended or len(self._block) > _LONGEST:
            self._write(b"".join(self._block))
        else:
            return
        self._block = []

    def _write(self, data: bytes) -> None:
        self._out.write(b"\n" + data if self._empty else data)
        self._empty = False


def reason(notices: str, pid: int) -> str:
    """Return how process ``pid`` ended according to mpiexec, "" where it can't tell.

    MPICH often reports a rank that it has killed itself, because of another one.
    """
    if found := _OPENMPI_SIGNAL.search(notices):
        return found[0]
    if found := _OPENMPI_STATUS.search(notices):
        return f"exit status {found[1]}"
    if re.search(rf"^=   PID {pid} ", notices, re.MULTILINE):
        found = _MPICH_REASON.search(notices)
    return found[1] if found else ""
