"""Temporary folders that do not outlive whoever made them.

A folder is removed at the end of its ``with``. Where a launcher is killed before that,
the next one removes it: every folder holds a file that is locked while anybody uses the
folder, and the system gives up the locks of processes that have ended. The lock goes
along to mpiexec, so that a folder is in use until the ranks have ended too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psmpi.errors import ConfigError

_PREFIX = "psmpi-"
_LOCK = "in-use"
_SHARED = "shared-memory"  # file with the names of the ranks' files of shared memory
_LONGEST_SOCKET = 107  # bytes of a socket's path
#: Files of shared memory of a rank; MPICH leaves its own if it is killed.
SHARED_FILES = re.compile(r"/dev/shm/(?:mpich_shm_|sm_segment\.|vader_segment\.)\S+")


@dataclass(frozen=True)
class Scratch:
    """A temporary folder, and the descriptor of its lock."""

    path: Path
    lock: int

    def socket(self, name: str) -> str:
        """Return the path of a socket in the folder; refuse one that is too long."""
        path = str(self.path / name)
        if len(os.fsencode(path)) > _LONGEST_SOCKET:
            raise ConfigError(
                f"TMPDIR: a socket's path has at most {_LONGEST_SOCKET} bytes, and "
                f"{path} has {len(os.fsencode(path))}; set TMPDIR to a folder with a "
                "shorter name"
            )
        return path

    def note_shared(self, names: set[str]) -> None:
        """Note files of shared memory, to be removed if the launcher can't do it."""
        with contextlib.suppress(OSError), (self.path / _SHARED).open("a") as file:
            file.write("".join(f"{name}\n" for name in sorted(names)))


@contextlib.contextmanager
def folder(within: str | None = None) -> Iterator[Scratch]:
    """Give a temporary folder, and remove those of launchers that were killed.

    ``within``: the folder to make it in; None: /tmp if possible, since paths of sockets
    must be short, else ``TMPDIR``. Raises ``ConfigError`` if none can be written.
    """
    try:
        parent = Path(within or _short() or tempfile.gettempdir())
        sweep(parent)
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = _lock_new(path)
    except OSError as error:
        raise ConfigError(
            f"TMPDIR: no temporary folder can be made ({error.strerror or error}); set "
            "TMPDIR to a folder that you may write to, or free some space there"
        ) from None
    try:
        yield Scratch(path, lock)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the folders in ``parent`` whose launcher has ended without doing so.

    Only this user's, and only those whose lock nobody holds: a folder without a lock is
    not psmpi's, or of a launcher that is just making it.
    """
    try:
        names = [name for name in os.listdir(parent) if name.startswith(_PREFIX)]
    except OSError:
        return
    for name in names:
        path = parent / name
        with contextlib.suppress(OSError):
            if not _is_own_folder(path):
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if in use
                _remove_shared(path / _SHARED)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _lock_new(path: Path) -> int:
    """Lock a new folder; nobody sees its lock file before it is locked."""
    try:
        made = path / f"{_LOCK}.new"
        lock = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # A file system without locks: then nobody will take the folder for left.
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                made.rename(path / _LOCK)
        except BaseException:
            os.close(lock)
            raise
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return lock


def _remove_shared(notes: Path) -> None:
    """Remove the noted files of shared memory that are this user's."""
    with contextlib.suppress(OSError):
        for name in notes.read_text().splitlines():
            with contextlib.suppress(OSError):
                whole = SHARED_FILES.fullmatch(name) and ".." not in name
                if whole and os.lstat(name).st_uid == os.getuid():
                    os.unlink(name)


def _is_own_folder(path: Path) -> bool:
    status = os.lstat(path)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _short() -> str | None:
    return "/tmp" if os.access("/tmp", os.W_OK) else None
