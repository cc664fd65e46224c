"""Reports of recorded runs: tables for the terminal, an HTML page, CSV and pictures.

``console`` prints; ``table`` compares runs, ``overview`` lists the runs of a directory,
and ``details`` shows everything about one run; ``html``, ``csv`` and ``images`` write
files; ``prospect`` shows a run that has not been started. matplotlib is imported only
when a page or pictures are drawn.

May import ``runs`` (``record`` and ``recorded`` alone), ``base`` and ``errors``; only
the command line imports this room.
"""

from psmpi.report.export import csv, images
from psmpi.report.page import html
from psmpi.report.prospect import prospect, shortage
from psmpi.report.terminal import console, details, overview, table

__all__ = [
    "console",
    "csv",
    "details",
    "html",
    "images",
    "overview",
    "prospect",
    "shortage",
    "table",
]
