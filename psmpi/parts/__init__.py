"""Parts: what algorithms are assembled from, one verb each.

Memories of senders and receivers, momentum, step-size schedules, upload triggers, the
downlink, mixing graphs, and the options that algorithms share. May import kernels,
codecs, ``base``, ``errors`` and ``random``; knows no transport, no file of a run and no
algorithm.
"""

from psmpi.parts.memory import (
    Accumulate,
    DecayedFeedback,
    Direct,
    ErrorFeedback,
    Innovation,
    Memory,
    Overwrite,
    Receiver,
)
from psmpi.parts.momentum import MovingAverage, Nesterov, WeightDecay
from psmpi.parts.schedules import Schedule, SyncTimes, schedule
from psmpi.parts.triggers import CoinTrigger, LazyTrigger, Trigger, Window, ratio
from psmpi.random import coin, key

__all__ = [
    "Accumulate",
    "CoinTrigger",
    "DecayedFeedback",
    "Direct",
    "ErrorFeedback",
    "Innovation",
    "LazyTrigger",
    "Memory",
    "MovingAverage",
    "Nesterov",
    "Overwrite",
    "Receiver",
    "Schedule",
    "SyncTimes",
    "Trigger",
    "WeightDecay",
    "Window",
    "coin",
    "key",
    "ratio",
    "schedule",
]
