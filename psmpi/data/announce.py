"""Announcements of slow steps, through the standard ``logging`` module.

A library must not print. The command line attaches a handler to the logger ``psmpi`` on
the rank that speaks to the user; without a handler nothing is shown.
"""

from __future__ import annotations

import logging

LOGGER = "psmpi"


def announce(step: str) -> None:
    """Log ``step``, which starts now and takes seconds, at level INFO."""
    logging.getLogger(LOGGER).info("%s ...", step)
