"""PyTorch models: their parameters as one vector, and what trains them by psmpi.

``flat`` makes all parameters of a model views of one flat vector. On it, ``optimizer``
trains in the caller's own loop, ``local_updates`` joins steps of any optimizer, and
``model_problem`` makes a ``Problem`` of a model, so that every algorithm and
``psmpi.run`` take it; ``samples`` reads PyTorch's data sets.

May import sessions, runs, problems, ``base``, ``errors`` and ``random``, and is the
only room that imports PyTorch, which comes with the extra ``psmpi[torch]``.
"""

from psmpi.errors import ConfigError

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ConfigError(
        "psmpi.torch: PyTorch is not installed; pip install 'psmpi[torch]'"
    ) from None

from psmpi.torch.flat import FlatParameters
from psmpi.torch.local_updates import LocalUpdates
from psmpi.torch.model_problem import ModelProblem
from psmpi.torch.optimizer import Optimizer

problem = ModelProblem

__all__ = ["FlatParameters", "LocalUpdates", "ModelProblem", "Optimizer", "problem"]
