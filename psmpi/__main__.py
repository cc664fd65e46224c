"""``psmpi`` and ``python -m psmpi``: the command line, and its exit status."""

from __future__ import annotations

import os
import sys

from psmpi.errors import EXIT_FAILED, EXIT_INTERRUPTED, PsmpiError


def main() -> None:
    """Run the command line in ``sys.argv`` and exit.

    0: did what was asked. 2: usage or configuration. 3: a rank failed. 4: a target was
    not reached. 130: interrupted.
    """
    from psmpi.cli import app

    traceback = bool(os.environ.get("PSMPI_TRACEBACK"))
    try:
        status = app.main(sys.argv[1:])
        sys.stdout.flush()
    except PsmpiError as error:
        if traceback:
            raise
        if not error.reported:
            _say(str(error))
        status = error.exit_status
    except BrokenPipeError:
        # The reader of a pipe has what it wanted (psmpi list | head): no failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except OSError as error:  # a full disk, a directory that can't be written
        if traceback:
            raise
        file = f"{error.filename}: " if error.filename else ""
        _say(f"{file}{error.strerror or error}")
        status = EXIT_FAILED
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    sys.exit(status)


def _say(text: str) -> None:
    """Print an error on stderr; ranks that joined a job say which of them speaks."""
    from psmpi.processes import mpiexec

    rank = mpiexec.world_rank()
    who = "psmpi" if not rank else f"psmpi rank {rank}"
    print(f"{who}: {text}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
