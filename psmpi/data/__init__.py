"""Data sets: by name or from a file, read, cached, and split over workers.

May import ``base``, ``errors`` and ``random``; knows no objective (those are in
``psmpi.problems``) and no algorithm.
"""

from psmpi.data.dataset import Dataset
from psmpi.data.partition import PARTITIONS
from psmpi.data.registry import DATASETS, SYNTHETIC, forget, load, schemes

__all__ = [
    "DATASETS",
    "PARTITIONS",
    "SYNTHETIC",
    "Dataset",
    "forget",
    "load",
    "schemes",
]
