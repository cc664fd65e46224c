"""The configuration of a run, checked before anything starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psmpi import algorithms
from psmpi.base import Algorithm, ConfigError
from psmpi.runs import option_names, option_types
from psmpi.runs.options import RunOptions
from psmpi.runs.targets import BUDGETS, METRICS, Target
from psmpi.runs.toml_file import read_toml

__all__ = [
    "BUDGETS",
    "METRICS",
    "RunConfig",
    "RunOptions",
    "Target",
    "configure",
    "read_toml",
]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: an algorithm, its options as given, and the options of the run."""

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
    """Sort options into those of the algorithm and of the run, and check all of them.

    Options have their names on the command line, with underscores or dashes. Raises
    ``ConfigError`` for unknown names, and for values of a wrong type or out of range.
    """
    if not isinstance(algorithm, str):
        raise ConfigError(
            f"algorithm: must be a name that psmpi list shows, got {algorithm!r}"
        )
    cls = algorithms.find(algorithm)
    own, general = option_names.own(algorithm), option_names.general()
    options = {key.replace("-", "_"): value for key, value in given.items()}
    for key in options:
        if key not in own | general:
            raise option_names.unknown(algorithm, key)
    run = RunConfig(
        algorithm=algorithm,
        algorithm_options={
            key: _fit(cls, key, value) for key, value in options.items() if key in own
        },
        run_options=RunOptions(
            **{key: value for key, value in options.items() if key in general}
        ),
        name=name or algorithm,
        given=tuple(options),
    )
    _refuse_max_bits(run)
    run.build()
    return run


def _fit(cls: type[Algorithm], name: str, value: Any) -> Any:
    """Return the value of an algorithm's option as its annotated type."""
    try:
        return option_types.fit(value, option_types.hints(cls)[name])
    except option_types.Unfit as unfit:
        raise ConfigError(
            f"{cls.id}: {name.replace('_', '-')} must be {unfit}, got {value!r}"
        ) from None


def _refuse_max_bits(run: RunConfig) -> None:
    """Refuse a limit on widths that a rule chooses where one width is set for all."""
    options = run.algorithm_options
    bits, limit = options.get("bits_down"), options.get("max_bits")
    # Records have all options, so the default beside bits_down is no contradiction.
    default = getattr(algorithms.find(run.algorithm), "max_bits", None)
    if bits is not None and limit not in (None, default):
        raise ConfigError(
            f"max-bits: {limit} limits the bits of models that a rule chooses, and "
            f"--bits-down {bits} fixes them; give one of both"
        )
