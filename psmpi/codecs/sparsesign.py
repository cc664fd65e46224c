"""Sparse-AsyLPG's sparsifier: entries at random, all sent with one magnitude."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from psmpi.base import Codec, ConfigError, Frame, Indices, Vector, checks
from psmpi.base.arrays import buffer
from psmpi.codecs import validation
from psmpi.codecs.layout import index_stream
from psmpi.codecs.layout.index_stream import Chosen
from psmpi.kernels.bits import pack, unpack
from psmpi.kernels.coins import sign_coins, sign_coins_at
from psmpi.kernels.grouped import group_add
from psmpi.kernels.jit import U0, U1
from psmpi.kernels.reduce import max_abs
from psmpi.kernels.rounding import upper_float32


@dataclass(frozen=True)
class SparseSign(Codec):
    """Entry i is kept with p_i = budget |x_i| / max |x|, as x_i / p_i.

    Parameters
    ----------
    budget : float, default 1.0
        Above 0, at most 1: the probability of the largest entry. At 1 the variance is
        least, and ||x||_1 / max |x| entries are kept on average. This number is
        proportional to ``budget``.

    Notes
    -----
    A kept entry is sent as sign(x_i) s with s = max |x| / budget for all entries, so
    that its value takes one bit. In the source's notation p_i = phi |x_i| / ||x||_1
    with phi = budget ||x||_1 / max |x|, the number of entries kept on average. s is
    rounded up to float32, and p_i = |x_i| / s uses the rounded s: E[C(x)] = x over
    keys, up to the 2^-52 s that a random number resolves.

    =====================  ============================================================
    bytes                  content
    =====================  ============================================================
    0 .. 3                 s, float32; the rest is absent if s = 0
    4 .. 3 + h             header: mode and count, see ``layout.index_stream``
    ceil(count / 8)        signs by ascending index, 1 = negative; the least significant
                           bit first, zero padding
    the rest               index stream
    =====================  ============================================================

    ``paper_bits`` = 32 + nnz (1 + ceil(log2 dim)). Source: Yu, Wu, Huang, Double
    quantization for communication-efficient distributed optimization (NeurIPS 2019),
    Sparse-AsyLPG.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5, -4.0, 0.0, 2.0, 1.0, 0.0, 0.0], np.float32)
    >>> frame = SparseSign().encode(x, key=1)  # p = 1/8, 1, 0, 1/2, 1/4, 0, 0
    >>> frame.tobytes().hex(" ", -4)  # 4; two; signs 1, 0; gaps 1 and 1
    '00008040 0002010a'
    >>> SparseSign().decode(frame, 7)
    array([ 0., -4.,  0.,  4.,  0.,  0.,  0.], dtype=float32)
    """

    budget: float = 1.0

    id: ClassVar[str] = "sparsesign"
    wire_id: ClassVar[int] = 17
    is_sparse: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        budget = validation.real(self.budget)
        if not 0 < budget <= 1:
            raise ConfigError(
                f"{self.id}: budget must be above 0 and at most 1, got {self.budget!r}"
            )
        object.__setattr__(self, "budget", budget)

    def _max_nbytes(self, dim: int) -> int:
        """Return the bytes of a frame with all entries."""
        dim = checks.length(self.id, dim, validation.MAX_SPARSE_DIM)
        return 4 + index_stream.max_nbytes(dim, dim) + (dim + 7) // 8

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 + nnz * (1 + ceil(log2 dim)), or 32 if the frame is a zero s."""
        if frame.size == 4:
            return 32
        count = index_stream.read_header(self.id, frame[4:], dim, dim).count
        return 32 + count * (1 + index_stream.width(dim))

    def error(self, dim: int) -> float:
        """Return omega = (1 + sqrt(d)) / (2 budget) - 1, the least possible bound.

        E||C(x)||^2 = sum x_i^2 / p_i = s ||x||_1, M ||x||_1 / budget with M = max |x|.
        Over ||x||^2 this is largest for one entry M = 1 and d - 1 entries a = 1 / (1 +
        sqrt(d)), as in ``Ternary``: ||x||_1 = sqrt(d), ||x||^2 = 2 sqrt(d) / (1 +
        sqrt(d)). Holds where s is a normal float32.
        """
        return (1 + math.sqrt(max(dim, 1))) / (2 * self.budget) - 1

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the entries of ``x`` that ``key`` draws; see ``Codec.encode``."""
        scale = self._scale(x)
        room = np.empty(x.size + 1, np.uint32)
        kept = room[: sign_coins(x, scale, key, room) if scale else 0]
        return self._write(scale, kept, x[kept] < 0, x.size, out)

    def _encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        """Return the frame in time and memory for the support alone.

        >>> import numpy as np
        >>> frame = SparseSign().encode_at(np.array([2]), np.array([-3.0]), 10**9)
        >>> frame.tobytes().hex(" ", -4)
        '00004040 00010104'
        """
        scale = self._scale(values, "values")
        room = np.empty(values.size + 1, np.uint32)
        count = sign_coins_at(support, values, scale, key, room) if scale else 0
        places = room[:count]
        kept = support[places].astype(np.uint32)
        return self._write(scale, kept, values[places] < 0, dim, out)

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        """Add ``scale`` times the kept entries to ``out``, in O(k)."""
        if validation.is_zero(self.id, frame, frame.size, out.size):
            return
        header = index_stream.read_header(self.id, frame[4:], out.size, out.size)
        count, first = header.count, 4 + header.nbytes
        last = first + (count + 7) // 8
        if frame.size < last:
            validation.damaged(self.id, f"{frame.size} bytes, a sign is missing")
        validation.check_padding(self.id, frame[:last], count)
        chosen = index_stream.read(self.id, header, frame[last:], out.size)
        codes = np.empty(count, np.uint32)
        unpack(frame, first, U1, codes)
        starts, units = np.array([0, count]), frame[:4].view("<f4").astype(np.float64)
        group_add(codes, chosen, starts, units, U0, out, scale)

    def _scale(self, x: Vector, name: str = "x") -> float:
        """Return s, 0 for the zero vector; ``name`` is that of the argument ``x``."""
        scale = float(upper_float32(max_abs(x) / self.budget))
        if not scale < math.inf:
            validation.refuse(self.id, x, "largest entry over the budget", name)
        return scale

    def _write(
        self,
        scale: float,
        chosen: Chosen,
        negative: NDArray[np.bool_],
        dim: int,
        out: Frame | None,
    ) -> Frame:
        """Return the frame of ``scale`` and the signs of the entries ``chosen``."""
        if not scale:
            frame = buffer(out, 4)[:4]
            frame[:] = 0
            return frame
        header, stream = index_stream.plan(chosen, dim)
        first = 4 + header.nbytes
        last = first + (header.count + 7) // 8
        size = last + stream
        frame = buffer(out, size)
        frame[:4].view("<f4")[0] = scale
        header.write(frame[4:first])
        pack(negative.astype(np.uint32), U1, frame, first)
        index_stream.write(header, chosen, dim, frame[last:size])
        return frame[:size]
