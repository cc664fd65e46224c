"""Inner optimizers against the board and PyTorch, and what a server makes of frames."""

import numpy as np
import pytest

from psmpi.codecs import TopK
from psmpi.parts.aggregation import Aggregate
from psmpi.parts.inner import AdamW, Sgd
from tests.reference import naive_algorithms as naive

ADAMW = {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-5, "weight_decay": 0.1}
SGD = {"momentum": 0.7, "weight_decay": 0.1}


def steps(step, x, dtype=np.float64):
    """Take 30 steps on a quadratic whose gradients have many sizes."""
    scales = np.logspace(-4, 3, x.size).astype(dtype)
    for t in range(30):
        gradient = scales * (x - 1) + np.cos(t)
        step(gradient.astype(dtype), x, 0.1 / (1 + t))
    return x


def own(inner):
    def step(gradient, x, eta):
        inner.step(x, gradient, eta)

    return step


@pytest.mark.parametrize(
    ("cls", "reference", "options"),
    [(AdamW, naive.AdamW, ADAMW), (Sgd, naive.Sgd, SGD)],
)
def test_inner_optimizers_are_as_on_the_board(cls, reference, options):
    x = np.random.default_rng(0).standard_normal(50)
    board = reference(lr=None, **options)

    def by_the_board(gradient, x, eta):
        board.lr = eta
        x[:] = board.step(x, gradient)

    expected = steps(by_the_board, x.copy())
    found = steps(own(cls(x, **options)), x.copy())
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cls", [AdamW, Sgd])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inner_optimizers_are_those_of_pytorch(cls, dtype):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal(50).astype(dtype)
    theirs = torch.from_numpy(x.copy())
    theirs.requires_grad_()
    if cls is AdamW:
        betas = (ADAMW["beta1"], ADAMW["beta2"])
        given = {"betas": betas, "eps": ADAMW["epsilon"], "weight_decay": 0.1}
        optimizer = torch.optim.AdamW([theirs], **given)
    else:
        optimizer = torch.optim.SGD([theirs], nesterov=True, **SGD)

    def by_pytorch(gradient, x, eta):
        theirs.grad = torch.from_numpy(gradient)
        optimizer.param_groups[0]["lr"] = eta
        optimizer.step()
        x[:] = theirs.detach().numpy()

    expected = steps(by_pytorch, x.copy(), dtype)
    found = steps(own(cls(x, **(ADAMW if cls is AdamW else SGD))), x.copy(), dtype)
    rtol = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


class Frames:
    """A link that has received these vectors, and lends each frame as links do."""

    def __init__(self, vectors, absent=()):
        self.up, self.absent = TopK(1.0 - 1e-9), absent
        self.frames = [self.up.encode(v) for v in vectors]

        self.workers = len(self.frames)

    def gather(self, workers=None):
        self.present = ()
        for m, frame in enumerate(self.frames):
            if m in self.absent:
                continue
            self.present += (m,)
            lent = frame.copy()
            yield lent
            lent[:] = 0xA5


VECTORS = np.array([[3, 0, 4, 0], [0, 0, 6, 8], [0, 0, 20, 0]], np.float32)


@pytest.mark.parametrize(
    ("senders", "clip", "expected"),
    [
        (False, False, [3, 0, 30, 8]),
        (True, False, [3, 0, 10, 8]),
        (False, True, [3, 0, 20, 8]),
        (True, True, [3, 0, 20 / 3, 8]),
    ],
)
def test_what_a_server_makes_of_frames(senders, clip, expected):
    out = np.full(4, 7, np.float32)
    aggregate = Aggregate(out, senders=senders, clip=clip)
    for _ in range(2):  # nothing of a round is left in the next
        aggregate.gather(Frames(VECTORS), out)
        np.testing.assert_allclose(out, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("senders", "clip", "mean", "expected"),
    [
        (False, False, False, [3, 0, 24, 0]),
        (
            False,
            False,
            True,
            [4.5, 0, 36, 0],
        ),  # times 3 / 2, as the caller divides by 3
        (False, True, True, [4.5, 0, 24.75, 0]),  # 20 is cut to the median 12.5
        (True, False, False, [3, 0, 12, 0]),
    ],
)
def test_only_frames_of_the_present_count(senders, clip, mean, expected):
    out = np.full(4, 7, np.float32)
    aggregate = Aggregate(out, senders=senders, clip=clip, mean=mean)
    assert aggregate.gather(Frames(VECTORS, absent={1}), out)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert not aggregate.gather(Frames(VECTORS, absent={0, 1, 2}), out)


def test_frames_of_nothing_are_not_scaled():
    out = np.empty(4, np.float32)
    zeros = np.zeros((3, 4), np.float32)
    Aggregate(out, senders=False, clip=True).gather(Frames(zeros), out)
    np.testing.assert_array_equal(out, 0)
