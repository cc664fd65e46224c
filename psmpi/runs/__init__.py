"""Runs: a configuration becomes ranks that do their roles, a record and a result.

``config`` (what was asked for), ``setup`` (made ready and checked), ``roles`` (what one
rank does), ``evaluation``, ``summary``, ``record`` and ``recorded`` (the run directory,
written and read), ``comparison`` (several runs), ``rank`` (the program of an MPI rank)
and ``api`` (``psmpi.run`` and ``psmpi.replay``). May import everything but ``report``
and ``cli``.
"""
