"""What psmpi raises, the exit statuses of its commands, and hints for misspelt names.

Every exception that psmpi raises on purpose is a ``PsmpiError`` whose text is one line:
the thing, what is wrong with it, what was given, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

#: Exit statuses of the command line. 0 means that the run did what was asked.
EXIT_USAGE = 2  # wrong usage or configuration
EXIT_FAILED = 3  # a rank failed
EXIT_UNMET = 4  # a target was not reached in the rounds given
EXIT_PREEMPTED = 75  # asked to end early, and saved: the run can go on (EX_TEMPFAIL)
EXIT_INTERRUPTED = 130  # ended by Ctrl-C (128 + SIGINT)


class PsmpiError(Exception):
    """A failure that psmpi explains in one line.

    ``exit_status`` is the status that the command exits with; ``reported`` says that
    the text has been printed already, by a rank of an MPI job.
    """

    exit_status: ClassVar[int] = EXIT_FAILED
    reported: ClassVar[bool] = False


class ConfigError(PsmpiError, ValueError):
    """What the user asked for can't be done as asked: names, values, files."""

    exit_status: ClassVar[int] = EXIT_USAGE


class FrameError(PsmpiError, ValueError):
    """The bytes of a frame are not what its codec writes (damaged, cut, or hostile)."""


class LinkError(PsmpiError):
    """A message is out of step, stale or damaged, or a peer is gone."""


class RunPreempted(PsmpiError):
    """The run was asked to end early, by a signal, and can go on from a checkpoint."""

    exit_status: ClassVar[int] = EXIT_PREEMPTED


class Stopped(Exception):
    """The server has ended the run. Control flow, raised in a worker's ``pull``.

    In a caller's own loop ``Session.step`` raises it, and the session's block takes it.
    """


class LeftOut(Exception):
    """A worker is to take no part in its round. Control flow, in place of a gradient.

    Raised where an algorithm asks for a gradient that is not finite, with ``--on-nan
    skip``. Only algorithms with ``Algorithm.can_leave_out`` get it.
    """


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like ``name``; None if none is close.

    ``cutoff`` is the least similarity that counts as close, between 0 and 1.
    """
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return ``"did you mean NEAREST?"``, or ``otherwise`` if no known name is close.

    >>> did_you_mean("lac", ["laq", "sgd"])
    'did you mean laq?'
    """
    near = nearest(name, known)
    return f"did you mean {near}?" if near else otherwise
