"""Models that have come to differ from the server's, and take it (--heal)."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import psmpi
from psmpi.base import ConfigError, LinkError
from psmpi.problems import Quadratic
from psmpi.runs import roles
from tests.helpers import flipping
from tests.helpers.algorithm_table import ROWS, go, same
from tests.helpers.flipping import Flipping

HEALING = {"heal": True, "check_every": 5}
#: Algorithms that keep the model's bits equal on all ranks, and options for it.
REPLICATED = [
    ("sgd", {"downlink": "update"}),
    ("sgd", {"downlink": "update", "momentum": 0.5, "weight_decay": 0.1}),
    ("dist-ef-sgd", {}),
    ("signum", {}),
    ("qsparse-local-sgd", {}),
    ("local-updates", {}),
    ("diloco", {"downlink": "update"}),
]
IDS = [f"{id} {' '.join(more)}" for id, more in REPLICATED]


def options_of(id, more):
    return next(row[1] for row in ROWS if row[0] == id) | more


@pytest.mark.parametrize(("id", "more"), REPLICATED, ids=IDS)
def test_the_run_goes_on_with_one_model(id, more, monkeypatch, capsys):
    works, prepare = [], roles.prepare_work
    monkeypatch.setattr(
        roles, "prepare_work", lambda *args: works.append(prepare(*args)) or works[-1]
    )

    class Spoilt(Quadratic):
        """A problem that flips a bit of all copies of worker 1's model, once."""

        calls = 0

        def grad(self, x, out, batch=None):
            loss = super().grad(x, out, batch)
            self.calls += 1
            if self.worker == 1 and self.calls == 9:
                for copies in works[1].prepared.algorithm.replicas(works[1].state):
                    for copy in copies:
                        copy.view(np.uint32)[3] ^= 1 << 18
            return loss

    given = options_of(id, more) | {"check_every": 1}
    result = go(id, problem=Spoilt(dim=30), heal=True, **given)
    healed = result.summary["healed"]
    assert result.summary["heals"] == len(healed) == 1
    assert healed[0]["worker"] == 1
    for work in works:
        for copies in work.prepared.algorithm.replicas(work.state):
            for copy in copies[1:]:
                np.testing.assert_array_equal(copy, copies[0])
        np.testing.assert_array_equal(work.state.x, result.x)
    round_ = healed[0]["round"]
    assert (
        f"round {round_}: the model of worker 1 was not the server's"
        in capsys.readouterr().err
    )
    works.clear()
    with pytest.raises(LinkError, match=f"round {round_}: the model of worker 1 is"):
        go(id, problem=Spoilt(dim=30), **given)


def test_a_bit_that_no_gradient_saw_leaves_no_trace():
    """It is flipped after a gradient, and put back before the next one."""
    how = {"downlink": "update", "check_every": 1, "heal": True}
    plain, healed = (go("sgd", problem=Flipping(at), **how) for at in (0, 9))
    assert same(plain, healed)
    assert healed.summary["healed"] == [{"round": 9, "worker": 1}]
    assert "healed" not in plain.summary


def test_without_a_difference_only_an_answer_is_sent():
    how = {"check_every": 6}
    plain, healing = (go("dist-ef-sgd", heal=h, **how) for h in (False, True))
    assert same(plain, healing)
    sent = [run.summary["wire_bytes_down"] for run in (plain, healing)]
    assert sent[1] - sent[0] == 3 * 11 * 16
    assert healing.summary["wire_bytes_up"] == plain.summary["wire_bytes_up"]


def test_all_workers_may_differ():
    result = go(
        "sgd", problem=Flipping(9, everybody=True), downlink="update", **HEALING
    )
    assert [event["worker"] for event in result.summary["healed"]] == [0, 1, 2]
    assert {event["round"] for event in result.summary["healed"]} == {10}


@pytest.mark.parametrize(
    ("id", "options", "message"),
    [
        ("laq", {}, "heal: with these options laq does not keep equal models"),
        ("dsgd", {"topology": "ring"}, "heal: with these options dsgd does not"),
        ("dist-ef-sgd", {"check_every": 0}, "heal: models are never compared with"),
    ],
)
def test_where_nothing_is_compared_it_is_refused(id, options, message):
    with pytest.raises(ConfigError, match=message):
        go(id, heal=True, **options)


@pytest.mark.mpi
@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, 3])
def test_over_mpi(workers, tmp_path, monkeypatch):
    shutil.copy(Path(flipping.__file__), tmp_path / "flipping.py")
    monkeypatch.chdir(tmp_path)
    how = {"problem": "flipping.py:Flipping", "problem_option": {"everybody": True}}
    how |= {"workers": workers, "rounds": 40, "check_every": 10, "heal": True}
    runs = [psmpi.run("dist-ef-sgdm", local=local, **how) for local in (True, False)]
    assert same(*runs)
    assert runs[0].summary["healed"] == runs[1].summary["healed"]
    assert runs[1].summary["heals"] == workers
