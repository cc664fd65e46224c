"""The caller's own training loop, which drives a worker of any algorithm.

``api`` opens a session, ``session`` is what the caller holds, and ``handover`` lets an
algorithm's worker role run up to its next gradient and no further, so that the text of
no algorithm is written twice. ``opening`` is what all workers have to agree on,
``server`` what rank 0 does meanwhile, and ``program`` starts both for ``psmpi launch``.

May import runs, links, algorithms, parts, ``base``, ``errors`` and ``random``. The room
is called ``sessions`` because ``psmpi.session`` is the function.
"""
