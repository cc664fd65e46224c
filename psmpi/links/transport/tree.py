"""The binomial broadcast tree: parents and children of nodes."""

from __future__ import annotations


def tree_parent(node: int, nodes: int) -> int | None:
    """Return the parent of ``node`` in the binomial tree of 0 .. nodes - 1.

    Node 0 is the root and has None. The parent is the node without its lowest set bit.

    >>> [tree_parent(node, 8) for node in range(8)]
    [None, 0, 0, 2, 0, 4, 4, 6]
    """
    _check(node, nodes)
    return node & (node - 1) if node else None


def tree_children(node: int, nodes: int) -> list[int]:
    """Return the children of ``node``, the one with the largest subtree first.

    >>> tree_children(0, 8), tree_children(4, 8), tree_children(4, 6)
    ([4, 2, 1], [6, 5], [5])
    """
    _check(node, nodes)
    limit = node & -node if node else 1 << (nodes - 1).bit_length()
    steps = [1 << bit for bit in range(limit.bit_length() - 1)]
    return [node + step for step in reversed(steps) if node + step < nodes]


def _check(node: int, nodes: int) -> None:
    if not 0 <= node < nodes:
        raise ValueError(f"node: must be in 0 .. {nodes - 1}, got {node}")
