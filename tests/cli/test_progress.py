"""Progress of runs: plain lines in logs, bars that fit the width of a terminal."""

import io
import logging
import os
import pty
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from psmpi.cli import progress
from psmpi.cli.progress import BarDisplay, Progress
from psmpi.runs import config

END = "1.23 kbit up  accuracy 87.5 %"
RUN = config.configure("laq", rounds=1000)


def row(round_, **more):
    fields = {"loss": 0.5, "paper_bits_up": 1234, "residual": None, "accuracy": 0.875}
    return {"round": round_, **fields, **more}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that ``progress`` sees; a test moves them."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_log_gets_a_line_at_first_every_ten_seconds_and_at_the_end(clock, capsys):
    with Progress([RUN]) as shown:
        shown.begin(RUN, "starting 5 ranks")
        for round_ in range(0, 301, 10):
            clock.now = 100 + round_ / 15
            shown.row(RUN, row(round_))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "psmpi: laq: starting 5 ranks",
        f"psmpi: laq: round 0/1000  loss 0.5  {END}",
        f"psmpi: laq: round 150/1000  loss 0.5  0:57 left  {END}",
        f"psmpi: laq: round 300/1000  loss 0.5  0:47 left  {END}",
    ]


def test_a_log_has_the_last_row_although_it_came_early(clock, capsys):
    with Progress([RUN]) as shown:
        shown.row(RUN, row(0))
        shown.row(RUN, row(1000, residual=1e-7))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("psmpi: laq: round 1000/1000  loss 0.5  1.23 kbit up")
    assert last.endswith("residual 1.00e-07")


def test_what_the_package_logs_is_a_status_while_progress_is_shown(capsys):
    logger = logging.getLogger("psmpi")
    with Progress([RUN]) as shown:
        logger.info("computing the optimum of %s ...", "digits")
    logger.info("later")
    assert capsys.readouterr().err == (
        "psmpi: laq: computing the optimum of digits ...\n"
    )
    assert shown.rounds(RUN) is None


def test_progress_knows_how_far_a_run_came(capsys):
    with Progress([RUN]) as shown:
        shown.row(RUN, row(0))
        shown.row(RUN, row(120))
    assert shown.rounds(RUN) == 120


@pytest.mark.parametrize("width", [40, 60, 100, 200])
def test_bars_fit_the_terminal_and_keep_their_counts(width):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    display = BarDisplay({"laq": 1000, "laq with 4 bits"[:6]: 1000}, console)
    display.start()
    display.status("laq", "computing the optimum of synthetic:softmax,samples=20000")
    display.row("laq", 120, ["loss 0.5", "0:57 left", "1.23 kbit up", "accuracy 1 %"])
    display.stop()
    lines = file.getvalue().replace("\r", "\n").split("\n")
    assert any(("120/1000" in line and "loss" in line) or width == 40 for line in lines)
    assert all(len(strip(line)) <= width for line in lines)
    if width == 200:
        assert any("accuracy 1 %" in line for line in lines)


def strip(line):
    """Return a line without the escape codes of a terminal."""
    import re

    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bit"), (999, "999 bit"), (1000, "1 kbit"), (2.5e9, "2.5 Gbit")],
)
def test_bits_have_units(count, text):
    assert progress._bits(count) == text


RUNNING = [
    *(sys.executable, "-m", "psmpi", "run", "sgd", "--local", "--rounds", "30"),
    *("--data", "synthetic:softmax,samples=240,features=4", "--no-optimum"),
]


def test_a_terminal_gets_a_bar(tmp_path):
    """On a pseudo terminal, the bar of a real run moves in place."""
    main, end = pty.openpty()
    process = subprocess.Popen(
        RUNNING, stdout=subprocess.DEVNULL, stderr=end, cwd=tmp_path
    )
    os.close(end)
    received = []

    def read():
        try:
            while data := os.read(main, 4096):
                received.append(data)
        except OSError:
            pass  # the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(60) == 0
    reader.join(10)
    os.close(main)
    text = b"".join(received).decode()
    assert "30/30" in text
    assert "\x1b[" in text


def test_a_pipe_gets_no_escape_codes(tmp_path):
    done = subprocess.run(RUNNING, capture_output=True, text=True, cwd=tmp_path)
    assert "\x1b" not in done.stdout + done.stderr
    assert "psmpi: sgd: round 30/30" in done.stderr
