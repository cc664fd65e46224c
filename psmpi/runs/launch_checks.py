"""Checks before ranks start: all that needs neither MPI nor the loaded data.

They take milliseconds where starting MPI takes seconds. What they leave out, such as
whether a batch fits into a worker's samples, every rank checks with the data.
"""

from __future__ import annotations

import os
from pathlib import Path

from psmpi import problems
from psmpi.base import ConfigError
from psmpi.data import registry, spec
from psmpi.data.formats import need_file
from psmpi.errors import did_you_mean
from psmpi.problems import INITS, PARTITIONS
from psmpi.problems.quadratic import QUADRATIC
from psmpi.processes import mpiexec
from psmpi.processes.hosts import threads_caution
from psmpi.runs import setup
from psmpi.runs.config import RunConfig, RunOptions


def check_launch(
    run: RunConfig,
    *,
    local: bool,
    hosts: str | None = None,
    joins: bool = False,
    own_problem: bool = False,
) -> None:
    """Refuse a run that can't start, and options that this launch would ignore.

    ``local``: all ranks run in this process; ``hosts``: those of mpiexec; ``joins``:
    this process is a rank of an MPI job that was started before; ``own_problem``: a
    problem of the caller's stands in place of the data. Raises ``ConfigError``.
    """
    options = run.run_options
    if joins and hosts:
        raise ConfigError(
            f"hosts: {hosts} are for a job that psmpi starts, and mpiexec has started "
            "these ranks; give the hosts to mpiexec"
        )
    _refuse_ignored(options, local=local, hosts=hosts)
    setup.speeds_of(options)
    if not own_problem and not joins:  # ranks that join compare what they find
        if options.problem is None:
            _check_data(options.data)
        else:
            problems.check_own(options.problem)
        _check_choice("init", options.init, INITS)
        _check_choice("partition", options.partition, PARTITIONS)
    if not local and not joins:
        mpiexec.find_mpiexec()
        mpiexec.check_oversubscription(options.workers + 1, hosts)


def check_restarts(restarts: int, *, local: bool) -> None:
    """Refuse a number of restarts that can't be."""
    if not isinstance(restarts, int) or restarts < 0:
        raise ConfigError(
            f"restarts: must be a whole number of at least 0, got {restarts!r}"
        )
    if restarts and local:
        raise ConfigError(
            f"restarts: {restarts} are for ranks that may fail by themselves, and "
            "--local runs all of them in this process; leave one of both out"
        )


def cautions(run: RunConfig, hosts: str | None) -> list[str]:
    """Return what is allowed over MPI but likely not meant, a line each."""
    options = run.run_options
    return threads_caution(options.workers + 1, options.threads, hosts)


def check_out(out: Path) -> None:
    """Refuse a directory to record in that exists, or that can't be created."""
    if out.exists() or out.is_symlink():
        raise ConfigError(
            f"{out}: already exists, and nothing is overwritten; give another "
            "directory with --out"
        )
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise ConfigError(
            f"{out}: can't be created ({above} is a file); give another directory with "
            "--out"
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{out}: can't be created ({above} can't be written to); give another "
            "directory with --out"
        )


def _refuse_ignored(options: RunOptions, *, local: bool, hosts: str | None) -> None:
    if local and hosts:
        raise ConfigError(
            f"hosts: {hosts} are for MPI, and --local runs all ranks in this process; "
            "give one of both"
        )
    if local and options.timeout:
        raise ConfigError(
            f"timeout: {options.timeout:g} s limits the silence of an MPI rank, and "
            "--local has no such ranks; leave one of both out"
        )
    if not local:
        setup.refuse_simulation(options)
    if options.link_sharing != RunOptions.link_sharing and not options.link_rate:
        raise ConfigError(
            f"link-sharing: {options.link_sharing} shares lines of a limited rate, and "
            "none is set; add --link-rate BITS, or leave --link-sharing out"
        )


def _check_data(name: str) -> None:
    """Refuse a name of data that nothing can be loaded for; read no file."""
    scheme, colon, rest = name.partition(":")
    if colon and scheme == "synthetic":
        spec.parse(rest, {**registry.SYNTHETIC, "quadratic": QUADRATIC})
    elif colon and scheme in ("libsvm", "npz"):
        paths = [word for word in rest.split(",") if word and "=" not in word]
        for path in paths:
            need_file(Path(path).expanduser())
        if not paths:
            registry.load(name)  # says what is expected
    elif name not in registry.DATASETS and name not in problems.registered():
        registry.load(name)  # says which names there are


def _check_choice(option: str, value: str, known: object) -> None:
    names = [str(name) for name in known]  # type: ignore[attr-defined]
    if value not in names:
        hint = did_you_mean(value, names, f"one of {', '.join(names)}")
        raise ConfigError(f"{option}: there is no {value!r}; {hint}")
