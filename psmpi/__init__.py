"""Communication-efficient distributed optimisation over MPI.

Rank 0 is the parameter server, the other ranks are workers, and what they exchange is
really packed bits. Importing the package loads neither numba nor mpi4py; its parts are
loaded at first use.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PARTS = ("algorithms", "codecs", "graphs", "memory", "problems", "steps")
_NAMES = {
    "run": "psmpi.runs.api",
    "replay": "psmpi.runs.api",
    "Result": "psmpi.runs.driver",
}

__all__ = ["__version__", *_PARTS, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"psmpi.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'psmpi' has no attribute {name!r}")
