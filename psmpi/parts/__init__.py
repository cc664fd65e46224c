"""Parts: what algorithms are assembled from, one verb each.

Memories of senders and receivers, momentum, step-size schedules, upload triggers, the
downlink, mixing graphs, and the options that algorithms share. May import kernels,
codecs, ``base``, ``errors`` and ``random``; knows no transport, no file of a run and no
algorithm.
"""
