"""What a run puts up with, where the algorithm allows it: ``--on-nan``, ``--heal``."""

from __future__ import annotations

from psmpi.base import Algorithm, ConfigError, Wire
from psmpi.runs.config import RunConfig


def check(run: RunConfig, algorithm: Algorithm, wire: Wire) -> None:
    """Refuse what this algorithm can't put up with, and say what it can."""
    if run.run_options.heal and not wire.replicated:
        raise ConfigError(
            f"heal: with these options {run.algorithm} does not keep equal models on "
            "all ranks, so that none is compared; leave --heal out"
        )
    if run.run_options.heal and not run.run_options.check_every:
        raise ConfigError(
            "heal: models are never compared with --check-every 0; give a number of "
            "rounds there, or leave --heal out"
        )
    if run.run_options.on_nan == "skip" and not algorithm.can_leave_out:
        raise ConfigError(
            f"on-nan: skip, but {run.algorithm} can't do without a worker in a round; "
            "take --on-nan zero"
        )
