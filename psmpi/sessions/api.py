"""``psmpi.session``: a caller's own loop drives a worker."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from psmpi.base import ConfigError
from psmpi.processes import environment
from psmpi.sessions import opening
from psmpi.sessions.handover import CallersLoop
from psmpi.sessions.session import Session


def session(
    algorithm: str,
    x0: Any,
    *,
    bounds: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    samples: int = 0,
    out: str | os.PathLike[str] | None = None,
    state: Mapping[str, NDArray[Any]] | None = None,
    resume: bool = False,
    **options: Any,
) -> Session:
    """Open a session: this process is a worker, and computes its own gradients.

    Started by ``psmpi launch``, or by mpiexec or srun on all ranks, rank 0 is the
    server; where the script runs on it as well, it serves in here, and ends when the
    workers' scripts have ended. Outside MPI one worker and the server run in this
    process, and a line on stderr says so.

    Parameters
    ----------
    algorithm
        Its name, as ``psmpi list`` shows it.
    x0
        The start, shape (dim,), float32 or float64, with equal bits on all workers. If
        it is contiguous and writable, the session moves this very array, so that views
        of it are views of the model.
    bounds
        Ends of the model's tensors: tensor i is ``x0[bounds[i]:bounds[i + 1]]``.
    names
        A name for each tensor, for error messages.
    samples
        Number of this worker's samples, for algorithms that draw them themselves
        (``s.batch``); 0: the loop has its own batches.
    out
        Directory to record the run in; must not exist. That of worker 0 counts.
    state
        What this worker's ``state_dict`` gave in an earlier session of the same model
        and options, to go on from: residuals, references and momentum of this worker,
        and in that of worker 0 also the server's. ``x0`` is overwritten.
    resume
        Go on from the last checkpoint in ``out`` (``checkpoint_every``), if there is
        one: rows are appended, ``x0`` is overwritten, and ``Session.extra`` has what
        this worker gave to ``checkpoint``. ``psmpi launch --resume`` asks for it, too.
    options
        The algorithm's options and the run's (``until``, ``rounds``, ``seed``,
        ``evaluate_every``, ``timeout``, ...), named as in the command line.

    Raises ``ConfigError`` for what can't be run, also where workers differ in their
    start: it names the tensor and the rank.
    """
    if Session.current is not None:
        raise ConfigError(
            "session: one is open already, and a process has one at a time; close it "
            "first: s.close(), or leave its with block"
        )
    if environment.world_rank() == 0:
        from psmpi.sessions import server

        raise SystemExit(server.follow())
    x = opening.start_vector(x0)
    ends = opening.tensor_bounds(bounds, x.size)
    if not isinstance(samples, int) or samples < 0:
        raise ConfigError(
            f"samples: must be a whole number of at least 0, got {samples!r}"
        )
    if resume and state is not None:
        raise ConfigError(
            "resume: the checkpoint in out has the state of all ranks, and state is "
            "given too; give one of both"
        )
    round_ = None if state is None else opening.saved_start(x, state)
    folder = None if out is None else os.path.abspath(out)
    labels = opening.tensor_names(names, len(ends) - 1)
    request = opening.describe(
        algorithm, x, ends, labels, samples, folder, round_, resume, options
    )
    if environment.inside_mpi():
        from psmpi.sessions.over_mpi import WorkerRank

        return Session(WorkerRank(request, x, state), samples)
    from psmpi.sessions.in_process import OneWorker

    loop = CallersLoop(x, ends, labels, samples, request.digest())
    return Session(OneWorker(request, loop, state), samples)
