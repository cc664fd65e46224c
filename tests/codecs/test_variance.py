"""The variance of stochastic rounding: in closed form, by the formula, and drawn."""

import math
from fractions import Fraction

import numpy as np
import pytest

from psmpi.base import ConfigError
from psmpi.codecs import Stochastic
from psmpi.codecs.stochastic import SNAP, narrowest
from tests.helpers import codec_table

dtypes = pytest.mark.parametrize("dtype", codec_table.DTYPES)
vectors = pytest.mark.parametrize("vector", codec_table.VECTORS)
norms = pytest.mark.parametrize("norm", ["l2", "max"])
draw = codec_table.draw


def grid(codec, x):
    """Return the step of the codec's grid, and all |x_i| in such steps, exactly."""
    frame = codec.encode(x)
    unit = Fraction(float(frame[:4].view("<f4")[0])) / (2**codec.bits - 1)
    return unit, [abs(Fraction(v)) / unit for v in x.tolist()] if unit else []


def expected(codec, x):
    """Return the mean squared error with the probabilities after snapping."""
    unit, levels = grid(codec, x)
    snap, terms = Fraction(SNAP[x.itemsize]), []
    for level in levels:
        over = level - math.floor(level)
        chance = (over - snap * level) / (1 - 2 * snap * level)
        chance = min(max(chance, 0), 1)
        error = (1 - chance) * over**2 + chance * (1 - over) ** 2
        terms.append(float(error * unit**2))
    return math.fsum(terms)  # each is rounded once: within 2^-53 of the exact sum


def formula(codec, x):
    unit, levels = grid(codec, x)
    overs = [level - math.floor(level) for level in levels]
    return float(sum(over * (1 - over) for over in overs) * unit**2)


@vectors
@dtypes
@norms
@pytest.mark.parametrize("bits", [1, 2, 5, 8, 13, 16])
def test_variance_is_the_sum_over_the_grid(bits, norm, vector, dtype):
    codec = Stochastic(bits, norm)
    for n in (0, 1, 17, 64, 300):
        x = draw(vector, n, dtype, seed=n)
        variance = codec.variance(x)
        unit, levels = grid(codec, x)
        # Steps are float64, and an entry near a grid point is within its rounding.
        slack = float(unit**2) * sum(map(float, levels)) * 2.0**-48
        assert variance == pytest.approx(expected(codec, x), rel=1e-12, abs=slack)
        spent = float(unit**2) * sum(map(float, levels)) * SNAP[x.itemsize]
        exact = formula(codec, x)
        assert exact - 1.05 * spent - slack <= variance <= exact * (1 + 1e-12) + slack


@pytest.mark.parametrize("n", [2047, 2048, 2049, 10_000])
@dtypes
def test_variance_of_long_vectors(n, dtype):
    x = draw("wide", n, dtype)
    for bits in (1, 7):
        codec = Stochastic(bits, "max")
        assert codec.variance(x) == pytest.approx(expected(codec, x), rel=1e-9)


@dtypes
@norms
@pytest.mark.parametrize("bits", [1, 3, 6, 16])
@pytest.mark.parametrize("vector", ["normal", "constant", "sparse", "one-hot"])
def test_the_mean_of_drawn_errors_is_the_variance(vector, bits, norm, dtype):
    codec, keys = Stochastic(bits, norm), 2000
    x = draw(vector, 200, dtype)
    errors = [
        np.sum((codec.decode(codec.encode(x, key=k), 200, dtype=np.float64) - x) ** 2)
        for k in range(keys)
    ]
    # With a norm rounded up to float32, an entry at the norm is rounded down with
    # probability 2^-24: never drawn here.
    floor = 200 * float(grid(codec, x)[0]) ** 2 * 2.0**-23
    slack = 5 * np.std(errors) / keys**0.5 + floor
    assert np.mean(errors) == pytest.approx(codec.variance(x), abs=slack)


@dtypes
def test_grid_points_have_no_variance(dtype):
    codec = Stochastic(4, "max")
    x = codec.decode(codec.encode(draw("normal", 500)), 500, dtype=dtype)
    assert codec.variance(x) <= np.sum(x**2) * (2.0**-24) ** 2
    assert Stochastic(4).variance(np.zeros(9, dtype)) == 0


@norms
def test_variance_stops_above_the_limit(norm):
    x = draw("normal", 20_000)
    codec = Stochastic(3, norm)
    whole = codec.variance(x)
    assert codec.variance(x, limit=whole) == whole
    below = np.nextafter(whole, 0)
    assert codec.variance(x, limit=below) == whole  # the last entries exceed it
    assert 0.1 * whole < codec.variance(x, 0.1 * whole) < 0.3 * whole


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_without_a_finite_norm_are_refused(value):
    x = np.array([1, value, 2], np.float32)
    for action in (Stochastic().variance, lambda x: narrowest(x, 1.0)):
        with pytest.raises(ConfigError, match=r"stochastic: x\[1\] is"):
            action(x)
        with pytest.raises(ConfigError, match="norm does not fit into a float32"):
            action(np.full(3, 1e300))


@vectors
@dtypes
def test_narrowest_is_the_first_width_in_budget(vector, dtype):
    for n in (1, 60, 5000):
        x = draw(vector, n, dtype, seed=n)
        variances = {b: Stochastic.symmetric(b).variance(x) for b in range(2, 18)}
        square = float(np.sum(x.astype(float) ** 2))
        budgets = [0.0, math.inf, *(10.0**-k * square for k in range(11))]
        budgets += [v * f for v in variances.values() for f in (1, 0.999)]
        for budget in budgets:
            fits = [b for b, variance in variances.items() if variance <= budget]
            assert narrowest(x, budget, high=17) == (fits[0] if fits else None)
            fits = [b for b in fits if 3 <= b <= 9]
            assert narrowest(x, budget, 3, 9) == (fits[0] if fits else None)


def test_a_larger_budget_gives_a_smaller_width():
    x = draw("normal", 3000)
    square = float(np.sum(x**2))
    widths = [narrowest(x, square * 2.0**-k) for k in range(26)]
    assert widths == sorted(widths)
    assert (widths[0], widths[-1]) == (3, 15)
    assert narrowest(x, 0.0) is None


def test_the_zero_vector_takes_the_smallest_width():
    assert narrowest(np.zeros(9), 0.0) == 2
    assert narrowest(np.zeros(9), 0.0, low=5) == 5
    assert narrowest(np.empty(0), 0.0) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0,), "budget must be 0 or more, got -1"),
        ((math.nan,), "budget must be 0 or more, got nan"),
        ((1.0, 1), r"low must be 2..17, got 1"),
        ((1.0, 5, 4), r"high must be 5..17, got 4"),
        ((1.0, 5, 18), r"high must be 5..17, got 18"),
    ],
)
def test_invalid_arguments_of_narrowest_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=f"narrowest: {message}"):
        narrowest(np.ones(3), *arguments)
