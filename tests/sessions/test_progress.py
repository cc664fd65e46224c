"""Progress of an optimizer of the caller's own, through ``Session.advance``."""

import numpy as np
import pytest

import psmpi
from psmpi.problems import Quadratic
from psmpi.runs import config
from psmpi.runs.evaluation import Diverged
from psmpi.runs.local import run_local

ROUNDS, H = 8, 5


def gain(x):
    """Take H steps of the caller's own optimizer: normalised gradient descent."""
    g = np.empty_like(x)
    for _ in range(H):
        Quadratic(dim=30).grad(x, g)
        x -= 0.05 * g / np.abs(g).max()


class OwnLoop(Quadratic):
    def advance(self, x, steps):
        gain(x)
        return 0.0


OPTIONS = {
    "local-updates": {"codec": "topk", "k": 5, "outer_lr": 0.5},
    "diloco": {},
    "sparseloco": {"k": 5, "downlink": "feedback"},
}


@pytest.mark.parametrize("id", OPTIONS)
@pytest.mark.parametrize("moved", ["in place", "given"])
def test_progress_has_the_bits_of_a_problem_that_advances(id, moved):
    options = OPTIONS[id] | {"local_steps": H}
    run = config.configure(id, workers=1, rounds=ROUNDS, **options)
    expected = run_local(run, problem=OwnLoop(dim=30)).x
    start = Quadratic(dim=30).start(0)
    with psmpi.session(id, start, bounds=Quadratic(dim=30).bounds, **options) as s:
        for _ in range(ROUNDS):
            x = s.x if moved == "in place" else s.x.copy()
            gain(x)
            s.advance(x, loss=1.0)
    assert s.x.tobytes() == expected.tobytes()
    assert np.abs(expected - Quadratic(dim=30).start(0)).max() > 0.1


def test_a_model_that_is_not_finite_is_named():
    with psmpi.session("sparseloco", np.ones(30)) as s:
        s.x[3] = np.nan
        with pytest.raises(Diverged, match="model's entry 3 is nan"):
            s.advance()


def test_a_round_of_gradient_steps_can_follow_one_of_progress():
    """And a closure is asked for the gradients of a round as well."""
    shard = Quadratic(dim=30)
    with psmpi.session("local-updates", shard.start(0), local_steps=2) as s:
        for _ in range(2):
            gain(s.x)
            s.advance()
            begun = s.round
            s.step(shard.grad)
            s.step(shard.grad)
            assert s.round == begun + 1
