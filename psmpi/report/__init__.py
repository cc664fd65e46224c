"""Reports of runs: tables for the terminal, and one HTML file with the pictures."""

from psmpi.report.page import html
from psmpi.report.terminal import console, details, table

__all__ = ["console", "details", "html", "table"]
