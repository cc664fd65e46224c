"""Upper bounds on the largest eigenvalue of X~^T X~, with X~ = [X, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psmpi.problems.row_blocks import Blocks
from psmpi.random import LANCZOS, generator

_GRAM = 64  # below this many features, eigenvalues of the Gram matrix are computed
_SAFETY = 1.01
_PRODUCTS = 60


def largest(blocks: Blocks, features: int, dtype: np.dtype[Any]) -> float:
    """Return an upper bound on lambda_max(X~^T X~), within 1 % of it.

    With few features it is exact, from the Gram matrix. With many it comes from
    Lanczos iterations with a random start, which converge from below, times 1.01. By
    Kuczynski and Wozniakowski (1992), k products with the matrix miss the 1 % with
    probability below 1.7 sqrt(n) exp(-0.2 k); at least 60 products are done. The bound
    ||X~||_F^2, which always holds, caps the result.
    """
    if features < _GRAM:
        matrix = gram(blocks, features)
        top = float(np.linalg.eigvalsh(matrix)[-1])
        return min(top, float(np.trace(matrix))) * (1 + 1e-6)
    total = _frobenius(blocks, dtype) * (1 + 1e-6)
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
    top_value = eigsh(
        LinearOperator((size, size), matvec=product, dtype=np.float64),
        k=1,
        which="LA",
        v0=generator(0, LANCZOS).standard_normal(size),
        ncv=min(_PRODUCTS, size),
        tol=1e-4,
        return_eigenvectors=False,
    )
    return min(_SAFETY * float(top_value[0]), total)


def gram(blocks: Blocks, features: int) -> NDArray[np.float64]:
    """Return X~^T X~ in float64, shape (features + 1, features + 1)."""
    matrix = np.zeros((features + 1, features + 1))
    for _, block in blocks.walk(np.dtype(np.float64)):
        product = block.T @ block
        sums = np.ravel(block.sum(axis=0))
        matrix[:-1, :-1] += (
            product if isinstance(block, np.ndarray) else product.toarray()
        )
        matrix[-1, :-1] += sums
        matrix[:-1, -1] += sums
        matrix[-1, -1] += block.shape[0]
    return matrix


def _frobenius(blocks: Blocks, dtype: np.dtype[Any]) -> float:
    """Return ||X~||_F^2."""
    total = 0.0
    for _, block in blocks.walk(dtype):
        values = block if isinstance(block, np.ndarray) else block.data
        total += float(np.sum(np.square(values), dtype=np.float64)) + block.shape[0]
    return total
