"""``python -m psmpi.sessions.program OUT HOW SCRIPT ARGS``: a rank of ``psmpi launch``.

Rank 0 is the server and records in OUT, where the run begins or goes on (HOW is ``new``
or ``resume``); the other ranks run the script. If it calls
``psmpi.run``, for which the server needs the script's problem too, rank 0 runs it then.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from psmpi.links.mpi_job import MpiJob


def main(argv: Sequence[str]) -> None:
    """Serve, or run the script as if it had been started by itself."""
    out, how, script, *arguments = argv
    job = MpiJob.current()

    def run_script() -> None:
        sys.argv = [script, *arguments]
        sys.path[0] = str(Path(script).resolve().parent)
        runpy.run_path(script, run_name="__main__")

    if job.rank:
        run_script()
        return
    from psmpi.sessions import server

    raise SystemExit(server.follow(Path(out), run_script, how == "resume"))


if __name__ == "__main__":
    main(sys.argv[1:])
