"""Going on with a run that has not ended, from its newest checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from psmpi.base import ConfigError, Problem
from psmpi.runs import config, setup
from psmpi.runs.record import MANIFEST, RESUMES, ROWS, plain
from psmpi.runs.recorded import RecordedRun, read_manifest, read_run
from psmpi.runs.recorded_config import configuration, require_same
from psmpi.runs.schema import Row
from psmpi.runs.setup import PreparedRun
from psmpi.storage.atomic import replacing
from psmpi.storage.checkpoints import FOLDER, Checkpoint, Store


@dataclass(frozen=True)
class Resumption:
    """A run that goes on: its record until now, and the checkpoint to go on from.

    Without a checkpoint it begins again with round 0.
    """

    recorded: RecordedRun
    checkpoint: Checkpoint | None

    @property
    def round(self) -> int:
        """The first round that is still to be done."""
        return 0 if self.checkpoint is None else self.checkpoint.round

    @property
    def rows(self) -> list[Row]:
        """The rows that were recorded before that round."""
        count = 0 if self.checkpoint is None else int(self.checkpoint.facts["rows"])
        return cast(list[Row], self.recorded.rows[:count])

    def configuration(self, problem: Problem | None = None) -> config.RunConfig:
        """Return the configuration of the run, from its manifest."""
        return configuration(self.recorded, problem, "resume")

    def apply(self, prepared: PreparedRun) -> PreparedRun:
        """Return the prepared run as one that goes on from here.

        Raises ``ConfigError`` if it would be another run.
        """
        require_same(self.recorded, prepared, "resume")
        _require_options(self.recorded, prepared)
        checkpoint = self.checkpoint
        if checkpoint is not None and checkpoint.ranks != prepared.plan.workers + 1:
            raise ConfigError(
                f"resume: {checkpoint.folder} is of {checkpoint.ranks - 1} workers, "
                f"and the run has {prepared.plan.workers}"
            )
        return replace(prepared, goes_on=True, resumed=checkpoint, rows=self.rows)


def _require_options(recorded: RecordedRun, prepared: PreparedRun) -> None:
    """Refuse other options than the run was begun with; new ones may have come."""
    then, now = recorded.manifest["config"], plain(prepared.config())
    pairs = {
        **{name: (then[name], now[name]) for name in then.keys() & now.keys()},
        **{
            name: (then["options"][name], now["options"][name])
            for name in then["options"].keys() & now["options"].keys()
        },
    }
    for name in sorted(pairs.keys() - {"options"}):
        old, new = pairs[name]
        if old != new:
            raise ConfigError(
                f"resume: {name.replace('_', '-')} is {new!r}, and the run in "
                f"{recorded.path} was begun with {old!r}; go on with the same"
            )


def clear(prepared: PreparedRun, out: Path) -> None:
    """Remove what was recorded after the round that a run goes on from.

    One rank does it, when all are ready to start.
    """
    round_ = 0 if prepared.resumed is None else prepared.resumed.round
    Store(out / FOLDER).remove_after(round_)
    lines = (out / ROWS).read_bytes().splitlines(keepends=True)
    with replacing(out / ROWS) as file:
        file.writelines(lines[: len(prepared.rows)])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with (out / RESUMES).open("a", encoding="utf-8") as text:
        text.write(json.dumps({"round": round_, "time": now}) + "\n")


def find(out: str | os.PathLike[str]) -> Resumption:
    """Return how the run in the directory ``out`` goes on.

    Raises ``ConfigError`` for a directory that holds no run, or one that has ended.
    """
    recorded = read_run(out)
    if recorded.summary is not None:
        raise ConfigError(
            f"resume: the run in {out} has ended after {recorded.summary['rounds']} "
            "rounds, so there is nothing to go on with; start a new one with --out"
        )
    return _newest(recorded)


def begun(out: Path, run: config.RunConfig) -> Resumption:
    """Return how a run goes on that has begun in ``out``, and may have ended.

    Raises ``ConfigError`` if another run is recorded there.
    """
    recorded = read_run(out)
    digest = setup.config_digest(configuration(recorded, None, "resume").as_dict())
    if digest != setup.config_digest(run.as_dict()):
        raise ConfigError(
            f"resume: {out} holds a run with other options than {run.name} has now; "
            "give the comparison that was begun there"
        )
    if recorded.summary is not None:
        return Resumption(recorded, None)
    return _newest(recorded)


def _newest(recorded: RecordedRun) -> Resumption:
    checkpoint, troubles = Store(recorded.path / FOLDER).newest()
    setup.warn([f"{trouble}; an older checkpoint is used" for trouble in troubles])
    if checkpoint is None:
        return Resumption(recorded, None)
    rows = checkpoint.facts.get("rows")
    if not isinstance(rows, int) or not 0 <= rows <= len(recorded.rows):
        raise ConfigError(
            f"resume: {recorded.path / ROWS} has {len(recorded.rows)} rows, and "
            f"{rows!r} when {checkpoint.folder} was written; restore it, or start anew"
        )
    return Resumption(recorded, checkpoint)


def at(out: str | os.PathLike[str], round_: int) -> Resumption:
    """Return how the run in ``out`` goes on from the checkpoint of a round, or from 0.

    For ranks that follow another one's choice; they don't look at the rows.
    """
    recorded = RecordedRun(path=Path(out), manifest=read_manifest(Path(out)), rows=[])
    store = Store(recorded.path / FOLDER)
    return Resumption(recorded, store.at(round_) if round_ else None)


def exists(out: Path) -> bool:
    """Return whether a directory holds a run that has begun, ended or not."""
    with contextlib.suppress(OSError):
        return (out / MANIFEST).exists()
    return False
