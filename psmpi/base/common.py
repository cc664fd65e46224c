"""Arrays that everything exchanges, and how psmpi says what is wrong."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating[Any]]
Frame = NDArray[np.uint8]
Indices = NDArray[np.int64]


class PsmpiError(Exception):
    """A failure that psmpi explains in one line; ``exit_status`` is the command's."""

    exit_status: ClassVar[int] = 3


class ConfigError(PsmpiError, ValueError):
    """What the user asked for can't be done as asked: names, values, files."""

    exit_status: ClassVar[int] = 2


class FrameError(PsmpiError, ValueError):
    """The bytes of a frame are not what its codec writes (damaged, cut, or hostile)."""


class LinkError(PsmpiError):
    """A message is out of step, stale or damaged, or a peer is gone."""


class Stopped(Exception):
    """The server has ended the run. Control flow, raised in a worker's ``pull``."""
