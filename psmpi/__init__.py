"""Communication-efficient distributed optimisation over MPI.

Rank 0 is the parameter server, the other ranks are workers, and what they exchange is
really packed bits. Importing the package loads neither NumPy, numba nor mpi4py; each
name below is loaded at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psmpi import algorithms as algorithms
    from psmpi import base as base
    from psmpi import codecs as codecs
    from psmpi import data as data
    from psmpi import errors as errors
    from psmpi import jax as jax
    from psmpi import parts as parts
    from psmpi import problems as problems
    from psmpi import torch as torch
    from psmpi.errors import ConfigError as ConfigError
    from psmpi.errors import FrameError as FrameError
    from psmpi.errors import LinkError as LinkError
    from psmpi.errors import PsmpiError as PsmpiError
    from psmpi.errors import Stopped as Stopped
    from psmpi.parts import memory as memory
    from psmpi.parts import topology as topology
    from psmpi.runs.api import resume as resume
    from psmpi.runs.api import run as run
    from psmpi.runs.estimate import estimate as estimate
    from psmpi.runs.replay import replay as replay
    from psmpi.runs.summary import Result as Result
    from psmpi.sessions.api import session as session
    from psmpi.sessions.session import Session as Session

    graphs = topology
    steps = parts

__version__ = "0.1.0"

#: Public name -> where it is: a module, or a module and a name in it.
_PUBLIC = {
    "algorithms": "psmpi.algorithms",
    "base": "psmpi.base",
    "codecs": "psmpi.codecs",
    "data": "psmpi.data",
    "errors": "psmpi.errors",
    "graphs": "psmpi.parts.topology",
    "jax": "psmpi.jax",
    "memory": "psmpi.parts.memory",
    "parts": "psmpi.parts",
    "problems": "psmpi.problems",
    "steps": "psmpi.parts",
    "torch": "psmpi.torch",
    "ConfigError": "psmpi.errors:ConfigError",
    "FrameError": "psmpi.errors:FrameError",
    "LinkError": "psmpi.errors:LinkError",
    "PsmpiError": "psmpi.errors:PsmpiError",
    "Result": "psmpi.runs.summary:Result",
    "estimate": "psmpi.runs.estimate:estimate",
    "replay": "psmpi.runs.replay:replay",
    "resume": "psmpi.runs.api:resume",
    "Session": "psmpi.sessions.session:Session",
    "Stopped": "psmpi.errors:Stopped",
    "run": "psmpi.runs.api:run",
    "session": "psmpi.sessions.api:session",
}

__all__ = [
    "__version__",
    *_PUBLIC,
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'psmpi' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
