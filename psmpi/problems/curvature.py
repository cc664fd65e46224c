"""The largest eigenvalue of X~^T X~, from above."""

from __future__ import annotations

from typing import Any

import numpy as np

from psmpi.problems.row_blocks import Blocks
from psmpi.random import LANCZOS, generator

_GRAM = 64  # up to this many columns the Gram matrix is formed and solved exactly
_SAFETY = 1.01
_PRODUCTS = 60


def largest(blocks: Blocks, features: int, dtype: np.dtype[Any]) -> float:
    """Return an upper bound on lambda_max(X~^T X~), X~ = [X, 1], within 1 % of it.

    Few features: exact, from the Gram matrix. Many: Lanczos from a random start, which
    converges from below, times 1.01. By Kuczynski and Wozniakowski (1992) the 1 % is
    missed with probability below 1.7 sqrt(n) exp(-0.2 k) after k >= 60 products, which
    is what is done at least; ||X~||_F^2, always a bound, caps the result.
    """
    total, gram = _trace(blocks, features, dtype)
    if gram is not None:
        top = float(np.linalg.eigvalsh(gram)[-1])
        return min(top * (1 + 1e-6), total)
    from scipy.sparse.linalg import LinearOperator, eigsh

    def product(v: Any) -> Any:
        weights = np.ravel(v).astype(dtype)
        out = np.zeros(features + 1)
        for _, block in blocks.walk(dtype):
            z = block @ weights[:-1] + weights[-1]
            out[:-1] += block.T @ z
            out[-1] += z.sum(dtype=np.float64)
        return out

    size = features + 1
    found = eigsh(
        LinearOperator((size, size), matvec=product, dtype=np.float64),
        k=1,
        which="LA",
        v0=generator(0, LANCZOS).standard_normal(size),
        ncv=min(_PRODUCTS, size),
        tol=1e-4,
        return_eigenvectors=False,
    )
    return min(_SAFETY * float(found[0]), total)


def _trace(blocks: Blocks, features: int, dtype: np.dtype[Any]) -> tuple[float, Any]:
    """Return ||X~||_F^2 (a bit rounded up), and X~^T X~ where that is small."""
    small = features < _GRAM
    gram = np.zeros((features + 1, features + 1))
    total = 0.0
    for _, block in blocks.walk(np.dtype(np.float64) if small else dtype):
        rows = block.shape[0]
        if small:
            product = block.T @ block
            sums = np.ravel(block.sum(axis=0))
            gram[:-1, :-1] += (
                product if isinstance(block, np.ndarray) else product.toarray()
            )
            gram[-1, :-1] += sums
            gram[:-1, -1] += sums
            gram[-1, -1] += rows
        values = block if isinstance(block, np.ndarray) else block.data
        total += float(np.sum(np.square(values), dtype=np.float64)) + rows
    return total * (1 + 1e-6), gram if small else None
