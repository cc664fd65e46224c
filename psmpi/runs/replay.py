"""Repeats a recorded run in one process, and compares the results bit for bit."""

from __future__ import annotations

import os

import numpy as np

from psmpi.base import ConfigError, Problem, PsmpiError
from psmpi.runs import setup, status, threads
from psmpi.runs.local import run_prepared
from psmpi.runs.record import MODEL
from psmpi.runs.recorded import RecordedRun, read_decisions, read_run
from psmpi.runs.recorded_config import configuration, require_same
from psmpi.runs.summary import Result


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
    run = configuration(recorded, problem, "replay")
    with (
        status.forwarded(on_status),
        threads.limited(run.run_options.threads),
    ):
        prepared = setup.prepare(run, problem)
        require_same(recorded, prepared, "replay")
        model = _model(recorded)
        result = run_prepared(prepared, out=out, replay=decisions)
    _compare(recorded, model, result)
    return result


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
