"""What the files of a run directory hold: rows, the summary, and their keys.

The types describe what psmpi writes. A file that is read may come from another version
or a damaged disk, so it is ``Json`` until ``recorded`` has checked its keys.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypeAlias, TypedDict

Json: TypeAlias = dict[str, Any]

#: What every row has, and what is null in a row that comes without it.
ROW_KEYS = (
    *("round", "loss", "uploads", "paper_bits_up", "paper_bits_down"),
    *("wire_bytes_up", "wire_bytes_down", "seconds"),
)
ROW_NULLABLE = ("residual", "accuracy", "gradient_norm")
#: What a run hands to ``RunWriter.finish``; the dense bits are added there.
SUMMARY_KEYS = (
    *("algorithm", "workers", "rounds", "uploads", "paper_bits_up", "paper_bits_down"),
    *("wire_bytes_up", "wire_bytes_down", "seconds", "loss", "residual", "accuracy"),
    *("reached", "ranks", "dim", "data", "options", "dtype", "seed"),
)


class ReachedTarget(TypedDict):
    """The values of the first row in which a target was reached."""

    round: int
    uploads: int
    paper_bits_up: int
    paper_bits_down: int
    wire_bytes_up: int
    wire_bytes_down: int
    seconds: float  # since round 0, on the clock of the run
    loss: float | None  # None: a caller's own loop gave none
    accuracy: float | None


class Row(ReachedTarget):
    """One evaluated round.

    Counts are totals since round 0: uploads, bits by the formulas of the papers, and
    bytes as handed to the transport, control messages included. Algorithms add keys of
    their own (``Algorithm.row``); those of psmpi's algorithms are listed last.
    """

    residual: float | None  # loss minus the optimum, where that is known
    gradient_norm: float | None  # only where a target needs it
    # Of AsyLPG and its presets:
    model_bits: NotRequired[int]  # per entry of this model as it is sent
    model_error: NotRequired[float]  # E||Q(x) - x||^2 of this model as it is sent
    model_distance: NotRequired[float]  # ||x - snapshot||^2
    # Of decentralised algorithms:
    consensus: NotRequired[float]  # mean of ||x_i - mean of all x||^2 over workers i
    drift: NotRequired[float]  # norm of the mean's change since the last evaluation


class RankReport(TypedDict):
    """Counters of one rank; bytes are as handed to the transport."""

    rank: int
    host: str
    rounds: int
    frames_sent: int
    bytes_sent: int
    bytes_received: int
    seconds: dict[str, float]  # by phase
    cpu_seconds: dict[str, float]  # by phase, of this rank's thread
    max_rss: int  # bytes
    samples: NotRequired[int]  # processed before deadlines; this and below: workers
    overshoot: NotRequired[float]  # seconds by which batches exceeded deadlines
    behind: NotRequired[float]  # seconds by which set speeds could not be kept
    superseded: NotRequired[int]  # messages that were replaced before they were sent
    nan_steps: NotRequired[int]  # gradients that were not finite,
    nan_events: NotRequired[list[Json]]  # and the first of them


class Summary(TypedDict):
    """The result of a run.

    Algorithms add keys of their own (``Algorithm.record``); those of psmpi's algorithms
    are listed last.
    """

    algorithm: str
    name: str
    workers: int
    rounds: int
    uploads: int
    paper_bits_up: int
    paper_bits_down: int
    wire_bytes_up: int
    wire_bytes_down: int
    seconds: dict[str, float]  # total, and by phase: means over the workers
    loss: float | None
    residual: float | None
    accuracy: float | None
    gradient_norm: float | None
    reached: dict[str, ReachedTarget]  # by target
    unmet: list[str]  # targets that were not reached
    ranks: list[RankReport]
    dim: int
    metrics: dict[str, float]  # further ones of an own problem: their last values
    data: str | None  # None: the problem was of the user's own
    problem: str | Json | None  # what it was: its text, or an object's class and sizes
    options: Json  # of the algorithm
    dtype: str
    seed: int
    clock: str  # real or simulated
    dense_frames: tuple[int, int]  # of the uncompressed method, up and down
    dense_bits_up: NotRequired[int]
    dense_bits_down: NotRequired[int]
    wire_bytes_observed: int  # of models that workers report for evaluation
    warnings: list[str]
    # Of a run with --on-nan zero or skip, if there were any:
    nan_steps: NotRequired[int]  # gradients that were not finite,
    nan_events: NotRequired[list[Json]]  # and the first: worker, round, samples
    # Of a run with --heal, if a model differed:
    heals: NotRequired[int]  # how often one was replaced by the server's,
    healed: NotRequired[list[Json]]  # and the first: round, worker
    # Of a server that takes uploads in the order in which they arrive:
    staleness: NotRequired[dict[str, int]]  # uploads by their age in rounds
    arrivals: NotRequired[list[int]]  # uploads of each worker
    bursts: NotRequired[list[int]]  # most uploads of each worker in a row
    late: NotRequired[int]  # uploads that the server discarded
    # Of AsyLPG and its presets, and of decentralised algorithms:
    model_bits: NotRequired[dict[str, int]]  # models that were sent, by bits per entry
    epochs: NotRequired[int]
    relay: NotRequired[bool]  # whether frames went through the server
    resolved: NotRequired[Json]  # options that were derived from others
