"""Runs psmpi on a system with little room: small disks, read-only ones, few files."""

from __future__ import annotations

import functools
import os
import resource
import shutil
import subprocess
import sys

import pytest


@functools.cache
def can_mount() -> bool:
    """Return whether this user may mount file systems of its own."""
    if shutil.which("unshare") is None:
        return False
    line = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(line, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="may not mount anything")


def psmpi(folder, *words, mounts="", files=None, **variables):
    """Run ``psmpi`` in a folder after the shell commands ``mounts``.

    ``files`` limits the number of open files; a variable that is None is left out.
    """
    line = [sys.executable, "-m", "psmpi", *words]
    if mounts:
        shell = f'set -e; {mounts}; cd "$PWD"; exec "$@"'
        line = ["unshare", "-rm", "sh", "-c", shell, "sh", *line]
    given = {**os.environ, "PSMPI_OVERSUBSCRIBE": "1", **variables}

    def limit():
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, files)

    return subprocess.run(
        line,
        cwd=folder,
        env={name: value for name, value in given.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=limit,
    )
