"""The binomial tree reaches every node once, in few steps."""

import pytest

from psmpi.links.transport.tree import tree_children, tree_parent


@pytest.mark.parametrize("nodes", [*range(1, 18), 63, 64, 65])
def test_children_and_parents_agree(nodes):
    edges = {(tree_parent(n, nodes), n) for n in range(1, nodes)}
    assert edges == {(n, c) for n in range(nodes) for c in tree_children(n, nodes)}
    assert tree_parent(0, nodes) is None


@pytest.mark.parametrize("nodes", [*range(1, 18), 63, 64, 65])
def test_the_tree_is_binomial(nodes):
    """Each node sends to one child per step: after log2 steps all have the message."""
    has = {0: 0}
    for node in range(nodes):
        for step, child in enumerate(tree_children(node, nodes), start=1):
            has[child] = has[node] + step
    assert sorted(has) == list(range(nodes))
    assert max(has.values()) <= (nodes - 1).bit_length()


@pytest.mark.parametrize(("node", "nodes"), [(-1, 3), (3, 3), (0, 0)])
def test_a_node_outside_the_tree_is_rejected(node, nodes):
    with pytest.raises(ValueError, match="node"):
        tree_parent(node, nodes)
    with pytest.raises(ValueError, match="node"):
        tree_children(node, nodes)
