"""Options of a run: everything but the hyper-parameters of its algorithm."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from psmpi.errors import ConfigError
from psmpi.runs import option_types
from psmpi.runs.targets import Target

if TYPE_CHECKING:
    import numpy as np

#: The least value of whole-number options.
_LEAST = {
    "workers": 1,
    "rounds": 0,
    "seed": 0,
    "evaluate_every": 1,
    "check_every": 0,
    "threads": 1,
    "keep": 1,
}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
#: Options of psmpi's own problems, which a problem of the user's does not have.
OF_DATA = (
    *("data", "l1", "l2", "hidden", "activation", "loss", "init", "partition"),
    "dirichlet_alpha",
)
_NOT_NEGATIVE = ("link_rate", "link_latency", "timeout")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run: everything but the hyper-parameters of its algorithm.

    Parameters
    ----------
    workers:
        Number of workers. The server is one more rank. Under mpiexec the default is the
        number of ranks less one.
    data:
        Data set: digits, mnist, ijcnn1, ..., libsvm:TRAIN[,TEST], npz:FILE or
        synthetic:KIND,key=value,... (psmpi list shows all of them).
    problem:
        Problem of your own in place of the data: FILE.py:NAME, MODULE:NAME or an
        installed plugin's name, where NAME is a function that returns a
        psmpi.base.Problem, or a class of such. Every rank makes it itself.
    problem_option:
        Arguments for it: NAME=VALUE ...
    l2:
        Weight of the ridge term (l2 / 2) ||x||^2 in the objective.
    l1:
        Weight of the term l1 ||x||_1 in the objective, for algorithms with a proximal
        step. The metric gradient-norm leaves this term out.
    hidden:
        Sizes of the hidden layers of a perceptron, like 200,100. Without it, the model
        is linear: logistic or softmax regression.
    activation:
        Activation of the hidden layers: relu, tanh or sigmoid.
    loss:
        Loss of a perceptron: softmax, or logistic, which sets each class against the
        rest.
    init:
        Initial point: glorot or zeros.
    partition:
        How samples are split over workers: contiguous, shuffled, by-label or dirichlet;
        with all, every worker has all samples.
    dirichlet_alpha:
        Concentration of the dirichlet partition. The smaller, the more the workers'
        data differ.
    rounds:
        Maximum number of rounds.
    until:
        Stop when all these targets are reached: METRIC=VALUE, with METRIC one of loss,
        residual, accuracy, error, gradient-norm. The budgets bits (paper bits sent by
        workers) and seconds stop a run alone. Accuracy and error are between 0 and 1.
    seed:
        Seed for the initial point, batches, random rounding and the partition.
    evaluate_every:
        Number of rounds between evaluations of the model, which record a row and check
        the targets.
    check_every:
        Number of rounds between comparisons of the model copies of all ranks, where
        they must be equal bit for bit; 0: never.
    on_nan:
        What becomes of a worker's gradient that is not finite, or whose norm overflows:
        stop (end the run and name worker, round and samples), zero (count the whole
        gradient as zero in this step) or skip (leave the worker out of this round, and
        undo its local steps).
    heal:
        Let a worker whose model copy differs at such a comparison take the server's,
        and go on; otherwise the run ends and names it.
    checkpoint_every:
        Save the state of all ranks, from which the run can go on (--resume), every so
        many rounds (100), or seconds, minutes or hours (60s, 10m, 1h); 0: never.
    keep:
        Number of checkpoints that are kept; older ones are removed.
    dtype:
        Type of model and gradients: float32 or float64.
    threads:
        Threads of BLAS per rank.
    broadcast:
        How the server's messages reach all workers: by a tree, one after the other
        (linear), or by MPI's own broadcast (mpi).
    slow:
        Workers that are slowed down on purpose: WORKER:FACTORx,..., like 3:10x, which
        makes a gradient of worker 3 take ten times as long (workers count from 0).
    speeds:
        Distribution of the workers' speeds in samples per second, drawn anew for every
        worker and round: constant:V, uniform:LOW,HIGH or exponential:MEAN. With --local
        it sets a simulated clock; over MPI workers sleep for the rest of the time.
    link_rate:
        Bits per second of a simulated network, with --local; 0: no limit.
    link_latency:
        Seconds that every message takes on the simulated network besides.
    link_sharing:
        Lines of the simulated network: one for every ordered pair of ranks (pair), or
        one out of and one into every node, shared by its messages (node).
    timeout:
        Over MPI: seconds that a rank may be silent while others wait for it. After that
        the run ends with an error that names the rank. A rank that computes is silent,
        so give more than the longest step and the longest evaluation can take. A rank
        that waits is never named. async-dsgd waits only at the end. 0: no limit.
    optimum:
        Compute the optimum of a convex problem first, for the residual. It is cached
        per data set.
    """

    workers: int = 4
    data: str = "digits"
    problem: str | None = None
    problem_option: tuple[str, ...] = ()
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
    on_nan: Literal["stop", "skip", "zero"] = "stop"
    heal: bool = False
    checkpoint_every: int | str = 0
    keep: int = 2
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
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, self._checked(field.name))
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{_dashed(name)}: must be a number of at least 0, got "
                    f"{getattr(self, name)}"
                )
        for text in self.until:
            Target.parse(text)
        _ = self.checkpoint_cadence
        _check_problem(self)
        for name in () if self.hidden else ("activation", "loss"):
            if getattr(self, name) != getattr(type(self), name):
                raise ConfigError(
                    f"{name}: {getattr(self, name)} is a choice for perceptrons; give "
                    f"sizes, like --hidden 200,100, or leave --{name} out"
                )

    def _checked(self, name: str) -> Any:
        """Return the value of an option as its annotated type."""
        value, least = getattr(self, name), _LEAST.get(name)
        wanted = f" of at least {least}" if least is not None else ""
        try:
            if name == "hidden":
                return sizes(value)
            if name == "problem_option" and isinstance(value, Mapping):
                value = [f"{key}={item}" for key, item in value.items()]
            fitting = option_types.fit(value, option_types.hints(RunOptions)[name])
            if least is None or fitting >= least:
                return fitting
            raise option_types.Unfit("a whole number")
        except option_types.Unfit as unfit:
            raise ConfigError(
                f"{_dashed(name)}: must be {unfit}{wanted}, got {value!r}"
            ) from None

    @property
    def targets(self) -> list[Target]:
        """``until``, parsed."""
        return [Target.parse(text) for text in self.until]

    @property
    def checkpoint_cadence(self) -> tuple[int, float]:
        """``checkpoint_every`` as rounds and seconds, of which one at least is 0."""
        text = str(self.checkpoint_every)
        number, unit = text[:-1], text[-1:]
        if text.isdecimal():
            return int(text), 0.0
        if unit in _SECONDS and number.isdecimal() and int(number):
            return 0, int(number) * _SECONDS[unit]
        raise ConfigError(
            "checkpoint-every: must be a number of rounds, or a time like 60s, 10m or "
            f"1h, got {self.checkpoint_every!r}"
        )

    @property
    def problem_options(self) -> dict[str, str]:
        """``problem_option`` as a mapping of texts."""
        return dict(_pair(text) for text in self.problem_option)

    @property
    def simulates(self) -> bool:
        """Whether a run in one process has a simulated clock."""
        network = self.link_rate or self.link_latency
        return bool(self.slow or self.speeds or network)

    @property
    def scalar(self) -> type[np.floating[Any]]:
        """``dtype`` as NumPy's type."""
        import numpy as np

        return np.float32 if self.dtype == "float32" else np.float64


