"""The runs of an MPI job, as one word of the command line that starts its ranks.

A file would have to be on every host; a command line reaches all ranks by itself.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psmpi.base import ConfigError
from psmpi.runs.config import RunConfig, configure

_LONGEST = 100_000  # bytes of a word; Linux allows 128 KiB


@dataclass(frozen=True)
class JobRun:
    """One run of a job: what to configure it from, and the directory to record in."""

    algorithm: str
    name: str
    options: Mapping[str, Any]
    given: Sequence[str]
    out: str
    goes_on: bool = False  # the run in that directory

    def configure(self) -> RunConfig:
        """Return the configuration that the run was made from."""
        run = configure(self.algorithm, name=self.name, **self.options)
        return dataclasses.replace(run, given=tuple(self.given))


def encode(
    runs: Sequence[RunConfig], outs: Sequence[Path], goes_on: Sequence[bool]
) -> str:
    """Return the word for ``runs``, of which number i is recorded in ``outs[i]``.

    ``goes_on``: whether the run has begun there before.
    """
    entries = [
        JobRun(
            algorithm=run.algorithm,
            name=run.name,
            options={**run.algorithm_options, **dataclasses.asdict(run.run_options)},
            given=list(run.given),
            out=str(out.absolute()),
            goes_on=again,
        )
        for run, out, again in zip(runs, outs, goes_on, strict=True)
    ]
    text = json.dumps([dataclasses.asdict(entry) for entry in entries])
    word = base64.urlsafe_b64encode(zlib.compress(text.encode())).decode()
    if len(word) > _LONGEST:
        raise ConfigError(
            f"{len(runs)} runs are too many for one MPI job; do them in several parts"
        )
    return word


def decode(word: str) -> list[JobRun]:
    """Return the runs of the word."""
    text = zlib.decompress(base64.urlsafe_b64decode(word)).decode()
    return [JobRun(**entry) for entry in json.loads(text)]
