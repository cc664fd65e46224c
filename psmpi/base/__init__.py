"""The vocabulary: what a codec, a problem, a link and an algorithm promise each other.

May import ``errors`` only, so every other room may import it. A *vector* is the whole
model: one-dimensional, C-contiguous, float32 or float64. A *frame* is one message of a
paper as bytes, and nothing else: what a link needs besides (round, kind, length,
checksum) is the link's own envelope.
"""

from psmpi.base.algorithm import Algorithm
from psmpi.base.arrays import Frame, Indices, Vector
from psmpi.base.codec import Codec
from psmpi.base.links import (
    ServerClock,
    ServerLink,
    ServerPeers,
    ServerStar,
    WorkerClock,
    WorkerLink,
    WorkerPeers,
    WorkerStar,
)
from psmpi.base.plan import Iterate, Plan, StepSize, Wire
from psmpi.base.problem import Problem
from psmpi.errors import (
    ConfigError,
    FrameError,
    LeftOut,
    LinkError,
    PsmpiError,
    Stopped,
)

__all__ = [
    "Algorithm",
    "Codec",
    "ConfigError",
    "Frame",
    "FrameError",
    "Indices",
    "Iterate",
    "LeftOut",
    "LinkError",
    "Plan",
    "Problem",
    "PsmpiError",
    "ServerClock",
    "ServerLink",
    "ServerPeers",
    "ServerStar",
    "StepSize",
    "Stopped",
    "Vector",
    "Wire",
    "WorkerClock",
    "WorkerLink",
    "WorkerPeers",
    "WorkerStar",
]
