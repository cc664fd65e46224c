"""The configuration of a recorded run, for repeating it and for going on with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from psmpi import algorithms
from psmpi.base import ConfigError, Problem
from psmpi.runs import config, replay_versions, setup
from psmpi.runs.recorded import RecordedRun
from psmpi.runs.setup import PreparedRun

_CALLERS_LOOP = "psmpi.sessions.handover.CallersLoop"
Action = Literal["replay", "resume"]


def configuration(
    recorded: RecordedRun, problem: Problem | None, action: Action
) -> config.RunConfig:
    """Return the configuration of a recorded run.

    ``problem`` is the object that it was made with, if it was. ``action`` is what the
    caller does with the run, for errors.
    """
    values = dict(recorded.manifest["config"])
    made_from = values.pop("problem", None)
    if isinstance(made_from, str):
        values["problem"], made_from = made_from, None
    if made_from is not None and made_from["class"] == _CALLERS_LOOP:
        raise ConfigError(
            f"{action}: {recorded.path} was made by a loop of the caller's own, whose "
            "gradients are not in the record; start the script again"
        )
    if made_from is not None and problem is None:
        raise ConfigError(
            f"{action}: {recorded.path} was made from an object of "
            f"{made_from['class']}, which a record does not hold; call "
            f"psmpi.{action}(path, problem=OBJECT)"
        )
    if made_from is None and problem is not None:
        raise ConfigError(
            f"problem: {recorded.path} was made from the data {values['data']}; "
            f"{action} it without an object"
        )
    if values["data"] is None:
        del values["data"]
    algorithm, name = values.pop("algorithm"), values.pop("name")
    own = {field.name for field in algorithms.options(algorithms.find(algorithm))}
    options = {k: v for k, v in values.pop("options").items() if k in own}
    run = config.configure(algorithm, name, **options, **values)
    return dataclasses.replace(run, given=tuple(recorded.manifest.get("given", ())))


def require_same(recorded: RecordedRun, prepared: PreparedRun, action: Action) -> None:
    """Refuse to repeat or continue a run that came from something else."""
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
                f"{action}: the {what} of {recorded.path} has changed: its digest was "
                f"{then.get(what)}, and is {now}; {action} with what the run was made "
                "with"
            )
