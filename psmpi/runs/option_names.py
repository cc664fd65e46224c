"""Names of options: which exist, and what a wrong name may have meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from psmpi import algorithms
from psmpi.errors import ConfigError, nearest
from psmpi.runs.options import RunOptions

#: Options of the command line itself, which say how a run is launched and recorded.
LAUNCH = ("out", "local", "hosts", "restarts", "resume", "dry_run", "config")
#: What other programs call an option -> its name here.
_SYNONYMS = {
    "batch_size": "batch",
    "batchsize": "batch",
    "dataset": "data",
    "epochs": "rounds",
    "eta": "lr",
    "host": "hosts",
    "iterations": "rounds",
    "learning_rate": "lr",
    "max_rounds": "rounds",
    "nprocs": "workers",
    "np": "workers",
    "output": "out",
    "precision": "dtype",
    "steps": "rounds",
    "target": "until",
    "tau": "staleness",
}
#: Options that psmpi does not have, with the reason.
_ABSENT = {
    "checkpoint": "checkpoints are written with --checkpoint-every 100 or 60s",
    "device": "psmpi computes on the CPU; for BLAS threads per rank give --threads",
    "model": "models are linear, or a perceptron with --hidden 200,100; a model of "
    "your own is --problem FILE.py:NAME, or a loop of your own with psmpi.session",
    "resume": "a run goes on with psmpi run --resume DIR, or psmpi.resume(DIR)",
    "servers": "a run has one server",
}
_ABSENT |= {"gpu": _ABSENT["device"], "gpus": _ABSENT["device"]}
_CLOSE = 0.7  # least similarity of a suggestion: --bitz -> --bits, not --laq -> --slack
_SHOWN = 4  # algorithms that are named


def own(algorithm: str) -> set[str]:
    """Return the names of an algorithm's options."""
    return {field.name for field in algorithms.options(algorithms.find(algorithm))}


def general() -> set[str]:
    """Return the names of the options that every run has."""
    return {field.name for field in dataclasses.fields(RunOptions)}


def flag(name: str) -> str:
    """Return an option as it is written on the command line."""
    return "--" + name.replace("_", "-")


def unknown(algorithm: str, name: str, launch: Iterable[str] = ()) -> ConfigError:
    """Return the error for an option that ``algorithm`` doesn't have.

    ``launch``: other options that can be given in this place.
    """
    key = name.replace("-", "_")
    known = own(algorithm) | general() | set(launch)
    return ConfigError(
        f"{algorithm}: there is no option {flag(key)}; {_hint(algorithm, key, known)}"
    )


def near(name: str, known: Iterable[str]) -> str | None:
    """Return the known option that ``name`` most likely means; None if none is close.

    A name that other programs use counts as close to the one that it has here.
    """
    return nearest(_SYNONYMS.get(name, name), known, _CLOSE)


def _hint(algorithm: str, key: str, known: set[str]) -> str:
    if key in _ABSENT:
        return _ABSENT[key]
    having = _having(key)
    if having:
        return f"it is an option of {having}"
    close = near(key, known)
    if close:
        return f"did you mean {flag(close)}?"
    close = near(key, {name for id in algorithms.ALGORITHMS for name in own(id)})
    if close:
        return f"did you mean {flag(close)}? It is an option of {_having(close)}"
    return f"see psmpi run {algorithm} --help"


def _having(key: str) -> str:
    """Return the first algorithms that have an option, in words; "" if none has."""
    ids = [id for id in algorithms.ALGORITHMS if key in own(id)]
    shown, more = ids[:_SHOWN], len(ids) - _SHOWN
    return ", ".join(shown) + (f" and {more} others" if more > 0 else "")
