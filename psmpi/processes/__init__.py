"""Processes: starting the ranks of a job, supervising them, and ending them.

``mpiexec`` builds the command and launches it, on ``hosts`` if they are given; the
``supervisor`` follows the running job from outside, with ``mpiexec_notices`` for its
output; ``failfast`` ends the whole job from inside the rank that fails;
``environment`` tells whether this process is a rank. May import ``errors`` only;
nothing here knows what the ranks compute, and nothing imports mpi4py.
"""
