"""Saves one rank's role: copied at once, written while training goes on."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from psmpi.base import ConfigError, PsmpiError
from psmpi.runs import role_state, setup
from psmpi.runs.setup import PreparedRun
from psmpi.storage.checkpoints import FOLDER, Store
from psmpi.storage.tree import Tree

_PATIENCE = 10.0  # seconds that a new checkpoint waits for the one before


class Keeper:
    """Writes the parts of one rank into a run's directory.

    ``describe`` returns what the part has besides the role's state; ``facts`` is for
    rank 0, which makes the parts of all ranks a checkpoint: what its manifest says. A
    part that can't be written, on a full disk for example, costs a warning and this
    checkpoint: the run goes on, and the checkpoint before stays.
    """

    def __init__(
        self, out: Path, rank: int, ranks: int, keep: int, *, patient: bool = True
    ) -> None:
        self.describe: Callable[[], Mapping[str, Tree]] = dict
        self.facts: Callable[[], Mapping[str, Any]] = dict
        self.sync: Callable[[], None] = lambda: None  # makes the rows durable
        self.waits_for_extra = False  # from a caller's own loop, before it is written
        # Round, part and facts of what waits for that.
        self.held: tuple[int, Tree, Mapping[str, Any]] | None = None
        self._store = Store(out / FOLDER)
        self._rank, self._ranks, self._keep = rank, ranks, keep
        self._patience = _PATIENCE if patient else 0.0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="psmpi-checkpoint")
        self._writing: Future[None] | None = None
        self._give_up = threading.Event()

    def save(self, state: Any, number: int) -> None:
        """Save the role for the checkpoint of round ``number``."""
        part = {"state": role_state.collect(state), **self.describe()}
        self.held = number, part, dict(self.facts())
        if not self.waits_for_extra:
            self.release()

    def release(self, **more: Tree) -> None:
        """Write what was saved, and ``more`` besides; nothing if that is done."""
        if self.held is None:
            return
        number, part, facts = self.held
        self.held = None
        self.finish(self._patience)
        self._give_up = threading.Event()
        self._writing = self._pool.submit(
            self._write,
            number,
            {**part, **more},
            facts,
            self._give_up,
        )

    def finish(self, patience: float = _PATIENCE) -> None:
        """Wait until what was saved is on the disk; after ``patience``, give it up."""
        if self._writing is None:
            return
        with contextlib.suppress(TimeoutError):
            self._writing.result(patience)
        self._give_up.set()
        self._writing.result()
        self._writing = None

    def close(self) -> None:
        """Give up a checkpoint that is not whole yet, and end the writing thread."""
        self.finish(0.0)
        self._pool.shutdown()

    def _write(
        self,
        number: int,
        part: Tree,
        facts: Mapping[str, Any],
        give_up: threading.Event,
    ) -> None:
        try:
            self._store.write_part(number, self._rank, part)
            if self._rank == 0:
                self.sync()
                self._store.commit(number, self._ranks, facts, give_up)
                self._store.keep(self._keep)
        except (OSError, PsmpiError) as error:
            reason = getattr(error, "strerror", None) or error
            setup.warn(
                [
                    f"there is no checkpoint of round {number} ({reason}); the run "
                    "goes on, and the checkpoint before it stays"
                ]
            )


@contextlib.contextmanager
def keeper_of(
    prepared: PreparedRun, out: str | os.PathLike[str] | None, rank: int
) -> Iterator[Keeper | None]:
    """Give what saves a rank's role, if the run is to be saved."""
    options = prepared.run.run_options
    if not any(options.checkpoint_cadence):
        yield None
        return
    if out is None:
        raise ConfigError(
            f"checkpoint-every: {options.checkpoint_every}, but the run is recorded "
            "nowhere; give a directory with out"
        )
    ranks = prepared.plan.workers + 1
    keeper = Keeper(
        Path(out), rank, ranks, options.keep, patient=not prepared.wire.free
    )
    try:
        yield keeper
    finally:
        keeper.close()
