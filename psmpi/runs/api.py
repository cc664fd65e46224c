"""``psmpi.run``: one run, in this process, in a new MPI job, or in the caller's job.

This is where reading begins: the package's docstring lists the steps of a run in their
order.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psmpi.base import ConfigError, Problem
from psmpi.processes import mpiexec
from psmpi.runs import config, launch_checks, status
from psmpi.runs.local import run_local
from psmpi.runs.mpi import run_mpi
from psmpi.runs.schema import Row
from psmpi.runs.summary import Result


def run(
    algorithm: str,
    *,
    local: bool = False,
    out: str | os.PathLike[str] | None = None,
    problem: Problem | None = None,
    hosts: str | None = None,
    on_row: Callable[[Row], None] | None = None,
    on_status: status.OnStatus | None = None,
    **options: Any,
) -> Result:
    """Run an algorithm and return its result.

    In a script that mpiexec or srun has started on all ranks, all of them call this and
    take part, and all get the same result.

    Parameters
    ----------
    algorithm
        Its name, as ``psmpi list`` shows it.
    local
        Run all ranks in this process, one at a time, instead of under mpiexec.
    out
        Directory to record the run in; must not exist.
    problem
        A ``psmpi.base.Problem`` of your own, in place of ``data``: with ``local``, or
        in a script that runs on all ranks.
    hosts
        Hosts for mpiexec, comma-separated.
    on_row
        Called with each row of the record as soon as it is evaluated (see
        ``psmpi.runs.schema.Row``); in a script on all ranks, on rank 0 alone.
    on_status
        Called with a line of text when a phase before the first row begins, such as
        "computing the optimum"; in a script on all ranks, on rank 0 alone.
    options
        The algorithm's options and the run's (``workers``, ``data``, ``rounds``,
        ``until``, ``seed``, ...), named as in the command line.

    Raises ``ConfigError`` for what can't be run, ``PsmpiError`` if a rank failed.
    """
    if problem is not None and not isinstance(problem, Problem):
        raise ConfigError(
            "problem: must be a psmpi.base.Problem, got an object of "
            f"{type(problem).__name__}; data sets and files are named in data"
        )
    if problem is not None and "data" in options:
        raise ConfigError(
            f"data: {options['data']!r}, but problem is given too; give one of both"
        )
    own = problem is not None
    if local:
        run_config = config.configure(algorithm, **options)
        launch_checks.check_launch(run_config, local=True, hosts=hosts, own_problem=own)
        return run_local(
            run_config, problem=problem, out=out, on_row=on_row, on_status=on_status
        )
    if mpiexec.inside_mpi():
        if hosts is not None:
            raise ConfigError(
                f"hosts: {hosts}, but mpiexec has started this script on its hosts "
                "already; leave hosts out, or start the script without mpiexec"
            )
        from psmpi.runs import rank

        return rank.run_on_all_ranks(
            algorithm,
            options,
            out=out,
            problem=problem,
            on_row=on_row,
            on_status=on_status,
        )
    if problem is not None:
        raise ConfigError(
            "problem: an object can't be handed to other processes; use local=True, "
            "start the script itself with mpiexec, or write the data to a file and "
            "name it in data"
        )
    run_config = config.configure(algorithm, **options)
    launch_checks.check_launch(run_config, local=False, hosts=hosts)

    def forward(_: config.RunConfig, row: Row) -> None:
        if on_row is not None:
            on_row(row)

    with tempfile.TemporaryDirectory(prefix="psmpi-") as folder:
        path = Path(folder) / "run" if out is None else Path(out)
        (result,) = run_mpi(
            [run_config], [path], hosts=hosts, on_row=forward, on_status=on_status
        )
    return result if out is not None else dataclasses.replace(result, path=None)
