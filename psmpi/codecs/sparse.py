"""All entries that are not zero, with their indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.codecs import validation
from psmpi.codecs.layout.sparse_values import LEAST, SparseCodec
from psmpi.kernels.select import all_from


@dataclass(frozen=True)
class Sparse(SparseCodec):
    """Every non-zero entry as a float, for a server's sum of sparse frames.

    Parameters
    ----------
    bits : 32 or 64, default 32
        Width of a float. 32 rounds a float64 vector to nearest, and leaves out entries
        that are then 0.

    Notes
    -----
    Lossless, except for the sign of zeros and for float64 entries at 32 bits. The
    bytes are those of ``layout.sparse_values``: header, values by ascending index, then
    the shortest index stream, at worst a bitmap.

    ``paper_bits`` = nnz (bits + ceil(log2 dim)). Refuses a float64 that overflows
    float32.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0, -4, 0, 2, 0, 0, 0], np.float32)
    >>> Sparse().encode(x).tobytes().hex(" ", -2)  # mode 0; gaps 1 and 1 as 01 01
    '0002 0000 80c0 0000 0040 0a'
    """

    bits: int = 32

    id: ClassVar[str] = "sparse"
    wire_id: ClassVar[int] = 8
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", validation.float_bits(self.id, self.bits))

    @property
    def wide(self) -> bool:
        """Whether values are float64."""
        return self.bits == 64

    def error(self, dim: int) -> float:
        """Return 0, or the squared relative rounding of float64 to float32.

        That holds for normal float32 values.
        """
        return 0.0 if self.bits == 64 else 2.0**-48

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        """Return the non-zero entries of ``x``; see ``Codec.encode``."""
        limit = np.inf if self.wide else validation.FLOAT32_LIMIT
        validation.check_finite(self.id, x, limit)
        chosen = all_from(x, LEAST[4 if self.wide else x.itemsize])
        return self.write(x[chosen], chosen, x.size, out)
