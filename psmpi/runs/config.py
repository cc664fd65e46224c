"""What a run is made of, checked before anything starts."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from psmpi import algorithms
from psmpi.base import Algorithm, ConfigError

# metric -> whether a larger value is further on the way
METRICS = {
    "loss": False,
    "residual": False,
    "accuracy": True,
    "error": False,
    "gradient-norm": False,
    "bits": True,
    "seconds": True,
}
BUDGETS = ("bits", "seconds")


@dataclass(frozen=True)
class Target:
    """A value of a metric at which a run may end."""

    metric: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``METRIC=VALUE``."""
        metric, _, value = text.partition("=")
        if metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, n=1)
            hint = (
                f"did you mean {near[0]}?" if near else f"one of {', '.join(METRICS)}"
            )
            raise ConfigError(f"until: there is no metric {metric!r}; {hint}")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(
                f"until: {text!r} has no value; give {metric}=NUMBER, like {metric}=0.1"
            )
        return cls(metric, number)

    def met(self, value: float | None) -> bool:
        """Return whether ``value`` of the metric is as far as the target."""
        if value is None:
            return False
        return value >= self.value if METRICS[self.metric] else value <= self.value

    def __str__(self) -> str:
        return f"{self.metric}={self.value:g}"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run an algorithm: everything but its own hyper-parameters.

    Parameters
    ----------
    workers:
        Number of workers; the server comes on top. Under mpiexec: one less than its
        ranks.
    data:
        digits, mnist, ijcnn1, ..., libsvm:TRAIN[,TEST], npz:FILE or
        synthetic:KIND,key=value,...
    l2:
        Ridge: (l2 / 2) ||x||^2 is part of the objective.
    l1:
        l1 ||x||_1 is part of the objective, for algorithms with a proximal step;
        gradient-norm leaves it out.
    hidden:
        Sizes of a perceptron's hidden layers, like 200,100; without, it is regression.
    activation:
        Of a perceptron's hidden units: relu, tanh or sigmoid.
    loss:
        Of a perceptron: softmax, or logistic, each class against the rest.
    init:
        Initial point: glorot or zeros.
    partition:
        How samples are split over workers: contiguous, shuffled, by-label or dirichlet;
        all gives every worker all of them.
    dirichlet_alpha:
        Concentration of the dirichlet partition; small is heterogeneous.
    rounds:
        Rounds at most.
    until:
        Stop when all these are reached: METRIC=VALUE with METRIC one of loss, residual,
        accuracy, error, gradient-norm. The budgets bits (paper bits up) and seconds
        stop a run alone.
    seed:
        Of the initial point, batches, rounding and partition.
    evaluate_every:
        Evaluate the model, and look at the targets, every so many rounds.
    check_every:
        Compare the models of all ranks, where they must have the same bits, every so
        many rounds; 0: never.
    dtype:
        Of model and gradients: float32 or float64.
    threads:
        Threads of BLAS per rank.
    broadcast:
        How the server's messages reach all workers: tree, linear or mpi.
    slow:
        Workers that take longer for their gradients, on purpose: WORKER:FACTORx,...,
        like 3:10x (workers count from 0).
    speeds:
        Samples per second, drawn anew for every worker and round: constant:V,
        uniform:LOW,HIGH or exponential:MEAN. In one process they set a simulated clock;
        over MPI workers sleep for the rest of the time.
    link_rate:
        Bits per second of a simulated network, in one process; 0: no limit.
    link_latency:
        Seconds that every message takes there besides.
    link_sharing:
        Whether every pair of ranks has such a line there, or every node one for all
        that it sends, and one for all that it is sent: pair or node.
    timeout:
        Over MPI: seconds that a rank which others wait for may be silent; then the run
        ends and names it. Who waits answers for itself and is never named, who computes
        doesn't: give more than the longest step, and the longest evaluation, can take.
        In async-dsgd nobody waits for anybody before the end. 0: no limit.
    optimum:
        Find the optimum of a convex problem first (cached per data set), for the
        residual.
    """

    workers: int = 4
    data: str = "digits"
    l2: float = 0.01
    l1: float = 0.0
    hidden: tuple[int, ...] = ()
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    loss: Literal["softmax", "logistic"] = "softmax"
    init: str = "glorot"
    partition: str = "contiguous"
    dirichlet_alpha: float = 0.5
    rounds: int = 1000
    until: tuple[str, ...] = ()
    seed: int = 0
    evaluate_every: int = 10
    check_every: int = 100
    dtype: Literal["float32", "float64"] = "float32"
    threads: int = 1
    broadcast: Literal["tree", "linear", "mpi"] = "tree"
    slow: str = ""
    speeds: str = ""
    link_rate: float = 0.0
    link_latency: float = 0.0
    link_sharing: Literal["pair", "node"] = "pair"
    timeout: float = 0.0
    optimum: bool = True

    def __post_init__(self) -> None:
        for name in ("workers", "evaluate_every", "threads"):
            _at_least(name, getattr(self, name), 1)
        _at_least("rounds", self.rounds, 0)
        _at_least("seed", self.seed, 0)
        _at_least("check_every", self.check_every, 0)
        hints = typing.get_type_hints(type(self))
        for name in ("broadcast", "dtype", "activation", "loss", "link_sharing"):
            given, choices = getattr(self, name), typing.get_args(hints[name])
            if given not in choices:
                raise ConfigError(
                    f"{name}: must be one of {', '.join(choices)}, got {given!r}"
                )
        for name in ("link_rate", "link_latency", "timeout"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{_flag(name)[2:]}: must be a number of at least 0, got "
                    f"{getattr(self, name)}"
                )
        for text in self.until:
            Target.parse(text)
        for name in () if self.hidden else ("activation", "loss"):
            if getattr(self, name) != getattr(type(self), name):
                raise ConfigError(
                    f"{name}: {getattr(self, name)} is a choice for perceptrons; give "
                    f"sizes, like --hidden 200,100, or leave {_flag(name)} out"
                )

    @property
    def targets(self) -> list[Target]:
        """``until``, parsed."""
        return [Target.parse(text) for text in self.until]

    @property
    def simulates(self) -> bool:
        """Whether a run in one process has a simulated clock."""
        network = self.link_rate or self.link_latency
        return bool(self.slow or self.speeds or network)

    @property
    def scalar(self) -> type[np.floating[Any]]:
        """``dtype`` as NumPy's type."""
        return np.float32 if self.dtype == "float32" else np.float64


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: an algorithm, its options as given, and how to run it."""

    algorithm: str
    algorithm_options: Mapping[str, Any]
    run_options: RunOptions
    name: str
    given: tuple[str, ...] = ()  # names of the options that were not left to defaults

    def build(self) -> Algorithm:
        """Return the algorithm; ``ConfigError`` if its options are wrong."""
        return algorithms.make(self.algorithm, **self.algorithm_options)

    def as_dict(self) -> dict[str, Any]:
        """Return this as plain data; the algorithm's defaults are filled in."""
        return {
            "name": self.name,
            "algorithm": self.algorithm,
            "options": dataclasses.asdict(self.build()),  # type: ignore[call-overload]
            **dataclasses.asdict(self.run_options),
        }


