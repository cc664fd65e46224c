"""Ten steps at once, and five that five others go on from: resumed_loop.py."""

import numpy as np

import psmpi


def gradient(x, worker, step):
    a = np.random.default_rng((worker, step)).normal(size=(4, x.size))
    return a.T @ (a @ x - worker)


def loop(first, last, state=None):
    options = {"bounds": (0, 3, 8), "lr": 0.02, "state": state}
    with psmpi.session("dist-ef-sgdm", np.zeros(8), **options) as s:
        for step in range(first, last):
            s.step(gradient(s.x, s.worker, step))
        saved = s.state_dict()
    return s.x.copy(), saved


whole, _ = loop(0, 10)
_, saved = loop(0, 5)
resumed, again = loop(5, 10, saved)
residual = saved.get("server.down.memory.e")
print("same", np.array_equal(whole, resumed), whole.any(), flush=True)
print("server's residual", residual is not None and bool(residual.any()), flush=True)
