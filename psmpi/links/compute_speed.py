"""How fast workers compute: stragglers on purpose, and speeds from a distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

from psmpi import random
from psmpi.base import ConfigError

_KINDS = {"constant": 1, "uniform": 2, "exponential": 1}
_NEARLY = 1 + 1e-12  # V (b / V) may be less than b in floating point


@dataclass(frozen=True)
class Speeds:
    """A distribution of speeds V in samples per second, drawn anew every round.

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
        chance = (key >> 11) * 2.0**-53
        match self.kind:
            case "constant":
                return self.numbers[0]
            case "uniform":
                low, high = self.numbers
                return low + (high - low) * chance
            case _:
                return -self.numbers[0] * math.log1p(-chance)


def slowdowns(spec: str, workers: int) -> dict[int, float]:
    """Read ``WORKER:FACTORx,...``, like 3:10x; raises ``ConfigError``."""
    factors: dict[int, float] = {}
    for part in filter(None, spec.split(",")):
        worker, _, factor = part.strip().partition(":")
        try:
            number, times = int(worker), float(factor.removesuffix("x"))
        except ValueError:
            number, times = -1, math.nan
        if not 1 <= times < math.inf:
            raise ConfigError(
                f"slow: can't read {part!r}; give WORKER:FACTORx with a factor of at "
                "least 1, like 3:10x"
            )
        if not 0 <= number < workers:
            raise ConfigError(
                f"slow: there is no worker {number}; they are 0 .. {workers - 1}"
            )
        factors[number] = times
    return factors


@dataclass
class ComputeSpeed:
    """How long one worker takes for its gradients; by default as long as it takes."""

    worker: int = 0
    seed: int = 0
    speeds: Speeds | None = None
    slow: float = 1.0
    behind: float = 0.0  # seconds that rounds' gradients took longer than they should
    _speed: float = math.nan
    _late: float = 0.0  # the same of this round, which its next gradients make up for

    def begin(self, round_: int) -> None:
        """Draw this round's speed."""
        self.behind += self._late
        self._late = 0.0
        if self.speeds is not None:
            key = random.key(self.seed, "speed", self.worker, round_)
            self._speed = self.speeds.draw(key) / self.slow

    def within(self, seconds: float) -> int | None:
        """Return floor(V seconds), samples to be had in a time; None if V isn't set."""
        if self.speeds is None:
            return None
        return math.floor(self._speed * seconds * _NEARLY)

    def rest(self, samples: int, taken: float) -> float:
        """Return the seconds that a gradient which took ``taken`` has yet to take."""
        if self.speeds is None:
            return (self.slow - 1) * taken
        rest = max(samples, 1) / self._speed - taken - self._late
        self._late = max(-rest, 0.0)
        return max(rest, 0.0)

    def overslept(self, seconds: float) -> None:
        """Book that the rest took so much longer: no sleep ends on time."""
        if self.speeds is not None:
            self._late += seconds


def average(
    speeds: Speeds | None, slow: dict[int, float], workers: int
) -> float | None:
    """Return E[V] as the mean over workers; None where speeds are not set."""
    if speeds is None:
        return None
    return speeds.mean * sum(1 / slow.get(m, 1.0) for m in range(workers)) / workers


def fastest(
    speeds: Speeds | None, slow: dict[int, float], workers: int
) -> float | None:
    """Return the most samples per second that any worker can have, or None."""
    if speeds is None:
        return None
    return speeds.top / min(slow.get(m, 1.0) for m in range(workers))
