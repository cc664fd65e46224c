"""Finds the files of a named data set: in ``$PSMPI_DATA``, else downloads them.

The library pooch downloads the files, verifies their checksums and caches them. A
failure is one ``ConfigError`` that lists the files, where they were looked for, which
download was tried and what to do.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from psmpi.base import ConfigError
from psmpi.data import cache
from psmpi.data.announce import announce

_TIMEOUT = 10.0  # seconds, to connect and between two pieces of data


@dataclass(frozen=True)
class Remote:
    """A published file: its URL and its checksum (None if the publisher gives none).

    ``name`` is the standard file name where the URL doesn't end in it.
    """

    url: str
    checksum: str | None = None
    name: str = ""

    @property
    def file(self) -> str:
        """The standard file name."""
        return self.name or self.url.rpartition("/")[2]


@dataclass(frozen=True)
class DataFiles:
    """The files of a data set, in the requested order, and where they were found."""

    paths: list[Path]
    source: str
    downloaded: bool


def find(name: str, remotes: Sequence[Remote], folder: str = "") -> DataFiles:
    """Return the files of data set ``name``; download those that are missing.

    ``$PSMPI_DATA/name/`` is searched for the standard file names, with and without
    their compression suffix. ``folder`` names a folder there that replaces the archive.
    Raises ``ConfigError`` if files are missing and can't be downloaded.
    """
    root = os.environ.get("PSMPI_DATA")
    missing = [remote.file for remote in remotes]
    looked = "nowhere, because PSMPI_DATA is not set"
    if root:
        place = cache.expand(root) / name
        looked = f"{place} (from PSMPI_DATA)"
        if folder and (place / folder).is_dir():
            return DataFiles([place / folder], str(place / folder), False)
        local = [_present(place, remote.file) for remote in remotes]
        missing = [
            remote.file for remote, path in zip(remotes, local, strict=True) if not path
        ]
        if not missing:
            return DataFiles([path for path in local if path], str(place), False)
    try:
        paths = [_fetch(name, remote) for remote in remotes]
    except (OSError, ValueError) as error:
        # The library requests raises subclasses of OSError; pooch raises ValueError for
        # a wrong checksum.
        urls = [r.url for r in remotes if not _cached(name, r).exists()]
        url = urls[0] if urls else remotes[0].url
        raise ConfigError(
            f"{name}: missing {', '.join(missing)}; looked in {looked}; the download "
            f"of {url} failed ({_brief(error)}); put the files in "
            f"$PSMPI_DATA/{name}/ (also without .gz or .bz2), or use --data digits"
            + _about_cache(error)
        ) from error
    return DataFiles(paths, "downloaded from " + remotes[0].url, True)


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
    if not target.exists():
        announce(f"downloading {remote.url} to {target.parent}")
    return Path(
        pooch.retrieve(
            remote.url,
            remote.checksum,
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT),
        )
    )


def _about_cache(error: Exception) -> str:
    if isinstance(error, PermissionError | NotADirectoryError) or (
        isinstance(error, OSError) and error.errno == errno.EROFS
    ):
        return "; downloads need a cache folder to write to: set PSMPI_CACHE to one"
    return ""


def _brief(error: Exception) -> str:
    """Return the innermost cause: messages of requests nest it in a page of reprs."""
    text = str(getattr(error.args[0], "reason", error) if error.args else error)
    text = text.rpartition(">: ")[2].split("\n")[0].strip()
    return f"{type(error).__name__}: {text[:160]}"
