"""The checkpoints of one run: a part from every rank, made valid by a manifest.

::

    OUT/checkpoints/round-00000040/rank-0.npz      the part of the server
                                   rank-0.json     its size and SHA-256
                                   rank-1.npz      the part of worker 0, and so on
                                   manifest.json   written last: makes it a checkpoint

Every rank writes its own part, without waiting for the others; rank 0 waits until the
sizes and checksums of all parts are there, and writes the manifest. Each file is
complete and on the disk before it gets its name. So a folder with a manifest is a whole
checkpoint, whenever a process was killed, and a folder without one is none. A
checkpoint whose parts don't match their checksums is not used; the one before it is.

The folder of a run must be the same for all ranks: on several hosts, on a file system
that they share.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psmpi.base import ConfigError, PsmpiError
from psmpi.storage import tree
from psmpi.storage.atomic import replacing

FOLDER = "checkpoints"  # in the directory of a run
MANIFEST = "manifest.json"
FORMAT = 1
_ROUND = re.compile(r"round-(\d{8,})")
_POLL = 0.02  # seconds between two looks for parts


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its folder, the round that it goes on from, and facts."""

    folder: Path
    round: int
    ranks: int
    facts: Mapping[str, Any]
    parts: tuple[Mapping[str, Any], ...]  # of each rank: bytes and sha256

    def read_part(self, rank: int) -> tree.Tree:
        """Return the part of one rank; ``ConfigError`` if it is damaged."""
        self._check(rank)
        path = _part(self.folder, rank)
        with path.open("rb") as file:
            return tree.read(file, str(path))

    def damage(self) -> str:
        """Return which part is damaged, and how; empty if all are sound."""
        for rank in range(self.ranks):
            try:
                self._check(rank)
            except ConfigError as error:
                return str(error)
        return ""

    def _check(self, rank: int) -> None:
        path, said = _part(self.folder, rank), self.parts[rank]
        try:
            found = _fingerprint(path)
        except OSError as error:
            raise ConfigError(
                f"{path}: can't be read ({error.strerror}); a checkpoint has to be "
                "where every rank sees it"
            ) from None
        if found != said:
            raise ConfigError(
                f"{path}: damaged: {found['bytes']} bytes with another checksum than "
                f"the {said['bytes']} that its manifest lists"
            )


class Store:
    """The checkpoints in one folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_part(self, round_: int, rank: int, part: tree.Tree) -> None:
        """Write the part of one rank; raises ``OSError``."""
        folder = self._of(round_)
        folder.mkdir(parents=True, exist_ok=True)
        path = _part(folder, rank)
        with replacing(path) as file:
            tree.write(file, part)
        with replacing(_sidecar(folder, rank)) as file:
            file.write(json.dumps(_fingerprint(path)).encode())

    def commit(
        self,
        round_: int,
        ranks: int,
        facts: Mapping[str, Any],
        give_up: threading.Event,
    ) -> None:
        """Wait until all parts are there, and make them a checkpoint.

        Raises ``PsmpiError`` that names the parts which are not there when ``give_up``
        is set, and ``OSError``.
        """
        folder, last_look = self._of(round_), False
        while missing := [r for r in range(ranks) if not _sidecar(folder, r).exists()]:
            if last_look:
                names = ", ".join(map(str, missing))
                raise PsmpiError(
                    f"{folder}: the part of rank {names} has not come; is the folder "
                    "on a file system that all hosts share?"
                )
            last_look = give_up.wait(_POLL)
        parts = [json.loads(_sidecar(folder, r).read_bytes()) for r in range(ranks)]
        manifest = {
            "format": FORMAT,
            "round": round_,
            "ranks": ranks,
            "parts": parts,
            "facts": dict(facts),
        }
        with replacing(folder / MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode() + b"\n")

    def keep(self, count: int) -> None:
        """Remove all but the newest ``count`` checkpoints, and what is older."""
        whole = [number for number in self._rounds() if self._is_whole(number)]
        for number in self._rounds():
            if len(whole) >= count and number < whole[-count]:
                self._remove(number)

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest sound checkpoint, and why newer ones were not taken."""
        troubles: list[str] = []
        for number in reversed(self._rounds()):
            if not self._is_whole(number):
                continue
            try:
                found = read(self._of(number))
            except ConfigError as error:
                troubles.append(str(error))
                continue
            damage = found.damage()
            if not damage:
                return found, troubles
            troubles.append(damage)
        return None, troubles

    def at(self, round_: int) -> Checkpoint:
        """Return the checkpoint of a round; raises ``ConfigError`` if there is none."""
        return read(self._of(round_))

    def remove_after(self, round_: int) -> None:
        """Remove what is newer than a round: the run goes on from there."""
        for number in self._rounds():
            if number > round_:
                self._remove(number)

    def _rounds(self) -> list[int]:
        """Return the rounds of all folders, whole or not, ascending."""
        if not self.folder.is_dir():
            return []
        matches = (_ROUND.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def _of(self, round_: int) -> Path:
        return self.folder / f"round-{round_:08d}"

    def _is_whole(self, round_: int) -> bool:
        return (self._of(round_) / MANIFEST).exists()

    def _remove(self, round_: int) -> None:
        folder = self._of(round_)
        with contextlib.suppress(OSError):  # a part that is still being written
            # Without its manifest it is no checkpoint, whatever happens next.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)


def read(folder: Path) -> Checkpoint:
    """Return the checkpoint in a folder; raises ``ConfigError`` if it is none."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        parts = tuple(
            {"bytes": int(part["bytes"]), "sha256": str(part["sha256"])}
            for part in manifest["parts"]
        )
        found = Checkpoint(
            folder,
            int(manifest["round"]),
            int(manifest["ranks"]),
            dict(manifest["facts"]),
            parts,
        )
        format_ = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: can't be read ({type(error).__name__}: {error}); give a folder "
            "that --checkpoint-every wrote"
        ) from None
    if format_ != FORMAT or len(parts) != found.ranks:
        raise ConfigError(
            f"{path}: format {format_!r} with {len(parts)} parts of {found.ranks} "
            f"ranks; this psmpi reads format {FORMAT}"
        )
    return found


def _part(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank}.npz"


def _sidecar(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank}.json"


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.seek(0, 2), "sha256": digest}
