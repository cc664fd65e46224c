"""What a call of ``session`` asks for, and what all workers have to agree on."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from psmpi import algorithms
from psmpi.base import ConfigError, Vector
from psmpi.runs import config
from psmpi.runs.config import RunConfig
from psmpi.runs.options import RunOptions
from psmpi.runs.role_state import Saved

_ENDLESS = 2**31 - 1  # rounds of a loop that has not said how many it does
#: Options of runs that are about psmpi's own problems, or simulate time.
_NOT_HERE = (
    *("workers", "data", "problem", "problem_options", "dtype", "optimum"),
    *("l1", "l2", "hidden", "activation", "loss", "init", "partition"),
    *("dirichlet_alpha", "speeds", "slow", "link_rate", "link_latency", "link_sharing"),
)
_COMMON = ("algorithm", "options", "dtype", "bounds", "names", "round", "resume")
_NOT_REPORTED = ("residual", "gradient-norm")


@dataclass(frozen=True)
class Opening:
    """What one worker's call of ``session`` asks for.

    ``tensors`` holds the CRC-32 of the start of each tensor.
    """

    algorithm: str
    options: Mapping[str, Any]
    dtype: str
    bounds: tuple[int, ...]
    names: tuple[str, ...]
    tensors: tuple[int, ...]
    samples: int
    out: str | None
    round: int | None  # the round that a saved state goes on from
    resume: bool  # from the last checkpoint in ``out``

    def digest(self) -> str:
        """Return a hex digest of the start."""
        return hashlib.sha256(repr((self.bounds, self.tensors)).encode()).hexdigest()


def start_vector(x0: Any) -> Vector:
    """Return ``x0`` as a session's vector: itself, if it can be one, or a copy."""
    x = np.asarray(x0)
    if x.dtype not in (np.float32, np.float64):
        raise ConfigError(
            f"x0: must be float32 or float64, got {x.dtype}; convert it with "
            "x0.astype(numpy.float32)"
        )
    if x.ndim != 1 or x.size == 0:
        raise ConfigError(
            f"x0: must be one flat vector, got shape {x.shape}; join the tensors with "
            "numpy.concatenate([t.ravel() for t in tensors]) and give their ends as "
            "bounds"
        )
    if not np.all(np.isfinite(x)):
        entry = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ConfigError(f"x0: entry {entry} is {x[entry]}; it must be finite")
    own = x.flags.c_contiguous and x.flags.writeable
    return x if own else x.copy()


def tensor_bounds(bounds: Sequence[int] | None, dim: int) -> tuple[int, ...]:
    """Return the bounds of the tensors, checked; one tensor if there are none."""
    if bounds is None:
        return (0, dim)
    ends = tuple(int(bound) for bound in bounds)
    ascending = all(low < high for low, high in itertools.pairwise(ends))
    if len(ends) < 2 or not ascending or (ends[0], ends[-1]) != (0, dim):
        raise ConfigError(
            f"bounds: must ascend from 0 to the {dim} entries of x0, got {ends}; "
            "tensor i is x0[bounds[i]:bounds[i + 1]]"
        )
    return ends