def configure(algorithm: str, name: str | None = None, **given: Any) -> RunConfig:
    """Sort ``given`` into the options of the algorithm and of the run, and check all.

    Keys are as in the CLI, with underscores or dashes.
    """
    cls = algorithms.find(algorithm)
    own = {field.name for field in algorithms.options(cls)}
    general = {field.name for field in dataclasses.fields(RunOptions)}
    given = {key.replace("-", "_"): value for key, value in given.items()}
    for key in given:
        if key not in own | general:
            near = difflib.get_close_matches(key, own | general, n=1)
            hint = f"did you mean {_flag(near[0])}?" if near else "see --help"
            raise ConfigError(f"{algorithm}: there is no option {_flag(key)}; {hint}")
    if "until" in given:
        until = given["until"]
        given["until"] = (until,) if isinstance(until, str) else tuple(until)
    if "hidden" in given:
        given["hidden"] = _sizes(given["hidden"])
    result = RunConfig(
        algorithm=algorithm,
        algorithm_options={key: value for key, value in given.items() if key in own},
        run_options=RunOptions(
            **{k: value for k, value in given.items() if k in general}
        ),
        name=name or algorithm,
        given=tuple(given),
    )
    result.build()
    return result


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table in a file; ``ConfigError`` names file and fault."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            f"{_flag(name)[2:]}: must be a whole number of at least {least}, "
            f"got {value!r}"
        )


def _sizes(given: Any) -> tuple[int, ...]:
    """Read sizes of layers: ``"200,100"``, 200, or a sequence of such; "" is none."""
    text = ",".join(map(str, given if isinstance(given, list | tuple) else [given]))
    words = [word.strip() for word in text.split(",")] if text else []
    if not all(word.isdecimal() and int(word) for word in words):
        raise ConfigError(
            f"hidden: {text!r} must be whole numbers above 0; give sizes like 200,100"
        )
    return tuple(map(int, words))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
