"""Writes reports to files: what is refused, and what is left behind after an error."""

from __future__ import annotations

from pathlib import Path

from psmpi.base import ConfigError


def write_new(target: Path, content: str | bytes, *, force: bool) -> None:
    """Write a whole file or none.

    Raises ``ConfigError`` if it exists and not ``force``, or if it can't be written.
    """
    refuse_existing(target, force=force)
    data = content.encode() if isinstance(content, str) else content
    part = target.with_name(target.name + ".tmp")
    try:
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        raise ConfigError(f"{target}: can't be written ({error.strerror})") from None


def refuse_existing(target: Path, *, force: bool) -> None:
    """Raise ``ConfigError`` if ``target`` exists and not ``force``."""
    if target.exists() and not force:
        raise ConfigError(
            f"{target}: already exists, and nothing is overwritten; "
            "give another name, or --force"
        )
