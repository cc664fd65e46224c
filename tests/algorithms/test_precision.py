"""AsyLPG's rule for the precision of models, message by message."""

from types import SimpleNamespace

import numpy as np
import pytest

from psmpi.algorithms import asylpg
from tests.helpers.asylpg_runs import go
from tests.reference import naive_algorithms as naive


@pytest.fixture
def sent(monkeypatch):
    """Every model's message with the server's vectors behind it."""
    found, model = [], asylpg.AsyLpg._model

    def noting(self, s, exact, by_width, key):
        frame = model(self, s, exact, by_width, key)
        found.append(
            SimpleNamespace(
                x=s.x.copy(),
                snapshot=s.snapshot.copy(),
                frame=frame.copy(),
                theta=2 / (s.epoch + 2) if self.id == "acc-asylpg" else 1.0,
                bits=int(frame[0]) + 1 if frame.size else 0,
            )
        )
        return frame

    monkeypatch.setattr(asylpg.AsyLpg, "_model", noting)
    return found


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("asylpg", {}),
        ("asylpg", {"mu": 0.01}),
        ("asylpg", {"max_bits": 6}),
        ("asylpg", {"recentre": True}),
        ("acc-asylpg", {"mu": 0.05}),
        ("sparse-asylpg", {"lr": 0.05}),
        ("low-precision-model", {"dtype": "float32"}),
    ],
)
def test_every_model_is_as_narrow_as_the_rule_lets_it(sent, algorithm, options):
    result = go(algorithm, epoch=10, rounds=80, turns=1, **options)
    mu, most = options.get("mu", 0.5), options.get("max_bits", 16)
    seen = set()
    for message in sent:
        x, xs = (v.astype(np.float64) for v in (message.x, message.snapshot))
        distance = np.sum((x - xs) ** 2)
        assert (distance == 0) == (message.frame.size == 0)
        if distance == 0:
            seen.add("none")
            continue
        budget = mu * message.theta * distance
        quantised = x - xs if options.get("recentre") else x
        if message.bits == 1:  # part 0: floats
            size = 8 if result.x.dtype == np.float64 else 4
            assert message.frame[1:].tobytes() == message.x.tobytes()
            assert message.frame.size == 1 + size * x.size
            assert naive.rounding_error(quantised, most) > budget
            seen.add("floats")
            continue
        bits = message.bits
        assert bits <= most
        assert message.frame.size == 1 + 4 + (bits * x.size + 7) // 8
        slack = 1 + 1e-5  # the grid's largest point is a float32
        assert naive.rounding_error(quantised, bits) <= slack * budget
        if bits > 2:
            assert slack * naive.rounding_error(quantised, bits - 1) > budget
        seen.add(bits)
    assert {"none"} < seen
    assert most == 16 or "floats" in seen
    widths = result.summary["model_bits"]
    floats = 8 * result.x.itemsize
    for name, n in widths.items():
        part = 1 if int(name) == floats else int(name)
        assert n == sum(message.bits == part for message in sent)


def test_rows_say_what_the_rule_allows(sent):
    result = go("acc-asylpg", epoch=10, mu=0.05, rounds=80)
    assert len({row["model_bits"] for row in result.rows}) > 3
    for row in result.rows:
        theta = 2 / (min(row["round"], 79) // 10 + 2)
        allowed = theta * 0.05 * row["model_distance"]
        assert row["model_error"] <= allowed
        assert (row["model_bits"] == 0) == (row["model_distance"] == 0)


def test_bits_down_fixes_the_width(sent):
    result = go("asylpg", epoch=10, bits_down=5)
    assert {m.bits for m in sent if m.frame.size} == {5}
    assert set(result.summary["model_bits"]) == {"0", "5"}
    coded = result.summary["model_bits"]["5"]
    assert coded < len(sent)
    # and snapshots, 64 bits an entry to each of three workers, after 3 epochs
    paper = coded * (32 + 5 * 18) + 3 * 3 * 64 * 18
    assert result.summary["paper_bits_down"] == paper


def test_recentred_models_need_few_and_always_as_many_bits(sent):
    how = {"epoch": 12, "rounds": 144, "lr": 0.3, "l2": 0.1, "batch": 15}
    widths = {}
    for recentre in (False, True):
        sent.clear()
        go("asylpg", recentre=recentre, **how)
        bits = [m.bits for m in sent if m.frame.size]
        assert 1 not in bits  # floats
        widths[recentre] = bits[: len(bits) // 4], bits[-len(bits) // 4 :]
    (first, last), (early, late) = widths[False], widths[True]
    assert np.mean(last) > np.mean(first) + 2
    assert abs(np.mean(late) - np.mean(early)) < 1
    assert max(early + late) - min(early + late) <= 3
    assert np.mean(late) < np.mean(last) - 4