def tensor_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Return a name for each tensor."""
    if names is None:
        return tuple(f"tensor {number}" for number in range(count))
    if len(names) != count:
        raise ConfigError(
            f"names: must be one for each of the {count} tensors that bounds has, got "
            f"{len(names)}"
        )
    return tuple(map(str, names))


def saved_start(x: Vector, state: Mapping[str, Any]) -> int:
    """Set ``x`` to the model of a saved state; return the round to go on from."""
    worker, _ = split(state)
    model, done = worker.get("x"), worker.get("round")
    if model is None or done is None or model.shape != x.shape:
        shape = None if model is None else model.shape
        raise ConfigError(
            f"state: has a model of shape {shape}, and x0 has shape {x.shape}; give "
            "what state_dict of the same model gave"
        )
    x[:] = model
    return int(done)


def split(state: Mapping[str, Any]) -> tuple[Saved, Saved]:
    """Return the worker's and the server's part of a saved state."""
    parts: dict[str, Saved] = {"worker": {}, "server": {}}
    for name, value in state.items():
        role, _, rest = name.partition(".")
        if role not in parts or not rest:
            raise ConfigError(
                f"state: {name!r} is no name of a saved state; give what "
                "state_dict gave"
            )
        parts[role][rest] = np.asarray(value)
    return parts["worker"], parts["server"]


def describe(
    algorithm: str,
    x: Vector,
    bounds: tuple[int, ...],
    names: tuple[str, ...],
    samples: int,
    out: str | None,
    round_: int | None,
    resume: bool,
    options: Mapping[str, Any],
) -> Opening:
    """Return the opening of a worker that starts at ``x``."""
    return Opening(
        algorithm=algorithm,
        options=dict(options),
        dtype=x.dtype.name,
        bounds=bounds,
        names=names,
        tensors=tuple(
            zlib.crc32(x[low:high].view(np.uint8).data)
            for low, high in itertools.pairwise(bounds)
        ),
        samples=samples,
        out=out,
        round=round_,
        resume=resume,
    )


def difference(openings: Sequence[Opening]) -> ConfigError | None:
    """Return what is wrong if workers have opened different sessions."""
    first = openings[0]
    for worker, other in enumerate(openings):
        for field in _COMMON:
            mine, theirs = getattr(first, field), getattr(other, field)
            if mine != theirs:
                return ConfigError(
                    f"session: {field} is {theirs!r} on worker {worker} (rank "
                    f"{worker + 1}) and {mine!r} on worker 0; open the same session on "
                    "all workers"
                )
        pairs = zip(first.tensors, other.tensors, first.names, strict=True)
        differing = [name for mine, theirs, name in pairs if mine != theirs]
        if differing:
            more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            return ConfigError(
                f"session: {differing[0]!r}{more} starts with other values on worker "
                f"{worker} (rank {worker + 1}) than on worker 0; all workers must "
                "start at the same point: seed the initialisation alike"
            )
    return None


def configure(opening: Opening, workers: int) -> RunConfig:
    """Return the configuration of a session; refuse what a caller's loop can't be."""
    given = {name.replace("-", "_"): value for name, value in opening.options.items()}
    for name in _NOT_HERE:
        if name in given:
            raise ConfigError(
                f"{name.replace('_', '-')}: {given[name]!r} is an option of psmpi run; "
                "in a loop of your own the model, the data and the number of workers "
                "are yours; leave it out"
            )
    cls = algorithms.find(opening.algorithm)
    if cls.driven_by == "nothing":
        raise ConfigError(
            f"{opening.algorithm}: can't be driven by gradients of a loop of your own; "
            f"take {cls.instead}, or psmpi run with a problem of your own"
        )
    if cls.driven_by == "closure" and not opening.samples:
        raise ConfigError(
            f"{opening.algorithm}: draws its samples itself, and needs full gradients; "
            "give samples=, the number of this worker's samples, and a closure to step"
        )
    if given.get("batch") is not None and not opening.samples:
        raise ConfigError(
            f"batch: {given['batch']}, but the loop is yours and draws its batches "
            "itself; leave it out, or give samples= and take the batch in s.batch"
        )
    if "horizon" in str(given.get("lr_schedule", "")) and "rounds" not in given:
        raise ConfigError(
            "lr-schedule: horizon depends on the number of rounds; give rounds="
        )
    values = {"rounds": _ENDLESS, **given}
    run = config.configure(
        opening.algorithm, **{**values, "workers": workers, "dtype": opening.dtype}
    )
    _check_targets(run.run_options)
    return run


def _check_targets(options: RunOptions) -> None:
    for target in options.targets:
        if target.metric in _NOT_REPORTED:
            raise ConfigError(
                f"until: {target} is a metric of psmpi's own problems; in a loop of "
                "your own take loss, accuracy, error, bits or seconds, and report them"
            )
