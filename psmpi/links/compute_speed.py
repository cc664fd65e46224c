"""How fast workers compute: artificial stragglers, and speeds from a distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

from psmpi import random
from psmpi.base import ConfigError

_KINDS = {"constant": 1, "uniform": 2, "exponential": 1}
_TOLERANCE = 1 + 1e-12  # V (b / V) may be less than b in floating point


@dataclass(frozen=True)
class Speeds:
    """A distribution of the speed V in samples per second; each round has a new draw.

    ``constant:V``, ``uniform:LOW,HIGH`` or ``exponential:MEAN``.
    """

    kind: str
    numbers: tuple[float, ...]

    @classmethod
    def parse(cls, spec: str) -> Speeds:
        """Read ``KIND:NUMBERS``; raises ``ConfigError``."""
        kind, _, text = spec.partition(":")
        try:
            numbers = tuple(float(word) for word in text.split(","))
        except ValueError:
            numbers = ()
        fits = _KINDS.get(kind) == len(numbers) and sorted(numbers) == list(numbers)
        if not fits or not all(0 < v < math.inf for v in numbers):
            raise ConfigError(
                f"speeds: can't read {spec!r}; give constant:V, uniform:LOW,HIGH or "
                "exponential:MEAN, in samples per second, above 0"
            )
        return cls(kind, numbers)

    @property
    def mean(self) -> float:
        """E[V]."""
        return sum(self.numbers) / len(self.numbers)

    @property
    def top(self) -> float:
        """The least upper bound of V."""
        return math.inf if self.kind == "exponential" else self.numbers[-1]

    def draw(self, key: int) -> float:
        """Return V, a pure function of ``key``."""
        uniform = (key >> 11) * 2.0**-53  # in [0, 1)
        match self.kind:
            case "constant":
                return self.numbers[0]
            case "uniform":
                low, high = self.numbers
                return low + (high - low) * uniform
            case _:
                return -self.numbers[0] * math.log1p(-uniform)


def slowdowns(spec: str, workers: int) -> dict[int, float]:
    """Read ``WORKER:FACTORx,...``, like 3:10x; return factors by worker.

    Raises ``ConfigError`` for anything else, or a worker that does not exist.
    """
    factors: dict[int, float] = {}
    for part in filter(None, spec.split(",")):
        name, _, number = part.strip().partition(":")
        try:
            worker, factor = int(name), float(number.removesuffix("x"))
        except ValueError:
            worker, factor = -1, math.nan
        if not 1 <= factor < math.inf:
            raise ConfigError(
                f"slow: can't read {part!r}; give WORKER:FACTORx with a factor of at "
                "least 1, like 3:10x"
            )
        if not 0 <= worker < workers:
            raise ConfigError(
                f"slow: there is no worker {worker}; they are 0 .. {workers - 1}"
            )
        factors[worker] = factor
    return factors


@dataclass
class ComputeSpeed:
    """The speed of one worker's gradients: by default what the computer achieves.

    With ``speeds``, a gradient of b samples lasts b / V seconds; ``slow`` multiplies
    the time of every gradient. When a gradient took longer than that, the next ones of
    the same round are shortened accordingly.
    """

    worker: int = 0
    seed: int = 0
    speeds: Speeds | None = None
    slow: float = 1.0
    behind: float = 0.0  # seconds by which gradients of past rounds exceeded b / V
    _speed: float = math.nan
    _late: float = 0.0  # the same in this round so far

    def saved(self) -> list[float]:
        """Return by how much this worker is late, to go on from."""
        return [self.behind, self._late]

    def resume(self, saved: list[float]) -> None:
        """Go on from what ``saved`` gave."""
        self.behind, self._late = saved

    def begin(self, round_: int) -> None:
        """Draw this round's speed."""
        self.behind += self._late
        self._late = 0.0
        if self.speeds is not None:
            key = random.key(self.seed, "speed", self.worker, round_)
            self._speed = self.speeds.draw(key) / self.slow

    def samples_within(self, seconds: float) -> int | None:
        """Return floor(V seconds), the samples that fit; None if V is not set."""
        if self.speeds is None:
            return None
        return math.floor(self._speed * seconds * _TOLERANCE)

    def remaining(self, samples: int, seconds: float) -> float:
        """Return how many seconds longer a gradient that took ``seconds`` must last."""
        if self.speeds is None:
            return (self.slow - 1) * seconds
        remaining = max(samples, 1) / self._speed - seconds - self._late
        self._late = max(-remaining, 0.0)
        return max(remaining, 0.0)

    def add_delay(self, seconds: float) -> None:
        """Take in that waiting lasted longer than asked for, as sleeping does."""
        if self.speeds is not None:
            self._late += seconds


def average(
    speeds: Speeds | None, slow: dict[int, float], workers: int
) -> float | None:
    """Return the mean of E[V] over workers; None where speeds are not set."""
    if speeds is None:
        return None
    return speeds.mean * sum(1 / slow.get(m, 1.0) for m in range(workers)) / workers


def fastest(
    speeds: Speeds | None, slow: dict[int, float], workers: int
) -> float | None:
    """Return the highest speed that any worker can have; None where it is not set."""
    if speeds is None:
        return None
    return speeds.top / min(slow.get(m, 1.0) for m in range(workers))
