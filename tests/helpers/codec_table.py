"""One row per codec, with all that the common tests of codecs need, and test vectors.

A new codec takes one row of ``ROWS`` and a naive encoder in ``tests/reference``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from psmpi.base import Codec
from psmpi.codecs import (
    AdaComp,
    Bernoulli,
    Choice,
    ChunkTopK,
    Decimal,
    Dense,
    Piecewise,
    Plane,
    QTopK,
    Scaled,
    Sign,
    SignTopK,
    Sparse,
    SparseSign,
    Stochastic,
    Ternary,
    TopK,
    Uniform,
    Wangni,
)
from psmpi.codecs.layout.blocks import Blockwise
from tests.reference import naive


@dataclass(frozen=True)
class Message:
    """A codec's frame of a vector, as a row's formula of paper bits sees it."""

    codec: Codec
    frame: np.ndarray
    dim: int

    @property
    def nonzeros(self):
        decoded = self.codec.decode(self.frame, self.dim, dtype=np.float64)
        return np.count_nonzero(decoded)

    @property
    def blocks(self):
        blockwise = isinstance(self.codec, Blockwise)
        return self.codec.blocks(self.dim).size - 1 if blockwise else 0

    @property
    def width(self):
        """Bits of an index by the papers, ceil(log2 dim)."""
        return math.ceil(math.log2(self.dim))


@dataclass(frozen=True)
class Row:
    """What the common tests know of one codec.

    naive: the encoder of ``tests.reference.naive``, ``(codec, x, key) -> bytes``.
    instances: codecs by name; the golden frames are named after them.
    paper_bits: the paper's formula, ``Message -> bits``.
    extra_bits: bits of a frame beyond the paper's and beyond seven of padding.
    is_coded: whether a frame may have fewer bits than the paper's formula.
    is_random: whether frames depend on the key.
    """

    naive: Callable
    instances: dict[str, Codec]
    paper_bits: Callable[[Message], int] | None = None
    extra_bits: int = 0
    is_coded: bool = False
    is_random: bool = False
    is_composed: bool = field(default=False, kw_only=True)  # has tests of its own


HEADER = 48  # bits of a sparse frame's header, at most
FLAGS = 2 * 7  # bits of padding of a sparse frame's flags and codes
ROWS = {
    "adacomp": Row(
        naive.adacomp,
        {"adacomp": AdaComp(), "adacomp-block": AdaComp(5, block=17)},
        lambda m: 32 * m.blocks + 8 * m.nonzeros,
        extra_bits=HEADER + FLAGS,
        is_coded=True,
    ),
    "bernoulli": Row(
        naive.bernoulli,
        {"bernoulli": Bernoulli(), "bernoulli-few": Bernoulli(0.07)},
        lambda m: 8 * m.frame.size - 64,
        extra_bits=64,  # the key
        is_random=True,
    ),
    "choice": Row(
        naive.choice,
        {"choice": Choice((Stochastic(), TopK()))},
        is_composed=True,
    ),
    "chunktopk": Row(
        naive.chunktopk,
        {
            "chunktopk": ChunkTopK(32, 4),
            "chunktopk-block": ChunkTopK(16, 0.3, 3, block=40),
            "chunktopk-whole": ChunkTopK(),
        },
        lambda m: (
            32 * (m.codec.floats + 1) * m.blocks
            + m.nonzeros * (m.codec.bits + math.ceil(math.log2(m.codec.chunk)))
        ),
        extra_bits=HEADER + FLAGS,
        is_coded=True,
    ),
    "decimal": Row(
        naive.decimal,
        {"decimal": Decimal(), "decimal0": Decimal(0), "decimal7": Decimal(7)},
        lambda m: 32 + int(m.frame[0]) * m.dim,
        is_coded=True,  # sends a width instead of the 32 bits of a maximum
        is_random=True,
    ),
    "dense": Row(
        naive.dense,
        {"dense": Dense(), "dense64": Dense(64)},
        lambda m: m.codec.bits * m.dim,
    ),
    "piecewise": Row(
        naive.piecewise,
        {"piecewise": Piecewise((Sign(), TopK()), (0, 9, 23))},
        is_composed=True,
    ),
    "plane": Row(naive.plane, {"plane": Plane()}, lambda m: m.dim),
    "qtopk": Row(
        naive.qtopk,
        {
            "qtopk": QTopK(0.05),
            "qtopk-unscaled": QTopK(0.05, scaled=False),
            "qtopk-block": QTopK(0.3, bits=1, block=9),
        },
        lambda m: 32 * m.blocks + m.nonzeros * (m.codec.bits + 1 + m.width),
        extra_bits=HEADER + FLAGS,
        is_coded=True,
        is_random=True,
    ),
    "scaled": Row(naive.scaled, {"scaled": Scaled(Stochastic())}, is_composed=True),
    "sign": Row(
        naive.sign,
        {"sign": Sign(), "sign-block": Sign(block=7)},
        lambda m: m.dim + 32 * m.blocks,
        is_coded=True,  # sends no signs of zero blocks
    ),
    "signtopk": Row(
        naive.signtopk,
        {"signtopk": SignTopK(0.05), "signtopk-block": SignTopK(0.3, block=7)},
        lambda m: 32 * m.blocks + m.nonzeros * (1 + m.width),
        extra_bits=HEADER + FLAGS,
        is_coded=True,
    ),
    "sparse": Row(
        naive.sparse,
        {"sparse": Sparse(), "sparse64": Sparse(64)},
        lambda m: m.nonzeros * (m.codec.bits + m.width),
        extra_bits=HEADER,
        is_coded=True,
    ),
    "sparsesign": Row(
        naive.sparsesign,
        {"sparsesign": SparseSign(), "sparsesign-tenth": SparseSign(0.1)},
        lambda m: 32 + m.nonzeros * (1 + m.width),
        extra_bits=HEADER + FLAGS,
        is_coded=True,
        is_random=True,
    ),
    "stochastic": Row(
        naive.stochastic,
        {
            "stochastic": Stochastic(),
            "stochastic1": Stochastic(1),
            "stochastic16": Stochastic(16),
            "stochastic-max": Stochastic(7, "max"),
            "symmetric": Stochastic.symmetric(2),
        },
        lambda m: 32 + (0 if m.frame.size == 4 else (m.codec.bits + 1) * m.dim),
        is_random=True,
    ),
    "ternary": Row(
        naive.ternary,
        {
            "ternary": Ternary(),
            "ternary-block": Ternary(block=7),
            "ternary-clip": Ternary(2.5),
        },
        lambda m: 32 * m.blocks + (2 * m.dim if m.nonzeros else 0),
        is_coded=True,  # sends a trit in 1.6 bits
        is_random=True,
    ),
    "topk": Row(
        naive.topk,
        {
            "topk": TopK(0.05),
            "topk-half": TopK(0.5),
            "topk-block": TopK(0.2, block=7),
        },
        lambda m: m.nonzeros * (32 + m.width),
        extra_bits=HEADER,
        is_coded=True,
    ),
    "uniform": Row(
        naive.uniform,
        {
            "uniform": Uniform(),
            **{f"uniform{bits}": Uniform(bits) for bits in (1, 3, 12, 16)},
        },
        lambda m: 32 + (m.codec.bits * m.dim if m.nonzeros else 0),
    ),
    "wangni": Row(
        naive.wangni,
        {"wangni": Wangni(), "wangni-half": Wangni(0.5)},
        lambda m: m.nonzeros * (32 + m.width),
        extra_bits=HEADER,
        is_coded=True,
        is_random=True,
    ),
}
PLAIN = {id: row for id, row in ROWS.items() if not row.is_composed}
#: All codecs that are not made of others, by the names of their golden frames.
TABLE = {name: c for row in PLAIN.values() for name, c in row.instances.items()}
codecs_ = pytest.mark.parametrize("codec", TABLE.values(), ids=TABLE)

DTYPES = (np.float32, np.float64)
LENGTHS = (*range(18), 64, 65, 1000)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
VECTORS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "constant": lambda rng, n: np.full(n, -0.3),
    "sparse": lambda rng, n: rng.standard_normal(n) * (rng.random(n) < 0.05),
    "one-hot": lambda rng, n: np.where(np.arange(n) == n // 3, -2.5, 0.0),
    "zero": lambda rng, n: np.zeros(n),
    "minus-zero": lambda rng, n: -np.zeros(n),
    "huge": lambda rng, n: rng.standard_normal(n) * 1e35,
    "tiny": lambda rng, n: rng.standard_normal(n) * 1e-30,
    "wide": lambda rng, n: rng.standard_normal(n) * 10.0 ** rng.integers(-9, 9, n),
}
vectors = pytest.mark.parametrize("vector", VECTORS)


def draw(vector, n, dtype=np.float32, seed=0):
    """Return a vector of one kind of ``VECTORS``."""
    return VECTORS[vector](np.random.default_rng(seed), n).astype(dtype)


def draw_for(codec, vector, n, dtype=np.float32):
    """Return such a vector within the range of the codec that has an absolute grid."""
    x = draw(vector, n, dtype)
    return x.clip(-100, 100) if codec.id == "decimal" else x
