"""Texts of ``--help``: groups of options, examples, exit statuses, variables."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App, Group
from rich.console import Console
from rich.text import Text

#: Words that ask for help.
HELP = ("--help", "-h")

_GROUPS = {
    "Problem and data": (
        *(
            "data",
            "problem",
            "problem_option",
            "hidden",
            "activation",
            "loss",
            "l1",
            "l2",
            "init",
            "dtype",
        ),
        *("partition", "dirichlet_alpha", "optimum"),
    ),
    # An algorithm's options that stand nowhere else are of its method.
    "Method": (),
    "Compression": (
        *("codec", "bits", "k", "blocks", "scaled", "down_codec", "bits_down"),
        *("downlink", "mu", "max_bits", "recentre", "rescale"),
    ),
    "Schedule and stopping": (
        *("rounds", "until", "seed", "local_steps", "schedule", "epoch", "staleness"),
        *("deadline",),
    ),
    "Cluster and launching": (
        *("workers", "local", "hosts", "dry_run", "threads", "broadcast", "timeout"),
        *("restarts", "on_nan", "heal"),
    ),
    "Simulation": ("slow", "speeds", "link_rate", "link_latency", "link_sharing"),
    "Record": ("out", "evaluate_every", "check_every", "checkpoint_every", "keep"),
}


def groups() -> dict[str, Group]:
    """Return the groups of the help of a run, by title, in their order."""
    titles = enumerate(_GROUPS, 1)
    return {title: Group(title, sort_key=place) for place, title in titles}


def title_of(option: str) -> str:
    """Return the title of the group that an option belongs to."""
    for title, options in _GROUPS.items():
        if option in options:
            return title
    return "Method"


ROOT = """\
Examples:
  psmpi run laq --local --rounds 200      without MPI, in this process
  psmpi run laq --workers 4               5 ranks: a server and 4 workers
  psmpi launch --workers 4 train.py       a training loop of your own
  psmpi compare laq --out cmp             7 methods, a table, and cmp/report.html
  psmpi run laq --help                    all options of one algorithm

Exit statuses:
  0  the run did what was asked             3    a rank failed
  2  wrong usage or configuration           130  interrupted by Ctrl-C
  4  a target was not reached in the rounds given
  75 asked to end early by a signal, and saved: go on with psmpi run --resume

Environment variables:
  PSMPI_DATA           directory of data sets: $PSMPI_DATA/mnist/...
  PSMPI_CACHE          directory for downloads and parsed data
  PSMPI_TRACEBACK      set to 1: errors come with Python's traceback
  PSMPI_OVERSUBSCRIBE  set to 1: allow more than 8 ranks per core
"""

LAUNCH = """\
Examples:
  psmpi launch --workers 4 train.py --epochs 3
  psmpi launch --workers 8 --hosts node1:5,node2:4 --out run1 train.py

The same script on ranks of your own: mpiexec -n 5 python train.py
"""

RUN = """\
Options can stand in a TOML file, with their names and values as on the command line;
options given besides override it:

  psmpi run --config FILE.toml [OPTIONS]

  algorithm = "laq"
  bits = 4
  workers = 8
  data = "mnist"
  until = ["residual=1e-6"]

Examples:
  psmpi run laq --help                    all options of one algorithm
  psmpi run laq --local --rounds 200
  psmpi run --config laq.toml --seed 1
  psmpi run laq --rounds 100000 --checkpoint-every 60s --out long --restarts 3
  psmpi run --resume long                 go on after an interruption
"""

COMPARE = """\
A TOML file has general options, which go to every run that has such an option, and a
[[run]] table per algorithm. In a [[run]], options override the general ones, and name
tells two runs of one algorithm apart:

  data = "digits"
  workers = 4
  rounds = 500

  [[run]]
  algorithm = "gd"

  [[run]]
  algorithm = "laq"
  name = "laq with 4 bits"
  bits = 4

Examples:
  psmpi compare laq --out cmp
  psmpi compare mine.toml --local --out cmp
"""


def of_run(algorithm: str) -> str:
    """Return the end of the help of ``psmpi run ALGORITHM``."""
    return f"""\
Examples:
  psmpi run {algorithm} --local --rounds 200
  psmpi run {algorithm} --workers 8 --data mnist --out runs/mine
  psmpi run --config FILE.toml --seed 1   options from a file: psmpi run --help
"""


def show(app: App, tokens: Sequence[str], end: str) -> None:
    """Print the help of a command, then ``end``, in the width of the terminal."""
    console = Console()
    app.help_print(list(tokens), console=console)
    if end:
        console.print(Text(end.rstrip()))
