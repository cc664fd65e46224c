"""The vocabulary: what a codec, a problem, a link and an algorithm promise each other.

No behaviour lives here, and this module imports nothing of psmpi, so every other
module may import it. A *vector* is the whole model: one-dimensional, C-contiguous,
float32 or float64. A *frame* is one message of a paper as bytes, and nothing else:
what a link needs besides (round, kind, length, checksum) is the link's own envelope.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating[Any]]
Frame = NDArray[np.uint8]
Indices = NDArray[np.int64]


class PsmpiError(Exception):
    """A failure that psmpi explains in one line; ``exit_status`` is the command's."""

    exit_status: ClassVar[int] = 3


class ConfigError(PsmpiError, ValueError):
    """What the user asked for can't be done as asked: names, values, files."""

    exit_status: ClassVar[int] = 2


class FrameError(PsmpiError, ValueError):
    """The bytes of a frame are not what its codec writes (damaged, cut, or hostile)."""


class LinkError(PsmpiError):
    """A message is out of step, stale or damaged, or a peer is gone."""


class Stopped(Exception):
    """The server has ended the run. Control flow, raised in a worker's ``pull``."""


class Codec(abc.ABC):
    """Turns a vector into one frame, and adds a frame back onto a vector.

    A codec is a frozen dataclass: its fields are its configuration, equality and repr
    are theirs. It holds no data and no generator: ``encode`` is a pure function of
    ``(x, key)``. Parameters are agreed once at the start of a run and are not in the
    frame; what varies from message to message (a norm, a count) is.

    ``id`` is its name in ``CODECS``; ``wire_id`` its number in a link's envelope, never
    reused for another byte layout; ``unbiased`` says whether E[C(x)] = x over keys.
    """

    id: ClassVar[str]
    wire_id: ClassVar[int]

    @property
    @abc.abstractmethod
    def unbiased(self) -> bool:
        """Whether the mean of C(x) over keys is x."""

    @property
    def few(self) -> bool:
        """Whether most entries of C(x) are 0, so that sums are sent by the others."""
        return False

    @abc.abstractmethod
    def max_nbytes(self, dim: int) -> int:
        """Bytes that no frame of a ``dim``-vector exceeds."""

    @abc.abstractmethod
    def paper_bits(self, frame: Frame, dim: int) -> int:
        """Bits of this message by the paper's formula; ``8 * frame.size`` are sent."""

    @abc.abstractmethod
    def error(self, dim: int) -> float:
        """Theory that tests hold the codec to: bound on E||C(x) - x||^2 / ||x||^2.

        That is omega for an unbiased codec and 1 - delta for a biased one.
        """

    @abc.abstractmethod
    def encode(self, x: Vector, out: Frame | None = None, key: int = 0) -> Frame:
        """Return the frame of ``x``: a view of ``out``'s start, or of a new buffer.

        ``key`` is the uint64 that replaces a random generator; deterministic codecs
        ignore it. Raises ``ConfigError`` for a vector that no frame can carry (NaN or
        infinite entries, wrong dtype) before anything is written.
        """

    @abc.abstractmethod
    def decode_add(self, frame: Frame, out: Vector, scale: float = 1.0) -> None:
        """``out += scale * C(x)``, in O(k) for sparse frames.

        Trusts nothing: a frame that this codec can't have written for ``out.size``
        raises ``FrameError`` and leaves ``out`` untouched.
        """

    def encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Return the frame of the vector with ``values`` at ``support``, 0 elsewhere.

        Byte for byte that of ``encode``; some codecs do it in O(len(support)).
        ``support`` ascends strictly, below ``dim``.
        """
        x = np.zeros(dim, values.dtype)
        x[support] = values
        return self.encode(x, out, key)

    def encode_feedback(
        self,
        e: Vector,
        x: Vector | None = None,
        ratio: float = 1.0,
        out: Frame | None = None,
        key: int = 0,
    ) -> Frame:
        """Error feedback: return the frame of p = ratio e + x, leave p - C(p) in ``e``.

        Without ``x``, p = ratio e. Both vectors have one dtype. A codec may do this in
        fewer passes than by its parts, or choose by ``x``, what is new, as well.
        """
        if ratio != 1.0:
            e *= ratio
        if x is not None:
            e += x
        frame = self.encode(e, out, key)
        self.decode_add(frame, e, -1.0)
        return frame

    def decode(
        self, frame: Frame, dim: int, out: Vector | None = None, dtype: Any = np.float32
    ) -> Vector:
        """Return C(x) as a vector of length ``dim``: ``out``, or a new one."""
        if out is None:
            out = np.zeros(dim, dtype)
        else:
            out[:] = 0
        self.decode_add(frame, out)
        return out


class Problem(abc.ABC):
    """One worker's share f_m of the objective f(x) = (1/M) sum_m f_m(x).

    The unsharded problem (M = 1) is f itself. ``shard`` scales f_m so that this mean is
    the same f for every M and every way to split the data, also into unequal parts.
    Algorithms that step along the *sum* over workers, as LAQ does, say so themselves.

    With ``l1`` above 0, f and every f_m include l1 ||x||_1: it is in all losses, but in
    no gradient, as it has none. That is what an algorithm's proximal step is for.
    """

    dim: int
    bounds: tuple[int, ...]  # tensor i is x[bounds[i]:bounds[i + 1]]
    samples: int  # samples of this shard; 0 where the problem has none
    l1: float = 0.0
    l2: float = 0.0  # of the ridge (l2 / 2) ||x||^2, where the problem has one
    _second: Vector | None = None  # scratch of ``difference``

    @abc.abstractmethod
    def start(self, seed: int) -> Vector:
        """Return the initial point of this seed, shape (dim,); equal on all ranks."""

    @abc.abstractmethod
    def loss(self, x: Vector) -> float:
        """Return f_m(x) over all samples of the shard."""

    @abc.abstractmethod
    def grad(self, x: Vector, out: Vector, batch: Indices | None = None) -> float:
        """Write the gradient at ``x`` into ``out`` and return the loss it belongs to.

        ``batch`` holds indices into the shard's samples; None takes them all.
        """

    @abc.abstractmethod
    def shard(self, worker: int, workers: int) -> Problem:
        """Return f_m of worker ``worker`` (0-based) of ``workers``."""

    @abc.abstractmethod
    def digest(self) -> str:
        """Return a hex digest of data and parameters: equal where the problem is."""

    def difference(
        self, x: Vector, reference: Vector, out: Vector, batch: Indices | None = None
    ) -> Indices | None:
        """Write grad f_B(x) - grad f_B(reference) into ``out``, as SVRG steps by.

        All three have shape (dim,) and one dtype, and share no memory. Returns the
        ascending indices outside of which ``out`` is now exactly 0, or None where it
        may be anything anywhere. A problem may remember the array that it last filled
        here, to clear no more than it wrote: given the same object again, it must hold
        what was left there, or zeros. Any other array may hold anything.
        """
        second = self._second
        if second is None or (second.shape, second.dtype) != (out.shape, out.dtype):
            second = self._second = np.empty_like(out)
        self.grad(x, out, batch)
        self.grad(reference, second, batch)
        out -= second
        return None

    def batch(self, key: int, size: int) -> Indices:
        """Return ``size`` distinct sample indices; a pure function of ``key``."""
        generator = np.random.Generator(np.random.Philox(key=key))
        return generator.choice(self.samples, size, replace=False)

    def accuracy(self, x: Vector) -> float | None:
        """Return the share of test samples that ``x`` predicts right; None without."""
        return None

    def optimum(self) -> float | None:
        """Return min f to the precision its docstring states; None where unknown."""
        return None

    def own_part(self) -> Indices | None:
        """Return what of the samples is this worker's turn in a full gradient.

        None: all of the shard. Otherwise every worker holds all N samples and these are
        the indices of its part; each sample is in one worker's. The full gradient is
        (1/M) sum_m (|part_m| M / N) grad(batch=part_m), each sample computed once.
        """
        return None

    def without_ridge(self) -> Problem:
        """Return this without its ridge: l2 = 0, in losses and gradients; l1 stays.

        It may share data and buffers with this problem: use both from one thread.
        """
        if self.l2 == 0:
            return self
        raise ConfigError(
            f"{type(self).__name__}: its ridge (l2={self.l2}) can't be taken apart, "
            "which this algorithm needs; set l2 to 0"
        )

    def smoothness(self) -> float:
        """Return an upper bound on the Lipschitz constant of f_m's gradient."""
        raise ConfigError(
            f"{type(self).__name__}: its smoothness is not known, which this algorithm "
            "needs; take another one, like lag-wk"
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What both roles know of a run besides the algorithm's own hyper-parameters."""

    workers: int
    rounds: int
    dim: int
    bounds: tuple[int, ...]
    dtype: type[np.floating[Any]] = np.float32
    seed: int = 0
    check_every: int = 0  # rounds from one comparison of models to the next; 0: none
    evaluate_every: int = 1  # rounds from one evaluation to the next
    mean_speed: float | None = None  # samples per second, where speeds are set: mean
    top_speed: float | None = None  # over workers, and the most that one can have


@dataclass(frozen=True)
class Wire:
    """What travels: the codec of each direction, and who gets a downlink message.

    ``tree``: the server's messages go to all workers, along the broadcast tree, and
    ``pull`` hears them; without it ``pull`` hears what is addressed to the worker
    (``ServerLink.send``), and ``pull_shared`` what is broadcast. ``replicated``: at the
    start of a round ``state.x`` has the same bits on all ranks, which links then check
    every so often.

    ``peers[m]``: the workers that worker m exchanges frames of ``up`` with, ascending;
    symmetric. Workers then show the server their models (``state.x``) now and then, and
    its ``state.x`` is their mean; that is observation, not part of a method, and its
    bytes and time are booked apart. ``relay``: the frames go through the server.
    ``free``: workers don't wait for one another, so that their rounds differ.
    """

    up: Codec
    down: Codec
    tree: bool = True
    replicated: bool = False
    peers: tuple[tuple[int, ...], ...] = ()
    relay: bool = False
    free: bool = False


@dataclass(frozen=True)
class Iterate:
    """What a server yields once a round, for whoever evaluates, records and stops."""

    round: int
    x: Vector


class WorkerLink(abc.ABC):
    """A worker's end. A received frame is lent: valid until the next call here."""

    worker: int  # 0 .. workers - 1
    workers: int
    up: Codec  # the wire's codecs, with their time booked as encode and decode
    down: Codec

    @abc.abstractmethod
    def outgoing(self, codec: Codec) -> Codec:
        """Return a codec whose frames are to be sent, with its time booked."""

    @abc.abstractmethod
    def rounds(self, state: Any, *, until_told: bool = False) -> Iterator[int]:
        """Yield round numbers from ``state.round`` on, until the plan's last.

        Then waits for the end of the run, and raises ``Stopped``. ``until_told``: goes
        on for ever, where only the server knows how often it will hear this worker.
        """

    @abc.abstractmethod
    def pull(self) -> Frame | None:
        """Wait for the server's next message; None if it came without a frame.

        Raises ``Stopped`` when the server has ended the run.
        """

    @abc.abstractmethod
    def pull_shared(self) -> Frame | None:
        """The same for the server's next broadcast."""

    @abc.abstractmethod
    def push(self, frame: Frame | None) -> None:
        """Send a frame, or None to say that there is none this round (a skip)."""

    @abc.abstractmethod
    def exchange(self, frame: Frame) -> Iterator[tuple[int, Frame]]:
        """Send a frame to all peers; yield each peer and its frame, in peers' order.

        All of them belong to this round. Take them all.
        """

    @abc.abstractmethod
    def post(self, frame: Frame) -> None:
        """Send a frame to all peers without waiting for any.

        A peer that has not taken the one before gets only the newest, when it can.
        """

    @abc.abstractmethod
    def latest(self) -> Iterator[tuple[int, Frame]]:
        """Yield what has been posted since the last call, each with its peer.

        The frames of a peer come in order, so that its last one is its newest.
        """

    @abc.abstractmethod
    def until(self, deadline: float, samples: int, batch: int) -> Iterator[int]:
        """Yield sizes of batches to be processed, until ``deadline`` seconds are over.

        ``batch`` at a time and ``samples`` in all at most; where speeds are simulated,
        at once all that this worker can do. Ends at the deadline, or after the batch
        that passed it, which is counted as overshoot.
        """

    @abc.abstractmethod
    def now(self) -> float:
        """Return seconds on this worker's clock, which may be a simulated one."""

    @abc.abstractmethod
    def agree(self, number: float) -> tuple[float, float]:
        """Tell the server a number; return the mean and the largest of all workers'."""


class ServerLink(abc.ABC):
    """The server's end. Received frames are lent: valid until the next call here."""

    workers: int
    up: Codec
    down: Codec

    @abc.abstractmethod
    def outgoing(self, codec: Codec) -> Codec:
        """Return a codec whose frames are to be sent, with its time booked."""

    @abc.abstractmethod
    def rounds(self, state: Any) -> Iterator[int]:
        """Yield round numbers from ``state.round`` on, until the plan's last."""

    @abc.abstractmethod
    def bcast(self, frame: Frame | None) -> None:
        """Send one message to all workers, along the tree."""

    @abc.abstractmethod
    def send(self, worker: int, frame: Frame | None) -> None:
        """Send one message to one worker."""

    @abc.abstractmethod
    def gather(self, workers: Sequence[int] | None = None) -> Iterator[Frame | None]:
        """Yield the next message of each of ``workers`` (default all), in that order.

        None stands for a skip. The order of arrival does not show: each is yielded as
        soon as it is there, after those before it. Take them all.
        """

    @abc.abstractmethod
    def recv(self, workers: Sequence[int] | None = None) -> tuple[int, Frame | None]:
        """Return the next message of any of ``workers`` (default all), and whose it is.

        Nobody is served twice while another waits. How many rounds lie between what the
        worker answers and this round goes into the histogram of staleness.
        """

    @abc.abstractmethod
    def discard(self, worker: int) -> None:
        """Wait for a worker's next message, and count it as too late to be used."""

    @abc.abstractmethod
    def relay(self) -> None:
        """Pass every worker's frame of this round on to its peers."""

    @abc.abstractmethod
    def observed(self) -> Mapping[str, float]:
        """Return what workers' last reports say of their models and their time."""

    @abc.abstractmethod
    def agree(self) -> tuple[float, float]:
        """Hear a number of every worker; return their mean and the largest, as told."""


class Algorithm(abc.ABC):
    """A paper's method: its hyper-parameters as fields, its two roles as methods.

    Subclasses are frozen keyword-only dataclasses. Whatever survives a round sits in
    the role's state object, so that a checkpoint is that object and nothing else; both
    states have ``round``, the server's has ``x``.

    ``proximal`` says whether it minimises l1 ||x||_1 along with the smooth loss; only
    then it gets problems that have that.
    """

    id: ClassVar[str]
    proximal: ClassVar[bool] = False

    def timed(self) -> bool:
        """Whether time decides what is computed, so that it has to be simulated."""
        return False

    @abc.abstractmethod
    def wire(self, plan: Plan) -> Wire:
        """Return what travels; raises ``ConfigError`` for an illegal combination."""

    def cautions(self, plan: Plan) -> Sequence[str]:
        """Return what is allowed but likely not meant, a line each."""
        return ()

    def frames(self, plan: Plan, rounds: int) -> tuple[int, int]:
        """Return how many frames its uncompressed counterpart sends up, and down."""
        return plan.workers * rounds, plan.workers * rounds

    def arrays(self, plan: Plan) -> Mapping[str, NDArray[Any]]:
        """Return what is kept in the run's directory besides, by file name."""
        return {}

    def row(self, link: ServerLink, state: Any) -> Mapping[str, Any]:
        """Return what a row of the record has besides, at the server's iterate."""
        return {}

    def record(self, state: Any) -> Mapping[str, Any]:
        """Return what the summary holds of the server's last state, as plain data."""
        return {}

    @abc.abstractmethod
    def worker_state(self, link: WorkerLink, problem: Problem, plan: Plan) -> Any:
        """Return a worker's state before round 0."""

    @abc.abstractmethod
    def server_state(self, link: ServerLink, problem: Problem, plan: Plan) -> Any:
        """Return the server's state before round 0; ``problem`` is the whole one."""

    @abc.abstractmethod
    def worker(
        self, link: WorkerLink, problem: Problem, plan: Plan, state: Any
    ) -> None:
        """Run a worker's role to the end."""

    @abc.abstractmethod
    def server(self, link: ServerLink, plan: Plan, state: Any) -> Iterator[Iterate]:
        """Run the server's role; yield each round's iterate before it is improved."""
