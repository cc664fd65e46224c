"""An unbiased codec made a contraction, which is what error feedback needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from psmpi.base import Codec, ConfigError, Frame, Vector


@dataclass(frozen=True)
class Scaled(Codec):
    """Another codec's output divided by 1 + omega.

    Parameters
    ----------
    codec : Codec
        An unbiased codec; omega is its ``error(dim)``.

    Notes
    -----
    The frame is the other codec's; the receiver divides. From E[C(x)] = x and
    E||C(x) - x||^2 <= omega ||x||^2 follows, for D = C / (1 + omega), E||D(x) - x||^2
    <= omega / (1 + omega) ||x||^2. Source: Basu et al., Qsparse-local-SGD (NeurIPS
    2019), the scaled quantisers; Zheng et al., dist-EF-SGD (NeurIPS 2019), on QSGD.
    Of Bernoulli it makes Rand-k: kept entries as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from psmpi.codecs import Bernoulli
    >>> codec = Scaled(Bernoulli(k=0.5))
    >>> x = np.array([1, 2, 3, 4], np.float32)
    >>> codec.decode(codec.encode(x, key=5), 4)
    array([1., 0., 3., 0.], dtype=float32)
    """

    codec: Codec

    id: ClassVar[str] = "scaled"
    wire_id: ClassVar[int] = 14
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.codec, Codec) or not self.codec.unbiased:
            raise ConfigError(
                f"scaled: takes an unbiased codec, got {self.codec!r}; a biased one is "
                "not divided"
            )

    @property
    def is_sparse(self) -> bool:
        """Whether the other codec's entries are."""
        return self.codec.is_sparse

    def omega(self, dim: int) -> float:
        """Return the other codec's bound; ``ConfigError`` where it has none."""
        omega = self.codec.error(dim)
        if not omega < math.inf:
            raise ConfigError(
                f"scaled: {self.codec} has no omega, as its error does not shrink with "
                "the vector, and can't be divided by 1 + omega; take another codec"
            )
        return omega

    def max_nbytes(self, dim: int) -> int:
        """Return the other codec's."""
        self.omega(dim)
        return self.codec.max_nbytes(dim)

    def paper_bits(self, frame: Frame, dim: int) -> int:
        """Return the other codec's."""
        return self.codec.paper_bits(frame, dim)

    def error(self, dim: int) -> float:
        """Return omega / (1 + omega)."""
        omega = self.omega(dim)
        return omega / (1 + omega)

    def encode(self, x: Vector, out: Frame | None = None, key: int = 0) -> Frame:
        """Return the other codec's frame of ``x``."""
        return self.codec.encode(x, out, key)

    def decode_add(self, frame: Frame, out: Vector, scale: float = 1.0) -> None:
        """Add ``scale / (1 + omega)`` times what the other codec decodes."""
        dim = getattr(out, "size", 0)
        self.codec.decode_add(frame, out, scale / (1 + self.omega(dim)))
