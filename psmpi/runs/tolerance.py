"""What a run puts up with, where the algorithm allows it: ``--on-nan``."""

from __future__ import annotations

from psmpi.base import Algorithm, ConfigError, Wire
from psmpi.runs.config import RunConfig


def check(run: RunConfig, algorithm: Algorithm, wire: Wire) -> None:
    """Refuse what this algorithm can't put up with, and say what it can."""
    if run.run_options.on_nan == "skip" and not algorithm.can_leave_out:
        raise ConfigError(
            f"on-nan: skip, but {run.algorithm} can't do without a worker in a round; "
            "take --on-nan zero"
        )
