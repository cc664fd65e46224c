"""Finds the files of a named data set: in ``$PSMPI_DATA``, else from their publisher.

pooch downloads, verifies checksums and caches; a failure is one ``ConfigError`` that
lists the files, where they were looked for, what was tried and what to do.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from psmpi.base import ConfigError
from psmpi.data import cache

_TIMEOUT = 10.0  # seconds to connect and between bytes


@dataclass(frozen=True)
class Remote:
    """A published file: where it is and its checksum (None: its publisher gives none).

    ``name`` is its standard file name, for the cases where the URL doesn't end in it.
    """

    url: str
    checksum: str | None = None
    name: str = ""

    @property
    def file(self) -> str:
        """The standard file name."""
        return self.name or self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Found:
    """The files of a data set, in the order asked for, and where they were found."""

    paths: list[Path]
    source: str
    downloaded: bool


def find(name: str, remotes: Sequence[Remote], folder: str = "") -> Found:
    """Return the files of data set ``name``, downloading what isn't there.

    ``$PSMPI_DATA/name/`` is searched for the standard names and the same without
    their compression suffix; with ``folder``, that folder stands for the one archive.
    Raises ``ConfigError`` when files are missing and can't be downloaded.
    """
    root = os.environ.get("PSMPI_DATA")
    missing = [remote.file for remote in remotes]
    looked = "nowhere, because PSMPI_DATA is not set"
    if root:
        place = Path(root).expanduser() / name
        looked = f"{place} (from PSMPI_DATA)"
        if folder and (place / folder).is_dir():
            return Found([place / folder], str(place / folder), False)
        local = [_present(place, remote.file) for remote in remotes]
        missing = [
            remote.file for remote, path in zip(remotes, local, strict=True) if not path
        ]
        if not missing:
            return Found([path for path in local if path], str(place), False)
    try:
        paths = [_fetch(name, remote) for remote in remotes]
    except (OSError, ValueError) as error:
        # OSError covers requests' errors; ValueError is pooch's checksum mismatch.
        url = next(r.url for r in remotes if not _cached(name, r).exists())
        raise ConfigError(
            f"{name}: missing {', '.join(missing)}; looked in {looked}; the download "
            f"of {url} failed ({_brief(error)}); put the files in "
            f"$PSMPI_DATA/{name}/ (also without .gz or .bz2), or use --data digits"
        ) from error
    return Found(paths, "downloaded from " + remotes[0].url, True)


def _present(place: Path, file: str) -> Path | None:
    for candidate in (file, file.removesuffix(".gz").removesuffix(".bz2")):
        if (place / candidate).is_file():
            return place / candidate
    return None


def _cached(name: str, remote: Remote) -> Path:
    return cache.folder() / name / remote.file


def _fetch(name: str, remote: Remote) -> Path:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    target = _cached(name, remote)
    return Path(
        pooch.retrieve(
            remote.url,
            remote.checksum,
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT),
        )
    )


def _brief(error: Exception) -> str:
    """The last cause in a few words: requests nests a page of reprs in one line."""
    text = str(getattr(error.args[0], "reason", error) if error.args else error)
    text = text.rpartition(">: ")[2].split("\n")[0].strip()
    return f"{type(error).__name__}: {text[:160]}"
