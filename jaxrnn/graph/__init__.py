"""Recurrence over graphs: neighbourhoods read by one cell per level, and trees.

Lists of any length are padded once, outside of compiled code, by `from_edges`, `from_lists`,
`from_parents` and `make_tree`; what they give are arrays of a fixed shape. Graphs are batched
as one graph that is their disjoint union, or with `jax.vmap` where their shapes are equal.

>>> import jax, jaxrnn
>>> from jaxrnn import graph
>>> friends = graph.from_lists({0: [1, 2], 1: [0], 2: [0, 1, 3]}, nodes=4)
>>> nodes = jax.random.normal(jax.random.key(0), (4, 3))
>>> params = graph.neighbourhood_init(jax.random.key(1), 3, (6, 5))
>>> graph.neighbourhood(params, friends, nodes[friends.children]).shape
(4, 6)
>>> sentence = graph.make_tree([2, 2, -1, 2])
>>> params = jaxrnn.lstm.init(jax.random.key(2), 3, 5)
>>> graph.tree_scan(params, nodes, sentence).h.shape
(4, 5)
"""

from jaxrnn.graph.levels import neighbourhood, neighbourhood_init
from jaxrnn.graph.structure import (
    Neighbours,
    Tree,
    from_edges,
    from_lists,
    from_parents,
    make_tree,
    parents_of,
    union,
)
from jaxrnn.graph.tree import tree_scan, tree_step

__all__ = [
    "Neighbours",
    "Tree",
    "from_edges",
    "from_lists",
    "from_parents",
    "make_tree",
    "neighbourhood",
    "neighbourhood_init",
    "parents_of",
    "tree_scan",
    "tree_step",
    "union",
]