def _check_problem(options: RunOptions) -> None:
    """Refuse options of psmpi's own problems beside a problem of the user's."""
    names = [_pair(text)[0] for text in options.problem_option]
    if options.problem is None:
        if names:
            raise ConfigError(
                f"problem-option: {names[0]} is for a problem of your own; give it "
                "with --problem FILE.py:NAME"
            )
        return
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"problem-option: {name} is given twice; give it once")
    for name in OF_DATA:
        if getattr(options, name) != getattr(RunOptions, name):
            raise ConfigError(
                f"{_dashed(name)}: {getattr(options, name)} is an option of psmpi's "
                f"own problems, and --problem {options.problem} is yours; leave it "
                "out, or make it an option of your problem (--problem-option)"
            )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ConfigError(f"problem-option: {text!r} must be NAME=VALUE, like width=64")
    return name, value


def sizes(value: Any) -> tuple[int, ...]:
    """Read sizes of layers: ``"200,100"``, 200, or a sequence of such; "" is none."""
    text = ",".join(map(str, value if isinstance(value, list | tuple) else [value]))
    words = [word.strip() for word in text.split(",")] if text else []
    if not all(word.isdecimal() and int(word) for word in words):
        raise ConfigError(
            f"hidden: {text!r} must be whole numbers above 0; give sizes like 200,100"
        )
    return tuple(map(int, words))


def _dashed(name: str) -> str:
    return name.replace("_", "-")
