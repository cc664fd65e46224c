"""``psmpi.torch.problem``: a Problem of a PyTorch model, for all algorithms."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from psmpi import random
from psmpi.base import ConfigError, Indices, Problem, Vector
from psmpi.torch import measures, trial
from psmpi.torch.flat import FlatParameters
from psmpi.torch.measures import Metric
from psmpi.torch.modes import Modes, seeded
from psmpi.torch.samples import Samples


class ModelProblem(Problem):
    """f(x) = (1/N) sum_i l(model_x(input_i), target_i) + (l2/2) ||x||^2.

    x are the model's trainable parameters, one tensor after the other (``names``,
    ``bounds``). A shard is a contiguous part of the samples, scaled like psmpi's own
    problems: f_m is M/N times the sum over the shard.

    Gradients are taken in the mode that the modules have when the model is given,
    normally of training, and draw random numbers (dropout, transforms of the data set)
    from PyTorch's generator, seeded by the batch: they are functions of x and the
    batch. Losses, accuracies and metrics are taken in evaluation mode.

    Buffers are no part of x: no rank sends them. Running statistics of batch
    normalisation have no influence on gradients; before each evaluation they are set to
    the averages over the first ``statistics`` samples at that x, so that an evaluation
    is a function of x too. A model in which a forward pass changes other buffers is
    refused.

    The model is a copy of the caller's, and one for all shards in a process. Before
    each use its parameters become views of x, and their gradients views of ``out``, so
    that nothing is copied. Use it from one thread at a time.

    Parameters
    ----------
    model
        A module, which is copied and starts with its own parameters, or a function
        without arguments that builds one, whose random numbers the run's seed decides.
    loss
        ``loss(outputs, targets)``: the *mean* over the samples of a batch, a scalar, as
        ``torch.nn.CrossEntropyLoss()`` returns it.
    data, test
        Training and test samples: two tensors (inputs, targets), a ``TensorDataset`` of
        two, or any data set with ``len`` and numbered items (input, target).
    metrics
        Further means over the test set, by name: functions of (outputs, targets). They
        become columns of the rows, beside ``test_loss``.
    l2
        Factor of the ridge (l2 / 2) ||x||^2 over all trainable parameters.
    dtype
        Of x and gradients, float32 or float64: that of the run (``dtype=``). Default:
        float64 if all parameters are, else float32.
    chunk
        Most samples that go through the model at once. Batch normalisation averages
        over a chunk.
    statistics
        Samples over which it averages for evaluations; see ``ModelProblem``.
    loss_samples
        Training samples, evenly spaced, that a recorded loss is the mean over; None:
        all, as in the definition of f. Gradients are never restricted to them.

    Raises ``ConfigError`` for what can't be trained: it names the parameter, buffer or
    argument.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[], nn.Module],
        loss: Metric,
        data: Any,
        *,
        test: Any = None,
        metrics: Mapping[str, Metric] | None = None,
        l2: float = 0.0,
        dtype: Any = None,
        chunk: int = 512,
        statistics: int = 1024,
        loss_samples: int | None = None,
    ) -> None:
        if not (np.isfinite(l2) and l2 >= 0):
            raise ConfigError(f"l2: must be finite and at least 0, got {l2}")
        for name, value in (
            ("chunk", chunk),
            ("statistics", statistics),
            ("loss_samples", loss_samples),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"{name}: must be at least 1 sample, got {value}")
        self._build = None if isinstance(model, nn.Module) else model
        made = model if isinstance(model, nn.Module) else _built(model, 0)
        self.model = copy.deepcopy(made)
        self._parameters = FlatParameters(self.model, dtype)
        self._start = self._parameters.x
        self._modes = Modes(self.model)
        self.names, self.bounds = self._parameters.names, self._parameters.bounds
        self.dim, self.dtype = self._parameters.dim, self._parameters.dtype
        self.l2 = float(l2)
        self.worker, self.workers = 0, 1
        self._loss = loss
        self._train = Samples(data, "data")
        self._test = None if test is None else Samples(test, "test")
        self._metrics = dict(metrics or {})
        self._chunk, self._statistics = chunk, statistics
        self._loss_samples = loss_samples
        self._tested: tuple[str, float | None, dict[str, float]] | None = None
        self.samples = self._whole = len(self._train)
        trial.check(self.model, loss, self._train, self._modes)
        self._fingerprint = self._hash_model()

    def start(self, seed: int) -> Vector:
        """Return the initial point, shape (dim,).

        A model that was given as such starts with its own parameters, whatever the
        seed; a function that builds it is called again, with PyTorch's generator seeded
        by ``seed``.
        """
        if self._build is None:
            return self._start.copy()
        return FlatParameters(_built(self._build, seed), self.dtype).x

    def loss(self, x: Vector) -> float:
        """Return f_m(x), in evaluation mode: over all samples, or ``loss_samples``."""
        total, size, batch = 0.0, self.samples, None
        if self._loss_samples is not None and self._loss_samples < size:
            size = self._loss_samples
            batch = np.linspace(0, self.samples - 1, size).astype(np.int64)
        with self._evaluating(x):
            for inputs, targets, count in self._train.chunks(self._chunk, batch):
                total += self._loss(self.model(inputs), targets).item() * count
        return self._weight * total / size + self._ridge(x, None)

    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient at ``x`` into ``out``; return the loss it belongs to.

        Both have shape (dim,) and the problem's dtype, and share no memory. ``batch``
        holds indices into the shard's samples, None stands for all. More than ``chunk``
        samples go through the model chunk by chunk.
        """
        self._bind(x)
        self._check_vector("out", out)
        size = self.samples if batch is None else len(batch)
        total = 0.0
        with seeded(self._key(batch)):
            self._parameters.bind_gradient(out)
            for inputs, targets, count in self._train.chunks(self._chunk, batch):
                loss = self._loss(self.model(inputs), targets)
                share = self._weight * count / size
                loss.backward(loss.new_tensor(share))
                total += share * loss.item()
            self._parameters.collect()
            self._parameters.release()
        return total + self._ridge(x, out)

    def accuracy(self, x: Vector) -> float | None:
        """Return the share of correct classes in the test set, or None.

        None stands for no test set, and for targets that are no classes.
        """
        return None if self._test is None else self._measure(x)[0]

    def metrics(self, x: Vector) -> Mapping[str, float]:
        """Return ``test_loss`` and own metrics, averaged over the test set."""
        return {} if self._test is None else self._measure(x)[1]

    def shard(self, worker: int, workers: int) -> Self:
        """Return f_m of worker ``worker`` (0-based) of ``workers``.

        It shares the model and the data's memory. Raises ``ConfigError`` for more
        workers than samples, and for a shard of a shard.
        """
        if self.workers > 1:
            raise ConfigError(
                f"shard: this is already the shard of worker {self.worker} of "
                f"{self.workers}; shard the whole problem"
            )
        if not 0 <= worker < workers:
            raise ConfigError(f"worker: must lie in 0 .. {workers - 1}, got {worker}")
        if workers > self.samples:
            raise ConfigError(
                f"workers: {self.samples} samples can't be split over {workers} "
                f"workers; use at most {self.samples} workers"
            )
        own = copy.copy(self)
        own.worker, own.workers = worker, workers
        own._second = None  # scratch is a shard's own
        own._train = self._train.part(worker, workers)
        own.samples = len(own._train)
        return own

    def without_ridge(self) -> Self:
        """Return this problem with l2 = 0; it shares model and data."""
        own = copy.copy(self)
        own.l2, own._second = 0.0, None
        return own

    def digest(self) -> str:
        """Return a sha256 hex digest of model, start, loss, data, l2 and shard.

        ``Samples.digest`` says what it covers of the data. Of a model it covers its
        structure, the code of its ``forward`` methods, and all its numbers.
        """
        facts = (self._fingerprint, self.l2, self.worker, self.workers, self.samples)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def module(self, x: Vector) -> nn.Module:
        """Return a copy of the model with the parameters ``x``, in evaluation mode.

        The parameters are copies, and statistics of batch normalisation those at ``x``.
        """
        with self._evaluating(x):
            self._parameters.release()
            return copy.deepcopy(self.model)

    @property
    def _weight(self) -> float:
        """f_m is this factor times the mean over the shard: M n_m / N."""
        return self.workers * self.samples / self._whole

    def _ridge(self, x: Vector, out: Vector | None) -> float:
        """Return (l2/2) ||x||^2, in float64, and add its gradient to ``out``."""
        if self.l2 == 0:
            return 0.0
        if out is not None:
            out += x.dtype.type(self.l2) * x
        return 0.5 * self.l2 * float(np.sum(np.square(x, dtype=np.float64)))

    def _measure(self, x: Vector) -> tuple[float | None, dict[str, float]]:
        """Return accuracy and metrics on the test set, computed in one pass."""
        assert self._test is not None
        at = hashlib.sha256(x.data).hexdigest()
        if self._tested is None or self._tested[0] != at:
            metrics = {"test_loss": self._loss, **self._metrics}
            with self._evaluating(x):
                chunks = self._test.chunks(self._chunk)
                self._tested = at, *measures.means(self.model, chunks, metrics)
        return self._tested[1:]

    def _bind(self, x: Vector) -> None:
        """Make the model's parameters views of ``x``."""
        self._check_vector("x", x)
        self._parameters.bind(x if x.flags.writeable else x.copy())

    @contextmanager
    def _evaluating(self, x: Vector) -> Iterator[None]:
        """Set the model to evaluation mode at ``x``, statistics included."""
        self._bind(x)
        with torch.no_grad(), seeded(0):
            if self._modes.norms:
                part = np.arange(min(self._statistics, self.samples))
                with self._modes.averaging():
                    for inputs, _, _ in self._train.chunks(self._chunk, part):
                        self.model(inputs)
            with self._modes.evaluation():
                yield

    def _key(self, batch: Indices | None) -> int:
        """Return the seed of what is drawn for a batch: the same at any point x."""
        numbers = () if batch is None else batch.tolist()
        return random.key(self.worker, "torch", *numbers)

    def _check_vector(self, name: str, vector: Vector) -> None:
        if vector.shape != (self.dim,) or vector.dtype != self.dtype:
            raise ConfigError(
                f"{name}: must be a {self.dtype} vector of {self.dim}, got "
                f"{vector.shape} of {vector.dtype}"
            )

    def _hash_model(self) -> str:
        functions = (self._loss, *self._metrics.values())
        return trial.digest(
            self.model,
            *(self.names, self.bounds, str(self.dtype), self._chunk, self._statistics),
            self._loss_samples,
            *(slot.stride for slot in self._parameters.slots),
            *(trial.code(function) for function in functions),
            self._train.digest(),
            None if self._test is None else self._test.digest(),
        )


def _built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with seeded(random.key(seed, "torch model")):
        model = build()
    if not isinstance(model, nn.Module):
        raise ConfigError(
            "model: must be a torch.nn.Module or a function without arguments that "
            f"builds one, which returned {type(model).__name__}"
        )
    return model
