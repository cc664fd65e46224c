"""Curves show what was recorded, and notes say what a picture leaves out."""

from psmpi.report.curves import PIXELS_ACROSS, plots, thin
from tests.helpers.recorded_runs import record_run


def plot_of(runs, title):
    names = [str(i) for i in range(len(runs))]
    return next(plot for plot in plots(runs, names) if plot.title == title)


def test_curves_against_rounds_and_uploads_have_the_recorded_values(tmp_path):
    run = record_run(tmp_path / "a", rounds=3)
    rounds = plot_of([run], "Residual against rounds")
    assert rounds.curves == [[(row["round"], row["residual"]) for row in run.rows]]
    assert not rounds.across.log
    uploads = plot_of([run], "Residual against uploads")
    # The first row has no uploads, and no place on a logarithmic axis.
    assert [x for x, _ in uploads.curves[0]] == [4, 8, 12]
    assert uploads.across.log


def test_targets_are_drawn_where_their_metric_is(pair):
    assert plot_of(pair, "Residual against rounds").targets == [1e-4]
    assert plot_of(pair, "Test accuracy against uplink bits").targets == []


def test_a_curve_that_diverges_is_cut_off_and_named(tmp_path):
    run = record_run(tmp_path / "a", residual=False)
    wild = record_run(tmp_path / "b", residual=False)
    wild.rows[-1]["loss"] = 1e6
    plot = plot_of([run, wild], "Loss against rounds")
    assert plot.top < 10
    assert plot.notes == ["Cut off at the top: 1."]


def test_times_of_ranks_that_took_turns_are_noted(tmp_path):
    run = record_run(tmp_path / "a", rounds=3)
    local = record_run(tmp_path / "b", rounds=3, mpi=None)
    assert plot_of([run], "Residual against time").notes == []
    (note,) = plot_of([run, local], "Residual against time").notes
    assert note == "Not the time of a parallel run: the ranks of 1 took turns."
    assert plot_of([run, local], "Residual against rounds").notes == []


def test_thinning_keeps_the_extremes():
    curve = [(float(x), float(x % 7)) for x in range(50_000)]
    curve[31_111] = (31_111.0, 99.0)
    thinned = thin(curve, log=False)
    assert len(thinned) <= 4 * (PIXELS_ACROSS + 1)
    assert (31_111.0, 99.0) in thinned
    assert (thinned[0], thinned[-1]) == (curve[0], curve[-1])


def test_bytes_before_the_first_upload_are_left_out(tmp_path):
    run = record_run(tmp_path / "a", rounds=3)
    run.rows[0]["wire_bytes_down"] = 80  # control messages
    (curve,) = plot_of([run], "Residual against bytes both ways").curves
    assert [y for _, y in curve] == [row["residual"] for row in run.rows[1:]]
