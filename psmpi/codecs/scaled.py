"""An unbiased codec scaled down to a contraction, which error feedback needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from psmpi.base import Codec, ConfigError, Frame, Indices, Vector


@dataclass(frozen=True)
class Scaled(Codec):
    """Another codec whose decoded vectors are divided by 1 + omega.

    Parameters
    ----------
    codec : Codec
        An unbiased codec; omega is its ``error(dim)``.

    Notes
    -----
    The frame and ``paper_bits`` are the other codec's; the receiver divides. From
    E[C(x)] = x and E||C(x) - x||^2 <= omega ||x||^2 follows, for D = C / (1 + omega),
    E||D(x) - x||^2 <= omega / (1 + omega) ||x||^2. Sources: Basu et al.,
    Qsparse-local-SGD (NeurIPS 2019), the scaled quantisers; Zheng et al., dist-EF-SGD
    (NeurIPS 2019), on QSGD. ``Scaled(Bernoulli(k))`` is Rand-k: kept entries decode to
    what they are.

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
        """Whether the other codec is sparse."""
        return self.codec.is_sparse

    def omega(self, dim: int) -> float:
        """Return the other codec's bound; raise ``ConfigError`` where it has none."""
        omega = self.codec.error(dim)
        if not omega < math.inf:
            raise ConfigError(
                f"scaled: {self.codec} has no omega, as its error does not shrink with "
                "the vector, and can't be divided by 1 + omega; take another codec"
            )
        return omega

    def error(self, dim: int) -> float:
        """Return omega / (1 + omega)."""
        omega = self.omega(dim)
        return omega / (1 + omega)

    def _max_nbytes(self, dim: int) -> int:
        self.omega(dim)
        return self.codec._max_nbytes(dim)

    def _paper_bits(self, frame: Frame, dim: int) -> int:
        return self.codec._paper_bits(frame, dim)

    def _encode(self, x: Vector, out: Frame | None, key: np.uint64) -> Frame:
        return self.codec._encode(x, out, key)

    def _encode_at(
        self,
        support: Indices,
        values: Vector,
        dim: int,
        out: Frame | None,
        key: np.uint64,
    ) -> Frame:
        return self.codec._encode_at(support, values, dim, out, key)

    def _decode_add(self, frame: Frame, out: Vector, scale: float) -> None:
        self.codec._decode_add(frame, out, scale / (1 + self.omega(out.size)))
