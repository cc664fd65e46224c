"""The curves of a report as files for other programs: CSV, and pictures as PNG or PDF.

matplotlib is imported only when pictures are written.
"""

from __future__ import annotations

import csv as tables
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psmpi.base import ConfigError
from psmpi.report.curves import plots
from psmpi.report.files import refuse_existing, write_new
from psmpi.report.metrics import names, totals
from psmpi.runs.recorded import RecordedRun
from psmpi.runs.schema import ROW_KEYS, ROW_NULLABLE

FORMATS = ("png", "pdf", "svg")
DOTS_PER_INCH = 200


def csv(
    runs: Sequence[RecordedRun], path: str | os.PathLike[str], *, force: bool = False
) -> Path:
    """Write one line for each recorded row of each run to ``path`` and return that.

    The first columns are the run's name in the report, its algorithm and its directory.
    Then come the keys of ``rows.jsonl``: first those of every run, then those that only
    some runs have. A value that is null or absent is an empty cell; lists and mappings
    are JSON. Raises ``ConfigError`` as ``html`` does.
    """
    target = Path(path)
    _require_runs(runs)
    own = (key for run in runs for row in run.rows for key in row)
    keys = list(dict.fromkeys([*ROW_KEYS, *ROW_NULLABLE, *own]))
    out = io.StringIO()
    writer = tables.writer(out, lineterminator="\n")
    writer.writerow(["run", "algorithm", "directory", *keys])
    for run, name in zip(runs, names(runs), strict=True):
        start = [name, totals(run)["algorithm"], run.path.name]
        for row in run.rows:
            writer.writerow([*start, *(_cell(row.get(key)) for key in keys)])
    write_new(target, out.getvalue(), force=force)
    return target


def images(
    runs: Sequence[RecordedRun],
    folder: str | os.PathLike[str],
    *,
    form: str = "png",
    force: bool = False,
) -> list[Path]:
    """Write each picture, with a legend, into ``folder``, and return the files.

    ``form`` is png, pdf or svg. The folder is created; the files are named like the
    pictures, ``residual-against-time.png``. Raises ``ConfigError`` for another
    ``form``, without runs, and for files that exist if not ``force``.
    """
    _require_runs(runs)
    if form not in FORMATS:
        raise ConfigError(f"report: pictures are {', '.join(FORMATS)}, got {form!r}")
    target = Path(folder)
    called = names(runs)
    pictures = {
        target / f"{re.sub(r'[^a-z0-9]+', '-', plot.title.lower())}.{form}": plot
        for plot in plots(runs, called)
    }
    for path in pictures:
        refuse_existing(path, force=force)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{target}: can't be created ({error.strerror})") from None
    for path, plot in pictures.items():
        write_new(path, _render(plot, called, form), force=force)
    return list(pictures)


def _render(plot: Any, called: Sequence[str], form: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from psmpi.report.drawing import add_legend, draw
    from psmpi.report.style import PAPER

    figure = draw(plot, PAPER)
    FigureCanvasAgg(figure)
    add_legend(figure, called, PAPER)
    out = io.BytesIO()
    figure.savefig(out, format=form, dpi=DOTS_PER_INCH, bbox_inches="tight")
    return out.getvalue()


def _require_runs(runs: Sequence[RecordedRun]) -> None:
    if not runs:
        raise ConfigError("report: needs at least one run, got none")


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
