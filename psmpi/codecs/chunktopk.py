"""SparseLoCo's codec: the largest entries of every chunk, in a few shared values."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from psmpi.base import ConfigError, Frame, Indices, Vector, checks
from psmpi.codecs import validation
from psmpi.codecs.layout.blocks import block_bounds
from psmpi.codecs.layout.index_stream import Chosen
from psmpi.codecs.layout.sparse_codes import CodedEntries, Codes
from psmpi.codecs.layout.sparse_values import LEAST
from psmpi.kernels.grouped import cluster, cluster_add, group_starts
from psmpi.kernels.select import top_k_blocks


@dataclass(frozen=True)
class ChunkTopK(CodedEntries):
    """The k largest entries of every chunk of a block, in 2^bits values per block.

    Parameters
    ----------
    chunk : int, default 4096
        Entries per chunk. Chunks begin anew in every block; a block's last chunk may be
        shorter.
    k : float or int, default 64
        Entries kept per chunk: a count, and chunks shorter than that are kept whole; or
        below 1 a fraction of the chunk's length, rounded up.
    bits : 2..8, default 2
        Width of a code; a block has 2^bits values.
    block : int, optional
        Entries per block; the last block may be shorter. Without ``block`` and
        ``bounds``, the vector is one block.
    bounds : tuple of int, optional
        Block b is x[bounds[b]:bounds[b + 1]], as ``Problem.bounds`` gives the tensors
        of a model. Starts with 0, ascends, ends with the vector's length.

    Notes
    -----
    Let v be the n kept entries of a block as float32, of all its chunks, L = 2^bits,
    shift = mean(v) as float32 and sigma^2 = sum (v - shift)^2 / (n - 1). Then ::

        code  = clamp(round((v - shift) / (6 sigma / L) + L / 2), 0, L - 1)
        value = shift + mean of (v - shift) over the entries with this code

    rounding halves to even, and dividing by 1 where sigma = 0. For 2 bits 6 sigma / L
    is the published 1.5 sigma. A value is the mean of the v that got its code. The
    authors send the shift and the L means of v - shift; here their L sums are sent,
    which is what a decoder needs. Blocks with n <= L entries are sent exactly: entry j
    has code j.

    Among equal magnitudes the lower index comes first, and zeros are never sent. The
    bytes are those of ``layout.sparse_codes`` with ``bits`` per entry:

    ==========================  ======================================================
    bytes                       content
    ==========================  ======================================================
    2 to 6                      header: mode and count, see ``layout.index_stream``
    ceil(B / 8)                 flags of the B blocks; absent if B = 1 or count = 0
    4 L F                       values of the F flagged blocks, float32 by code; 0 for
                                a code that no entry has
    ceil(bits count / 8)        codes by ascending index
    the rest                    index stream
    ==========================  ======================================================

    At 64 of 4096 a kept entry of a long vector takes about 9.5 bits: the limit is log2
    C(4096, 64) / 64 + 2 = 9.36.

    ``paper_bits`` = 32 (L + 1) B + nnz (bits + ceil(log2 chunk)). Source: Sarfi et al.,
    SparseLoCo (arXiv 2508.15706), and its authors' code. The published "146 times" is
    32 / (nnz / d (2 + 12)) at 64 of 4096.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([9, 0, 1, 0, -8, 2, 0, 0, 5, 0, 1, 6, 9, -7, 0, 0], np.float32)
    >>> codec = ChunkTopK(chunk=4, k=2)
    >>> frame = codec.encode(x)
    >>> frame.size, codec.paper_bits(frame, 16)  # 8 entries
    (22, 192)
    >>> codec.decode(frame, 16).tolist()[:8]  # 9 and 9, -8 and -7; the mean of others
    [9.0, 0.0, 3.5, 0.0, -7.5, 3.5, 0.0, 0.0]
    """

    chunk: int = 4096
    k: float = 64
    bits: int = 2

    id: ClassVar[str] = "chunktopk"
    wire_id: ClassVar[int] = 19
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        chunk = checks.integer(self.id, "chunk", self.chunk, 1, None)
        object.__setattr__(self, "chunk", chunk)
        object.__setattr__(self, "k", validation.amount(self.id, self.k))
        if self.k > chunk:
            raise ConfigError(
                f"{self.id}: k = {self.k} entries of chunks of {chunk}; give a count "
                f"of at most {chunk}, or a fraction below 1"
            )
        bits = checks.integer(self.id, "bits", self.bits, 2, 8)
        object.__setattr__(self, "bits", bits)

    @property
    def width(self) -> int:
        """Bits of a code."""
        return self.bits

    @property
    def floats(self) -> int:
        """Floats per block: its values."""
        return int(2**self.bits)

    def most(self, dim: int) -> int:
        """Return the largest number of entries of a frame."""
        return int(self.chunks(dim)[1].sum())

    def chunks(self, dim: int) -> tuple[Indices, Indices]:
        """Return the bounds of all chunks, and the number of entries kept of each."""
        self.blocks(dim)  # refuses bounds that don't cover the vector
        return _chunks(self.k, self.chunk, self.block, self.bounds, dim)

    def error(self, dim: int) -> float:
        """Return 1 - min_b s_b g(n_b): s_b from the choice, g from the values.

        The entries kept of a chunk have at least k / length of its ||x||^2; s_b is the
        least such share of a block. Of ||v||^2 the values keep at least g(n): 1 for n
        <= L entries. Else let w = v - shift, a = 3 sigma / L, half the width of a cell.
        Only entries in the cell around 0 have |w| <= a. Let m be the number of the
        others, in at most L - 1 cells. They have sum w^2 >= ((n - 1) - (n - m) a^2 /
        sigma^2) sigma^2 = S. All entries of a cell with n_c of them have one sign and
        |w| >= a, so (sum |w|)^2 / n_c >= (sum w^2) / n_c + (n_c - 1) a^2. Summed over
        these cells this is at least S / m + (m - L + 1) a^2, and least over m for S and
        m in balance. With A = (a / sigma)^2 = 9 / L^2, and since sum w = 0 makes the
        shift add the same to both sides, ::

            g(n) = (2 sqrt(A ((1 - A) n - 1)) - (L - 2) A) / (n - 1)

        which is about 1 / sqrt(n) for 2 bits: one huge entry in a cell with sqrt(n)
        others. Mean and values rounded to float32 change that by parts of 2^-24. g
        rises in n and then falls, and a block with zeros sends fewer entries than n_b,
        so the least of g(L + 1) and g(n_b) counts.
        """
        edges, counts = self.chunks(dim)
        if not counts.size:
            return 0.0
        first = np.searchsorted(edges, self.blocks(dim)[:-1])
        shares = np.minimum.reduceat(counts / np.diff(edges), first)
        kept = np.add.reduceat(counts, first)
        gains = np.minimum(self._gain(kept), self._gain(np.array([self.floats + 1])))
        gains[kept <= self.floats] = 1.0
        return 1 - float((shares * gains).min())

    def _gain(self, n: Indices) -> NDArray[np.float64]:
        """Return g(n), with n at least L + 1."""
        n = np.maximum(n, self.floats + 1)
        A = 9 / self.floats**2
        root = 2 * np.sqrt(A * ((1 - A) * n - 1))
        gain: NDArray[np.float64] = (root - (self.floats - 2) * A) / (n - 1)
        return gain

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 (L + 1) B + nnz (bits + ceil(log2 chunk))."""
        index = (self.chunk - 1).bit_length()
        return self._formula(frame, dim, self.floats + 1, index)

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the values and codes of the largest entries; see ``Codec.encode``."""
        validation.check_finite(self.id, x, validation.FLOAT32_LIMIT)
        edges, counts = self.chunks(x.size)
        chosen = top_k_blocks(x, edges, counts, LEAST[x.itemsize])
        starts = group_starts(chosen, self.blocks(x.size))
        codes = np.empty(chosen.size, np.uint32)
        values = cluster(x[chosen], starts, np.uint64(self.bits), codes)
        return self.write(values, codes, chosen, starts, x.size, out)

    def _add(
        self,
        table: NDArray[np.float32],
        codes: Codes,
        chosen: Chosen,
        starts: Indices,
        out: Vector,
        scale: float,
    ) -> None:
        """Add ``scale`` times the entries' values to ``out``."""
        cluster_add(codes, chosen, starts, table, out, scale)


@functools.lru_cache(maxsize=64)  # needed several times by every message
def _chunks(
    k: float,
    chunk: int,
    block: int | None,
    bounds: tuple[int, ...] | None,
    dim: int,
) -> tuple[Indices, Indices]:
    """Return the bounds of all chunks of all blocks, and the entries kept of each."""
    blocks = block_bounds(block, bounds, dim)
    starts = [
        np.arange(first, last, chunk, dtype=np.int64)
        for first, last in itertools.pairwise(blocks.tolist())
    ]
    edges = np.concatenate([*starts, np.array([dim], np.int64)])
    sizes = np.diff(edges)
    if k >= 1:
        return edges, np.minimum(int(k), sizes)
    return edges, validation.counts("chunktopk", k, sizes)
