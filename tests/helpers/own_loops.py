"""A caller's own loop on a small problem, as psmpi.run does it: bit for bit."""

import psmpi
from psmpi import algorithms
from psmpi.problems import make_problem

DATA = "synthetic:softmax,samples=60,features=6"
PROBLEM = {"l2": 0.0}  # AsyLPG takes a ridge apart, which a caller's gradient has
ROUNDS = 6
DRIVEN = [id for id, cls in algorithms.ALGORITHMS.items() if cls.driven_by != "nothing"]


def problem():
    """The whole problem."""
    return make_problem(DATA, **PROBLEM)


def options(id):
    """Options of an algorithm that a small run can have."""
    names = {field.name for field in algorithms.options(algorithms.find(id))}
    given = {"batch": 4, "local_steps": 3, "epoch": 7, "lr": 0.05}
    return {name: value for name, value in given.items() if name in names}


def steps(id):
    """Gradient steps, or rounds of closures, in ``ROUNDS`` rounds."""
    return ROUNDS * options(id).get("local_steps", 1)


def drive(id, worker, workers, **more):
    """Do the loop of one worker, and return the session after its end."""
    whole = problem()
    part = whole.shard(worker, workers)
    with psmpi.session(
        id,
        whole.start(0),
        bounds=whole.bounds,
        samples=part.samples,
        evaluate_every=2,
        **{**options(id), **more},
    ) as session:
        closure = algorithms.find(id).driven_by == "closure"
        for _ in range(steps(id)):
            if closure:
                session.step(part.grad)
            else:
                loss = part.grad(session.x, session.gradient, session.batch)
                session.step(loss=loss)
    return session
