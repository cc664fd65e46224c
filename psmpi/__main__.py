"""``psmpi`` and ``python -m psmpi``: the command line, and its exit status."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line in ``sys.argv`` and exit.

    0: did what was asked. 2: usage or configuration. 3: a rank failed. 4: a target was
    not reached. 130: interrupted.
    """
    from psmpi.base import PsmpiError
    from psmpi.cli import app
    from psmpi.processes import mpiexec
    from psmpi.runs import mpi

    try:
        status = app.main(sys.argv[1:])
    except PsmpiError as error:
        if os.environ.get("PSMPI_TRACEBACK"):
            raise
        # Ranks of a job have told it themselves; of those that joined each speaks, as
        # their options may differ.
        rank = mpiexec.world_rank()
        if not isinstance(error, mpi.Refused):
            who = "psmpi" if not rank else f"psmpi rank {rank}"
            print(f"{who}: {error}", file=sys.stderr)  # noqa: T201
        status = error.exit_status
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
