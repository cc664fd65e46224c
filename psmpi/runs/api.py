"""``psmpi.run``: one run, in this process, in a new MPI job, or in the caller's job.

This is where reading begins: the package's docstring lists the steps of a run in their
order.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psmpi.base import ConfigError, Problem
from psmpi.processes import mpiexec, scratch
from psmpi.runs import config, launch_checks, resumption, status
from psmpi.runs.local import OnRow, run_local
from psmpi.runs.mpi import run_mpi
from psmpi.runs.schema import Row
from psmpi.runs.summary import Result


def run(
    algorithm: str,
    *,
    local: bool = False,
    out: str | os.PathLike[str] | None = None,
    problem: Problem | str | None = None,
    hosts: str | None = None,
    restarts: int = 0,
    on_row: OnRow | None = None,
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
        A problem of your own, in place of ``data``: text like ``"model.py:make"``, from
        which every rank makes it itself, with ``problem_option``; or, with ``local`` or
        in a script that runs on all ranks, a ``psmpi.base.Problem``.
    hosts
        Hosts for mpiexec, comma-separated.
    restarts
        Start a new MPI job at most so often where a rank has failed, and go on from the
        last checkpoint (``checkpoint_every``), or from round 0.
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
    if isinstance(problem, str):
        options, problem = {**options, "problem": problem}, None
    _check_problem(problem, options)
    if mpiexec.inside_mpi() and not local:
        from psmpi.runs import rank

        _refuse_hosts(hosts)
        return rank.run_on_all_ranks(
            lambda workers: config.configure(
                algorithm, **{"workers": workers, **options}
            ),
            out=out,
            problem=problem,
            on_row=on_row,
            on_status=on_status,
        )
    if problem is not None and not local:
        raise ConfigError(
            "problem: an object can't be handed to other processes; write "
            'problem="FILE.py:FUNCTION", which every rank calls to make its own, or '
            "start the script itself on all ranks (psmpi launch, mpiexec), or give "
            "local=True"
        )
    run_config = config.configure(algorithm, **options)
    own = problem is not None
    launch_checks.check_launch(run_config, local=local, hosts=hosts, own_problem=own)
    launch_checks.check_restarts(restarts, local=local)
    if local:
        return run_local(
            run_config, problem=problem, out=out, on_row=on_row, on_status=on_status
        )
    return _run_in_new_job(run_config, out, hosts, on_row, on_status, restarts)


def resume(
    out: str | os.PathLike[str],
    *,
    local: bool | None = None,
    problem: Problem | None = None,
    hosts: str | None = None,
    restarts: int = 0,
    on_row: OnRow | None = None,
    on_status: status.OnStatus | None = None,
) -> Result:
    """Go on with a run that has not ended, from its last checkpoint, and return it.

    The run keeps its directory, and its configuration. Without a checkpoint it begins
    again. A synchronous run ends with the same bits as if it had not been interrupted.

    Parameters
    ----------
    out
        The directory of the run.
    local
        Run all ranks in this process. Default: as the run was begun.
    problem
        The object that the run was made with, if it was made with one.
    hosts, restarts, on_row, on_status
        As for ``psmpi.run``. Rows that were recorded before are not passed on again.

    Raises ``ConfigError`` for a directory that holds no run, or one that has ended, and
    where data or the versions of what is computed have changed.
    """
    folder = Path(out)
    if mpiexec.inside_mpi() and not local:
        from psmpi.runs import rank

        _refuse_hosts(hosts)
        return rank.run_on_all_ranks(
            lambda workers: resumption.at(folder, 0).configuration(problem),
            out=folder,
            problem=problem,
            on_row=on_row,
            on_status=on_status,
            goes_on=True,
        )
    found = resumption.find(folder)
    run_config = found.configuration(problem)
    if local is None:
        local = found.recorded.manifest["versions"]["mpi"] is None
    own = problem is not None
    launch_checks.check_launch(run_config, local=local, hosts=hosts, own_problem=own)
    launch_checks.check_restarts(restarts, local=local)
    if local:
        return run_local(
            run_config,
            problem=problem,
            out=folder,
            on_row=on_row,
            on_status=on_status,
            resumption=found,
        )
    (result,) = run_mpi(
        [run_config],
        [folder],
        hosts=hosts,
        on_row=None if on_row is None else lambda _, row: on_row(row),
        on_status=on_status,
        goes_on=[folder],
        restarts=restarts,
    )
    return result


def _run_in_new_job(
    run_config: config.RunConfig,
    out: str | os.PathLike[str] | None,
    hosts: str | None,
    on_row: OnRow | None,
    on_status: status.OnStatus | None,
    restarts: int,
) -> Result:
    """Start an MPI job for one run, which is recorded in ``out`` or for a while."""

    def forward(_: config.RunConfig, row: Row) -> None:
        if on_row is not None:
            on_row(row)

    # Rank 0 records the run, perhaps on another host that shares this directory.
    near = None if hosts is None else "."
    with scratch.folder(near) as folder:
        path = folder.path / "run" if out is None else Path(out)
        (result,) = run_mpi(
            [run_config],
            [path],
            hosts=hosts,
            on_row=forward,
            on_status=on_status,
            restarts=restarts,
        )
    return result if out is not None else dataclasses.replace(result, path=None)


def _check_problem(problem: Problem | None, options: Mapping[str, Any]) -> None:
    """Refuse an object that is no problem, and data beside a problem."""
    if problem is None:
        return
    if not isinstance(problem, Problem):
        raise ConfigError(
            "problem: must be a psmpi.base.Problem, got an object of "
            f"{type(problem).__name__}; give one, or text like 'model.py:make'"
        )
    if "data" in options:
        raise ConfigError(
            f"data: {options['data']!r}, but problem is given too; give one of both"
        )


def _refuse_hosts(hosts: str | None) -> None:
    """Refuse hosts in a script that runs on all ranks already."""
    if hosts is not None:
        raise ConfigError(
            f"hosts: {hosts}, but mpiexec has started this script on its hosts "
            "already; leave hosts out, or start the script without mpiexec"
        )
