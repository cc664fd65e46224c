"""Links: how frames get from one role to another, over MPI or inside one process.

The two ends (``server``, ``worker``) speak one ``protocol`` over any ``transport``;
``envelope`` is what stands around every frame. May import ``base``, ``errors``,
``random`` and ``processes``; a link knows no algorithm and no problem.
"""
