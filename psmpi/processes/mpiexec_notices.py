"""Passes on the output of mpiexec, without its notices about failed ranks.

A rank that fails has already reported what went wrong. The notices that mpiexec prints
as well (Open MPI's between lines of dashes, MPICH's of equals signs) are held back
until it is known whether a rank has reported anything.
"""

from __future__ import annotations

import re
from typing import BinaryIO

_RULE = re.compile(rb"(-{60,}|={70,})\s*")
_MPICH_FIRST = b"=   BAD TERMINATION"
_MPICH_LAST = b"Please see the FAQ page"
_OPENMPI = re.compile(rb"prterun|prte_|mpiexec|MPI_ABORT|PMIx|Primary job")
_LINES = re.compile(
    rb"Abort\(\d+\) on node \d+ .*application called MPI_Abort|\[warn\] Epoll MOD"
    rb"|\[(?:mpiexec|proxy:[^@\]]*)@|ssh: "
)
_OPENMPI_SIGNAL = re.compile(r"signal \d+ \([^)]*\)")
_OPENMPI_STATUS = re.compile(r"Exit code: +(\d+)")
_MPICH_REASON = re.compile(r"EXIT STRING: (.*)")
_START_FAILED = re.compile(
    r"daemon failed to report|Launch proxy failed|not enough slots|launch agent"
    r"|unable to (?:launch|start|resolve|locate|find|access)|could not find"
    r"|execvp error"
)
_SSH = re.compile(r"^ssh: (.*)", re.MULTILINE)
_REMOTE_HOST = re.compile(r"Remote host: +(\S+)")
_FIRSTS = (b"-", b"=", b"A", b"[")  # first bytes of the lines of notices
_LONGEST = 60  # lines of a notice


class NoticeFilter:
    """One output stream of mpiexec on its way to ``out``; ``held`` are its notices."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._line = b""  # the last line, which is not complete yet
        self._partly_written = False  # whether the beginning of that line is passed on
        self._block: list[bytes] = []  # lines that may turn out to be a notice
        self._empty = False  # an empty line is held: MPICH's notices begin with one
        self.held = b""

    def feed(self, data: bytes) -> None:
        """Take in some bytes, and pass on what is certainly not a notice."""
        data = data.replace(b"\0", b"")  # prterun ends some messages with a NUL byte
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._take(line + b"\n")
        possible = (
            self._block
            or self._line.startswith(_FIRSTS)
            or b"ssh: ".startswith(self._line[:5])
        )
        if self._line and (self._partly_written or not possible):
            self._write(self._line)  # a prompt or a progress bar
            self._line, self._partly_written = b"", True
        self._out.flush()

    def finish(self) -> None:
        """Pass on the rest, except ``held``."""
        self._write(b"".join(self._block) + self._line)
        self._out.flush()

    def _take(self, line: bytes) -> None:
        if self._partly_written:
            self._write(line)
            self._partly_written = False
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
        """Add a line to a possible notice; hold it back or pass it on when it ends."""
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


def end_reason(notices: str, pid: int) -> str:
    """Return how process ``pid`` ended according to mpiexec, "" if that is unknown.

    MPICH often reports a rank that it has killed itself, because of another one.
    """
    if match := _OPENMPI_SIGNAL.search(notices):
        return match[0]
    if match := _OPENMPI_STATUS.search(notices):
        return f"exit status {match[1]}"
    if re.search(rf"^=   PID {pid} ", notices, re.MULTILINE):
        match = _MPICH_REASON.search(notices)
    return match[1] if match else ""


def start_failure(notices: str) -> str:
    """Return why mpiexec could not start the ranks, in short; "" if it could."""
    match = _START_FAILED.search(notices)
    if match is None:
        return ""
    if ssh := _SSH.search(notices):
        return f"ssh: {ssh[1].strip()}"
    if host := _REMOTE_HOST.search(notices):
        return f"host {host[1]} can't be reached"
    line = notices[notices.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]
    return line.strip()
