"""AdaComp: per bin, the entries that the latest gradient brings to the maximum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Frame, Vector, checks
from psmpi.codecs import validation
from psmpi.codecs.layout import index_stream
from psmpi.codecs.layout.sparse_codes import GroupedCodec
from psmpi.kernels.grouped import bin_choose, bin_means, group_starts


@dataclass(frozen=True)
class AdaComp(GroupedCodec):
    """The signs of entries that reach their bin's maximum with one more gradient step.

    Parameters
    ----------
    bin : int, default 50
        Entries per bin; the first bin of a block begins with the block. The paper uses
        50 for convolutions and 500 for other layers.
    block : int, optional
        Entries per block, which share a scale; the last block may be shorter. Without
        ``block`` and ``bounds``, the vector is one block.
    bounds : tuple of int, optional
        Block b is x[bounds[b]:bounds[b + 1]], as ``Problem.bounds`` gives the tensors
        of a model. Starts with 0, ascends, ends with the vector's length.

    Notes
    -----
    With error feedback, G = residual + gradient and H = G + gradient. An entry is sent
    if |H_i| >= max |G| over its bin and G_i isn't 0. It is sent as sign(G_i) times the
    block's scale, the mean of max |G| over all bins of the block, bins of zeros
    included. In ``encode_feedback(e, x, ratio)``, G = ratio e + x and H = G + x. In
    ``encode(x)`` there is no residual, so G = x and H = 2x: entries of at least half
    the bin's maximum are sent. A block whose scale rounds to 0 as float32 sends
    nothing. The bytes are those of ``layout.sparse_codes`` with one bit per entry:

    ==========================  ======================================================
    bytes                       content
    ==========================  ======================================================
    2 to 6                      header: mode and count, see ``layout.index_stream``
    ceil(B / 8)                 flags of the B blocks; absent if B = 1 or count = 0
    4 F                         scales of the F flagged blocks, float32
    ceil(count / 8)             signs by ascending index, 1 = negative
    the rest                    index stream
    ==========================  ======================================================

    ``paper_bits`` = 32 B + nnz w, where w is 2 bits for a ternary value and
    ceil(log2 bin) bits for the place in the bin, rounded up to whole bytes: 8 for bins
    of up to 64 entries, 16 for bins of up to 2^14. Source: Chen et al., AdaComp (AAAI
    2018).

    Examples
    --------
    >>> import numpy as np
    >>> codec = AdaComp(bin=4)  # bins of maxima 4 and 2, so the scale is 3
    >>> x = np.array([0.5, -4.0, 0.0, 2.0, 0.0, 1.0, -0.5, 2.0], np.float32)
    >>> codec.decode(codec.encode(x), 8)
    array([ 0., -3.,  0.,  3.,  0.,  3.,  0.,  3.], dtype=float32)
    """

    bin: int = 50

    id: ClassVar[str] = "adacomp"
    wire_id: ClassVar[int] = 11
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        bin = checks.integer(self.id, "bin", self.bin, 1, None)
        object.__setattr__(self, "bin", bin)

    def most(self, dim: int) -> int:
        """Return dim: all entries of a bin of equal magnitudes are sent."""
        return dim

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 B + nnz * 8 ceil((2 + ceil(log2 bin)) / 8)."""
        header = index_stream.read_header(self.id, frame, dim, dim)
        width = 8 * ((2 + index_stream.width(self.bin) + 7) // 8)
        return 32 * (self.blocks(dim).size - 1) + header.count * width

    def error(self, dim: int) -> float:
        """Return 1 + (T - 2)^2 / (4 (T - 1)) of ``encode``, about T / 4, for bins of T.

        AdaComp is no contraction: entries of a bin far below the mean of the maxima are
        decoded as that mean. Take a block with J bins of maxima g_j, whose mean is s.
        The n_j entries sent of bin j are at least g_j / 2, and one of them is g_j, so

            error = ||x||^2 - 2 s sum |x_i| + s^2 sum n_j
                 <= ||x||^2 - J s^2 + s sum n_j (s - g_j)
                 <= ||x||^2 - J s^2 + s (T - 1) sum max(s - g_j, 0)

        as sum (s - g_j) over the bins that aren't zero is at most 0. For s = 1 let z be
        the mean of max(1 - g_j, 0). For fixed z, the sum of the g_j^2 is a lower bound
        of ||x||^2. It is least if half of the bins are below 1, or, as z > 1/2 needs
        more than half, if z J bins are 0: then it is J / (1 - z). So the rest is at
        most ((T - 1) z - 1) (1 - z) ||x||^2, largest at z = T / (2 (T - 1)). Vectors
        with a little more than half of the bins full of equal entries near 0, and one
        entry in each of the other bins, come as close as J allows.
        """
        longest = int(np.diff(self.blocks(dim)).max(initial=1))
        t = min(self.bin, longest)
        return 1 + (t - 2) ** 2 / (4 * (t - 1)) if t > 1 else 1.0

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        return self._frame(x, x, out)

    def _encode_feedback(
        self,
        e: Vector,
        x: Vector | None,
        ratio: float,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        """Error feedback that chooses entries by ``x``, the latest gradient, as well.

        Without ``x``, p = ratio e is taken as the latest gradient.
        """
        if ratio != 1.0:
            e *= ratio
        if x is not None:
            e += x
        frame = self._frame(e, e if x is None else x, out)
        self._decode_add(frame, e, -1.0)
        return frame

    def _frame(self, g: Vector, latest: Vector, out: Frame | None) -> Frame:
        validation.check_finite(self.id, g)
        bounds = self.blocks(g.size)
        scales = bin_means(g, bounds, self.bin)
        if not np.all(scales < np.inf):
            validation.refuse(self.id, g, "mean of a block's bin maxima")
        chosen = bin_choose(g, latest, bounds, self.bin, scales)
        codes = (g[chosen] < 0).astype(np.uint32)
        starts = group_starts(chosen, bounds)
        return self.write(scales, codes, chosen, starts, g.size, out)
