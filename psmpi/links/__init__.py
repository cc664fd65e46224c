"""Links: how frames get from one role to another, over MPI or inside one process.

A link has two ends, ``server`` and ``worker``, that follow one ``protocol`` over any
``transport``. Each end is a star with further parts: ``peers`` and ``observer`` for
decentralised algorithms, ``deadlines`` for clocks. ``envelope`` is what precedes every
frame. ``mpi_job`` starts and ends the MPI job of this process. May import ``base``,
``errors``, ``random`` and ``processes``; a link knows no algorithm and no problem.
"""
