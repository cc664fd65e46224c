"""Whether this process is a rank of an MPI job, by its environment variables.

Only the environment is read: MPI need not be installed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from psmpi.errors import ConfigError

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


def world_size() -> int | None:
    """Return the number of ranks of this process's MPI job; None outside MPI."""
    size = _number(_SIZES)
    if size is None and "PMIX_RANK" in os.environ:
        # srun --mpi=pmix, which gives the size in variables of its own
        size = _number(("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"))
        return 1 if size is None else size
    return size


def world_rank() -> int | None:
    """Return this process's rank in its MPI job; None outside MPI."""
    return _number(_RANKS)


def inside_mpi() -> bool:
    """Return whether mpiexec, or srun with a PMI, has started this process."""
    return world_size() is not None


def refuse_srun_without_pmi() -> None:
    """Raise ``ConfigError`` in a task of srun that is not a rank of an MPI job.

    Without a PMI, MPI's process management interface, the tasks that srun starts don't
    know of each other, and each of them would start a complete job of its own.
    """
    if inside_mpi():
        return
    task = _number(("SLURM_PROCID",)) or 0
    tasks = _number(("SLURM_STEP_NUM_TASKS",))
    if tasks is None and task > 0:  # task 0 may also be a batch script
        tasks = _number(("SLURM_NTASKS",))
    if tasks is not None and tasks > 1:
        raise ConfigError(
            f"srun: this is task {task} of {tasks} that srun started without MPI "
            "support (PMI), so that each would start a job of its own; write "
            f"`srun --mpi=pmix -n {tasks} psmpi run ...`, or inside salloc or sbatch "
            "`psmpi run ... --hosts NAME:SLOTS,...` without srun"
        )


def _number(names: Sequence[str]) -> int | None:
    """Return the first of these variables that holds a number."""
    for name in names:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return None
