"""The example of a plugin: installed, found by every command, and right."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import psmpi
from psmpi import algorithms, codecs, problems
from psmpi.base import ConfigError, FrameError

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"
EF21 = {"data": "ridge", "codec": "topk", "k": 3, "lr": 0.3, "rounds": 60, "workers": 3}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The plugin, installed into a folder of its own that psmpi's ranks see as well."""
    folder, copy = (tmp_path_factory.mktemp(name) for name in ("site", "copy"))
    shutil.copytree(PLUGIN, copy, dirs_exist_ok=True)  # pip builds where the source is
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    line += ["--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*line, "--target", folder, copy], check=True)
    return folder


@pytest.fixture(autouse=True)
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    path = os.pathsep.join([str(site), *sys.path])
    monkeypatch.setenv("PYTHONPATH", path)


def natural():
    return codecs.make("natural")


def test_all_three_are_found_by_their_names():
    assert natural().wire_id == 128
    assert algorithms.find("ef21").id == "ef21"
    assert "ridge" in problems.registered()
    line = [sys.executable, "-m", "psmpi", "list"]
    output = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    assert all(name in output for name in ("natural", "ef21", "ridge"))


def test_natural_has_exact_bytes():
    x = np.array([1, -2, 0, 0.5, -(2.0**127), 2.0**-126, -0.0], np.float32)
    # Powers of two are kept: exponent + 127, and 256 for a negative number.
    codes = [127, 256 + 128, 0, 126, 256 + 254, 1, 0]
    stream = sum(code << (9 * i) for i, code in enumerate(codes))
    for key in range(5):
        frame = natural().encode(x, key=key)
        assert frame.tobytes() == stream.to_bytes(8, "little")
        np.testing.assert_array_equal(natural().decode(frame, 7), x)
    assert natural().paper_bits(frame, 7) == 63


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_natural_is_unbiased_and_within_omega(dtype):
    x = np.random.default_rng(0).standard_normal(200).astype(dtype)
    keys = 2000
    codec = natural()
    frames = [codec.encode(x, key=key) for key in range(keys)]
    decoded = np.array([codec.decode(f, 200, dtype=np.float64) for f in frames])
    deviation = decoded.std(axis=0) / keys**0.5
    assert (abs(decoded.mean(axis=0) - x) <= 5 * deviation + 1e-12).all()
    error = ((decoded - x) ** 2).mean(axis=0) / x.astype(float) ** 2
    assert error.max() <= 1 / 8 * 1.15  # a mean over 2000 keys
    whole = ((decoded - x) ** 2).sum(axis=1).mean() / (x.astype(float) ** 2).sum()
    assert 0.05 < whole <= codec.error(200)


def test_natural_attains_omega():
    x = np.full(20000, 4 / 3, np.float32)
    decoded = natural().decode(natural().encode(x, key=7), x.size)
    assert set(decoded) == {1, 2}
    assert ((decoded - x) ** 2).mean() / (16 / 9) == pytest.approx(1 / 8, rel=0.03)


def test_natural_refuses_what_it_cannot_carry():
    with pytest.raises(ConfigError, match=r"x\[1\] is"):
        natural().encode(np.array([1, np.nan], np.float32))
    with pytest.raises(ConfigError, match="at most 2\\^127"):
        natural().encode(np.array([3e38], np.float32))
    frame = natural().encode(np.ones(3, np.float32))
    out = np.zeros(3, np.float32)
    for damaged in (frame[:-1], frame | 128, np.full(4, 255, np.uint8)):
        with pytest.raises(FrameError, match="natural"):
            natural().decode_add(damaged, out)
    assert not out.any()


def test_ridge_is_the_mean_of_its_shards_and_has_the_gradient_of_its_loss():
    whole = problems.make_problem("ridge", dtype=np.float64)
    x = np.random.default_rng(1).standard_normal(whole.dim)
    gradient, mean = np.empty_like(x), np.zeros_like(x)
    loss = whole.grad(x, gradient)
    for m in range(7):
        part = np.empty_like(x)
        loss -= whole.shard(m, 7).grad(x, part) / 7
        mean += part / 7
    assert abs(loss) < 1e-12
    np.testing.assert_allclose(mean, gradient, rtol=1e-10)
    step = 1e-6 * np.eye(whole.dim)
    slopes = [(whole.loss(x + h) - whole.loss(x - h)) / 2e-6 for h in step]
    np.testing.assert_allclose(slopes, gradient, rtol=1e-5)


def test_ef21_converges_with_few_entries():
    begun = psmpi.run("ef21", local=True, **{**EF21, "rounds": 20})
    assert begun.summary["paper_bits_up"] == 20 * 3 * 3 * (32 + 4)
    ended = psmpi.run("ef21", local=True, **{**EF21, "rounds": 400})
    assert ended.summary["residual"] < 1e-6


def test_ef21_with_floats_is_gradient_descent():
    options = {"data": "ridge", "lr": 0.3, "rounds": 60, "workers": 3}
    options |= {"dtype": "float64", "reduce": "mean", "local": True}
    ef21 = psmpi.run("ef21", codec="dense", **options)
    gd = psmpi.run("gd", **options)
    np.testing.assert_allclose(ef21.x, gd.x, rtol=1e-12)
    assert ef21.summary["paper_bits_up"] == gd.summary["paper_bits_up"]


def test_ef21_refuses_codecs_that_lose_more_than_they_are_given():
    with pytest.raises(ConfigError, match="ef21"):
        psmpi.run("ef21", codec="stochastic", bits=1, data="digits", local=True)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("ef21", EF21), ("qsgd", {"codec": "natural", "rounds": 20, "workers": 3})],
)
def test_runs_over_mpi_have_the_bits_of_runs_in_process(algorithm, options, tmp_path):
    here = psmpi.run(algorithm, local=True, **options)
    there = psmpi.run(algorithm, out=tmp_path / "run", **options)
    assert here.x.tobytes() == there.x.tobytes()
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["config"]["algorithm"] == algorithm
    assert psmpi.replay(tmp_path / "run").x.tobytes() == here.x.tobytes()
