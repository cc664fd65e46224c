"""Targets of a run: a metric and the value at which the run may stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from psmpi.errors import ConfigError, did_you_mean

#: Metric -> whether a run improves it by making it larger.
METRICS = {
    "loss": False,
    "residual": False,
    "accuracy": True,
    "error": False,
    "gradient-norm": False,
    "bits": True,
    "seconds": True,
}
#: Metrics that are limits on what a run may spend: each of them stops a run alone.
BUDGETS = ("bits", "seconds")
_SHARES = ("accuracy", "error")  # between 0 and 1, although tables show per cent


@dataclass(frozen=True)
class Target:
    """A value of a metric at which a run may end."""

    metric: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``METRIC=VALUE``; ``ConfigError`` says which part is wrong."""
        metric, _, word = text.partition("=")
        if metric not in METRICS:
            hint = did_you_mean(metric, METRICS, f"use one of {', '.join(METRICS)}")
            raise ConfigError(f"until: there is no metric {metric!r}; {hint}")
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(
                f"until: {text!r} has no value; give {metric}=NUMBER, like {metric}=0.1"
            )
        if metric in _SHARES and not 0 <= value <= 1:
            hint = (
                f"; did you mean {metric}={value / 100:g}?" if 1 < value < 100 else ""
            )
            raise ConfigError(
                f"until: {metric} is a share between 0 and 1, got {value:g}{hint}"
            )
        return cls(metric, value)

    def met(self, value: float | None) -> bool:
        """Return whether ``value`` of the metric has reached the target."""
        if value is None:
            return False
        return value >= self.value if METRICS[self.metric] else value <= self.value

    def __str__(self) -> str:
        return f"{self.metric}={self.value:g}"
