"""The settings of an MPI transport, on which all nodes must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from psmpi.base import ConfigError
from psmpi.links.envelope import NBYTES

Broadcast = Literal["tree", "linear", "mpi"]
SEGMENT = 1 << 30  # bytes; longer messages are split, since MPI counts are C ints
# Smaller segments cost Python time, larger ones add latency on every tree level.
TREE_SEGMENT = 512 << 10


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings on which all nodes must agree. Sizes in bytes, time in seconds."""

    max_up: int  # longest message to the server, envelope included
    max_down: int  # longest message from the server
    broadcast: Broadcast = "tree"
    segment: int = SEGMENT
    tree_segment: int = TREE_SEGMENT
    timeout: float | None = None  # for a heartbeat; None: wait for ever

    def __post_init__(self) -> None:
        if self.broadcast not in get_args(Broadcast):
            names = ", ".join(get_args(Broadcast))
            raise ConfigError(f"broadcast: {self.broadcast!r} is none of {names}")
        for size in ("segment", "tree_segment"):
            if not NBYTES <= getattr(self, size) <= SEGMENT:
                raise ConfigError(
                    f"{size}: must be in {NBYTES} .. {SEGMENT} bytes, "
                    f"got {getattr(self, size)}"
                )
