"""What all ends of a link over MPI agree on before the first message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from psmpi.base import ConfigError
from psmpi.links.envelope import NBYTES

Broadcast = Literal["tree", "linear", "mpi"]
SEGMENT = 1 << 30  # bytes: MPI counts are ints, messages are not
# Below, Python's cost per segment shows; above, the tree's lag.
TREE_SEGMENT = 512 << 10


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all nodes of a transport must agree on. Sizes in bytes, time in seconds."""

    max_up: int  # longest message to the server, envelope included
    max_down: int  # and from it
    broadcast: Broadcast = "tree"
    segment: int = SEGMENT
    tree_segment: int = TREE_SEGMENT
    timeout: float | None = None  # without a sign of life; None: for ever

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
