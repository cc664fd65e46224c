"""Runs: from a configuration to ranks that do their roles, a record and a result.

``api`` is ``psmpi.run``; read on from there. A run takes these steps: ``config`` (its
options) and ``launch_checks`` (before anything starts), ``setup`` (problem and plan),
``local`` (all ranks in this process), ``mpi`` (starts an MPI job, described by ``job``)
or ``rank`` (one rank of an MPI job, after ``agreement`` with the others), ``warmup``
(kernels), ``roles`` (server and worker), ``evaluation`` (rows), ``summary`` (the
result). Beside them: ``schema``, ``record`` and ``recorded`` (the files of a run
directory, written and read), ``effective`` and ``replay_versions`` (what a manifest
says of what was computed), ``replay`` (``psmpi.replay``), ``status`` (phases before the
first row) and ``comparison`` (several runs in a file). May import everything but
``report`` and ``cli``.
"""
