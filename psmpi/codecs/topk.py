"""The k largest entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Frame, Vector
from psmpi.codecs import door
from psmpi.codecs.sparse import SparseCodec
from psmpi.kernels.reduce import max_abs
from psmpi.kernels.select import top_k

# The least bit pattern that is sent: float64 magnitudes up to 2^-150 are 0 as float32.
LEAST = {4: np.uint64(1), 8: np.float64(2.0**-150).view(np.uint64) + np.uint64(1)}


@dataclass(frozen=True)
class TopK(SparseCodec):
    """The k entries of largest magnitude, as they are; zeros are never sent.

    Parameters
    ----------
    k : float or int
        Below 1 a fraction of the vector's length, rounded up; else a count.

    Notes
    -----
    Among equal magnitudes the lower index comes first. A vector with fewer than k
    non-zeros gives fewer entries. The bytes are those of ``psmpi.codecs.sparse``:
    header, float32 values by ascending index, then the shortest index stream.

    ``paper_bits`` = nnz (32 + ceil(log2 dim)). Source: Stich, Cordonnier, Jaggi,
    Sparsified SGD with memory (NeurIPS 2018); Basu et al., Qsparse-local-SGD (NeurIPS
    2019), definition 3. Raises ConfigError where a count exceeds the vector's length.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5, -4.0, 0.0, 2.0, 1.0, 0.0, 0.0], np.float32)
    >>> TopK(k=2).encode(x).tobytes().hex(" ", -2)  # mode 0; gaps 1 and 1 as 01 01
    '0002 0000 80c0 0000 0040 0a'
    """

    k: float = 0.01

    id: ClassVar[str] = "topk"
    wire_id: ClassVar[int] = 5
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", door.amount(self.id, self.k))

    def most(self, dim: int) -> int:
        """Return k as a count of ``dim`` entries."""
        return door.count(self.id, self.k, dim)

    def error(self, dim: int) -> float:
        """Return 1 - k / dim, which a vector of equal magnitudes attains."""
        return 1 - self.most(dim) / dim if dim else 0.0

    def encode(self, x: Vector, out: Frame | None = None, key: int = 0) -> Frame:
        """Return the largest entries of ``x``; see ``Codec.encode``."""
        x = door.vector(self.id, x)
        size = self.max_nbytes(x.size)
        out = None if out is None else door.room(self.id, out, size)
        if not max_abs(x) < door.FLOAT32_LIMIT:
            door.refuse(self.id, x)
        most = self.most(x.size)
        chosen = top_k(x, most, LEAST[x.itemsize]) if most else np.empty(0, np.uint32)
        return self.write(x[chosen].astype(np.float32), chosen, x.size, out)
