"""Transports: whole messages between numbered nodes, over MPI or inside one process.

``base`` defines the interface. ``mpi``, with ``mpi_broadcast``, ``mpi_queues``,
``polling`` and ``heartbeat``, implements it over MPI; ``local``, with ``scheduler`` and
``simulation``, inside one process. ``tree`` determines which node forwards a broadcast
to which. May import ``base``, ``errors``, ``processes`` and the envelope of
``psmpi.links``; a transport does not interpret frames.
"""
