"""One instance of every codec and one of every kind of vector, for all codec tests."""

import numpy as np
import pytest

from psmpi.codecs import (
    AdaComp,
    Bernoulli,
    Decimal,
    Dense,
    Plane,
    QTopK,
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

DTYPES = (np.float32, np.float64)
LENGTHS = (*range(18), 64, 65, 1000)
TABLE = {
    "dense": Dense(),
    "dense64": Dense(64),
    "uniform1": Uniform(1),
    "uniform3": Uniform(3),
    "uniform": Uniform(),
    "uniform12": Uniform(12),
    "uniform16": Uniform(16),
    "stochastic": Stochastic(),
    "stochastic1": Stochastic(1),
    "stochastic16": Stochastic(16),
    "stochastic-max": Stochastic(7, "max"),
    "symmetric": Stochastic.symmetric(2),
    "decimal": Decimal(),
    "decimal0": Decimal(0),
    "decimal7": Decimal(7),
    "plane": Plane(),
    "sign": Sign(),
    "sign-block": Sign(block=7),
    "ternary": Ternary(),
    "ternary-block": Ternary(block=7),
    "ternary-clip": Ternary(2.5),
    "topk": TopK(0.05),
    "topk-half": TopK(0.5),
    "topk-block": TopK(0.2, block=7),
    "sparse": Sparse(),
    "sparse64": Sparse(64),
    "signtopk": SignTopK(0.05),
    "signtopk-block": SignTopK(0.3, block=7),
    "qtopk": QTopK(0.05),
    "qtopk-unscaled": QTopK(0.05, scaled=False),
    "qtopk-block": QTopK(0.3, bits=1, block=9),
    "adacomp": AdaComp(),
    "adacomp-block": AdaComp(5, block=17),
    "bernoulli": Bernoulli(),
    "bernoulli-few": Bernoulli(0.07),
    "wangni": Wangni(),
    "wangni-half": Wangni(0.5),
    "sparsesign": SparseSign(),
    "sparsesign-tenth": SparseSign(0.1),
}
# Bits of a frame beyond the paper's and beyond seven of padding: a key, or a header.
EXTRA = {"bernoulli": 64, "topk": 48, "sparse": 48, "wangni": 48}
EXTRA |= dict.fromkeys(("signtopk", "qtopk", "adacomp", "sparsesign"), 48 + 2 * 7)
# Indices in fewer bits than the paper; no signs of zero blocks; trits in 1.6 bits; a
# width in place of a maximum.
CODED = EXTRA.keys() - {"bernoulli"} | {"sign", "ternary", "decimal"}
RANDOM_IDS = (
    "bernoulli", "decimal", "qtopk", "sparsesign", "stochastic", "ternary", "wangni"
)  # fmt: skip

codecs_ = pytest.mark.parametrize("codec", TABLE.values(), ids=TABLE)
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
    return VECTORS[vector](np.random.default_rng(seed), n).astype(dtype)


def draw_for(codec, vector, n, dtype=np.float32):
    """The same within the range of the one codec that has an absolute grid."""
    x = draw(vector, n, dtype)
    return x.clip(-100, 100) if codec.id == "decimal" else x
