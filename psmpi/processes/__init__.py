"""Processes: starting the ranks of a job, watching over them, and ending them.

``mpiexec`` builds the command and launches it, ``supervisor`` follows the running job
from outside, ``failfast`` ends the whole job from inside the rank that fails. It
may import ``errors`` only; nothing here knows what the ranks compute, and nothing
imports mpi4py.
"""
