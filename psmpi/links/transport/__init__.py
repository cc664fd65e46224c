"""Transports: whole messages between numbered nodes, over MPI or inside one process.

``base`` says what a transport promises. ``mpi`` with its queues, polling and heartbeat
is the one over MPI; ``local`` with its scheduler and simulated clocks is the one inside
a process. ``tree`` says who forwards a broadcast to whom. May import ``base``,
``errors``, ``processes`` and the envelope of ``psmpi.links``; knows no frame's meaning.
"""
