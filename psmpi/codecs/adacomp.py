"""AdaComp: bin by bin, the entries that the latest gradient brings to the maximum."""

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
    """Signs of the entries that reach their bin's maximum when counted once more.

    Parameters
    ----------
    bin : int
        Entries per bin; bins begin anew with every block. The paper has 50 for
        convolutions and 500 for other layers.
    block : int, optional
        Entries per block, which is what shares a scale; the last block may be shorter.
        Without it, and without ``bounds``, the vector is one block.
    bounds : tuple of int, optional
        Block b is x[bounds[b]:bounds[b + 1]], as ``Problem.bounds`` gives the tensors
        of a model. Starts with 0, ascends, ends with the vector's length.

    Notes
    -----
    With error feedback G = residue + gradient, and H = G + gradient. Entries with
    |H_i| >= max |G| over their bin are sent, if G_i isn't 0, as sign(G_i) times the
    block's scale, which is the mean of max |G| over the block's bins, those of zeros
    too. ``encode_feedback(e, x, ratio)`` has G = ratio e + x and H = G + x, while
    ``encode(x)`` knows of no residue and has G = x, H = 2x: it sends whatever is at
    least half of the bin's maximum. A block whose scale float32 takes for 0 sends
    nothing. The bytes are those of ``layout.sparse_codes`` with one bit per entry:

    ==========================  ======================================================
    bytes                       content
    ==========================  ======================================================
    2 to 6                      header: mode and count, see ``indices``
    ceil(B / 8)                 flags of the B blocks; absent if B = 1 or count = 0
    4 F                         scales of the F flagged blocks, float32
    ceil(count / 8)             signs by ascending index, 1 = negative
    the rest                    index stream
    ==========================  ======================================================

    ``paper_bits`` = 32 B + nnz w, where w is 8 for bins of up to 64 entries, 16 up to
    2^14, and generally the whole bytes that hold two bits for a ternary value and
    ceil(log2 bin) for the place in the bin. Source: Chen et al., AdaComp (AAAI 2018).

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
        """Return dim: a bin of equal magnitudes is sent whole."""
        return dim

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        """Return 32 B + nnz * 8 ceil((2 + ceil(log2 bin)) / 8)."""
        header = index_stream.read_header(self.id, frame, dim, dim)
        width = 8 * ((2 + index_stream.width(self.bin) + 7) // 8)
        return 32 * (self.blocks(dim).size - 1) + header.count * width

    def error(self, dim: int) -> float:
        """Return 1 + (T - 2)^2 / (4 (T - 1)) of ``encode``, about T / 4, for bins of T.

        It is no contraction: entries of a bin far below the mean of the maxima come out
        as that mean. In a block with the J maxima g_j, their mean s, and n_j entries
        sent of bin j, which are at least g_j / 2 with one g_j among them,

            error = ||x||^2 - 2 s sum |x_i| + s^2 sum n_j
                 <= ||x||^2 - J s^2 + s sum n_j (s - g_j)
                 <= ||x||^2 - J s^2 + s (T - 1) sum max(s - g_j, 0)

        as sum (s - g_j) over the bins that aren't zero is at most 0. For s = 1 let z be
        the mean of max(1 - g_j, 0). At given z the sum of g_j^2, which ||x||^2 isn't
        below, is least if half of the bins are below 1, or, as z > 1/2 forces more, if
        these are z J bins that vanish: J / (1 - z). So the rest is at most
        ((T - 1) z - 1) (1 - z) ||x||^2, largest at z = T / (2 (T - 1)). A little more
        than half of the bins of equal entries near 0 and the others of one entry each
        come as close as J allows.
        """
        longest = int(np.diff(self.blocks(dim)).max(initial=1))
        t = min(self.bin, longest)
        return 1 + (t - 2) ** 2 / (4 * (t - 1)) if t > 1 else 1.0

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the signs of the entries of ``x`` near the top of their bins."""
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
