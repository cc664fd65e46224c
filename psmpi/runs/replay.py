"""Repeats a recorded run in one process, and compares the results bit for bit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from psmpi import algorithms
from psmpi.base import ConfigError, Problem, PsmpiError
from psmpi.runs import config, replay_versions, setup, status, threads
from psmpi.runs.local import run_prepared
from psmpi.runs.record import MODEL
from psmpi.runs.recorded import RecordedRun, read_decisions, read_run
from psmpi.runs.setup import PreparedRun
from psmpi.runs.summary import Result

_CALLERS_LOOP = "psmpi.sessions.handover.CallersLoop"


def replay(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    problem: Problem | None = None,
    on_status: status.OnStatus | None = None,
) -> Result:
    """Repeat a recorded run in this process, with its decisions that depended on time.

    Parameters
    ----------
    path
        A run directory.
    out
        Directory to record the repeated run in; must not exist.
    problem
        The object that the run was made with, if it was made with one.
    on_status
        Called with a line of text when a slow step begins.

    Raises ``ConfigError`` if data, configuration or the versions of what is computed
    are not those of the run, and ``PsmpiError`` if the result is not the same, bit for
    bit.
    """
    recorded = read_run(path)
    decisions = read_decisions(recorded)
    run = _configuration(recorded, problem)
    with (
        status.forwarded(on_status),
        threads.limited(run.run_options.threads),
    ):
        prepared = setup.prepare(run, problem)
        _require_same(recorded, prepared)
        model = _model(recorded)
        result = run_prepared(prepared, out=out, replay=decisions)
    _compare(recorded, model, result)
    return result


def _configuration(recorded: RecordedRun, problem: Problem | None) -> config.RunConfig:
    """Return the configuration of a recorded run."""
    values = dict(recorded.manifest["config"])
    made_from = values.pop("problem", None)
    if isinstance(made_from, str):
        values["problem"], made_from = made_from, None
    if made_from is not None and made_from["class"] == _CALLERS_LOOP:
        raise ConfigError(
            f"replay: {recorded.path} was made by a loop of the caller's own, whose "
            "gradients are not in the record; start the script again"
        )
    if made_from is not None and problem is None:
        raise ConfigError(
            f"replay: {recorded.path} was made from an object of {made_from['class']}, "
            "which a record does not hold; call psmpi.replay(path, problem=OBJECT)"
        )
    if made_from is None and problem is not None:
        raise ConfigError(
            f"problem: {recorded.path} was made from the data {values['data']}; replay "
            "it without an object"
        )
    if values["data"] is None:
        del values["data"]
    algorithm, name = values.pop("algorithm"), values.pop("name")
    own = {field.name for field in algorithms.options(algorithms.find(algorithm))}
    options = {k: v for k, v in values.pop("options").items() if k in own}
    run = config.configure(algorithm, name, **options, **values)
    return dataclasses.replace(run, given=tuple(recorded.manifest.get("given", ())))


def _require_same(recorded: RecordedRun, prepared: PreparedRun) -> None:
    """Refuse to replay a run that came from something else."""
    versions: Mapping[str, int] | None = recorded.manifest.get("replay")
    digests = prepared.digests()
    if versions is None:
        # The digest of source files in such a record changes with every comment, and
        # its digest of the configuration with every new option.
        setup.warn(
            [
                f"{recorded.path} has no declared versions of what it computed, and "
                "its digest of psmpi's source can't be compared; the comparison of all "
                "bits will show whether this psmpi computes the same"
            ]
        )
        del digests["configuration"]
    else:
        replay_versions.require_equal(
            versions, replay_versions.declared(prepared), recorded.path
        )
        digests["configuration"] = setup.config_digest(recorded.manifest["config"])
    then = recorded.manifest.get("digests", {})
    for what, now in digests.items():
        if then.get(what) != now:
            raise ConfigError(
                f"replay: the {what} of {recorded.path} has changed: its digest was "
                f"{then.get(what)}, and is {now}; replay with what the run was made "
                "with"
            )


def _model(recorded: RecordedRun) -> np.ndarray:
    try:
        model: np.ndarray = np.load(recorded.path / MODEL)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(
            f"{recorded.path / MODEL}: can't be read ({error}); a replay compares with "
            "it"
        ) from None
    return model


def _compare(recorded: RecordedRun, model: np.ndarray, result: Result) -> None:
    """Raise ``PsmpiError`` unless the losses and the final model are the same bits."""
    if len(recorded.rows) != len(result.rows):
        raise PsmpiError(
            f"replay: {recorded.path} has {len(recorded.rows)} rows, and the run again "
            f"{len(result.rows)}; is all of its rows.jsonl there?"
        )
    for then, now in zip(recorded.rows, result.rows, strict=True):
        if (then["round"], then["loss"]) != (now["round"], now["loss"]):
            raise PsmpiError(
                f"replay: differs from {recorded.path} since round {then['round']}: "
                f"the loss was {then['loss']} and is {now['loss']}"
            )
    if result.x.tobytes() != model.tobytes():
        raise PsmpiError(
            f"replay: the final model differs from that of {recorded.path}"
        )
