"""Reports of runs: tables for the terminal, and one HTML file with the pictures.

May import ``runs`` (the recorded ones), ``base`` and ``errors``; nothing imports this
room but the command line.
"""

from psmpi.report.page import html
from psmpi.report.terminal import console, details, table

__all__ = ["console", "details", "html", "table"]
