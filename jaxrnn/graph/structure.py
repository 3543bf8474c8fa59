"""Graphs and trees as padded arrays, made with numpy outside of compiled code."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.base import Array
from jaxrnn.checks import check_positive

__all__ = [
    "Neighbours",
    "Tree",
    "from_edges",
    "from_lists",
    "from_parents",
    "make_tree",
    "parents_of",
    "union",
]


class Neighbours(NamedTuple):
    """The ordered children of every node, padded to K.

    Attributes:
      children: integers ``(n, K)``, node indices; anything in range past the length.
      lengths: integers ``(n,)``, how many children each node has.
      edges: integers ``(n, K)``, where each edge stood in the list that was given, to order
        edge features by: ``features[neighbours.edges]``; None if not known.

    Example:
      >>> from jaxrnn import graph
      >>> graph.from_lists([[1, 2], [0], []]).children.tolist()
      [[1, 2], [0, 0], [0, 0]]
    """

    children: Array | np.ndarray
    lengths: Array | np.ndarray
    edges: Array | np.ndarray | None = None


class Tree(NamedTuple):
    """A tree, or forest, and the order in which its nodes are computed.

    Attributes:
      parents: integers ``(n,)``, -1 for a root.
      plan: integers ``(steps, width)``, the nodes of every step, children before their
        parents; -1 fills up.

    Example:
      >>> from jaxrnn import graph
      >>> graph.make_tree([2, 2, -1]).plan.tolist()
      [[0, 1], [2, -1]]
    """

    parents: Array | np.ndarray
    plan: Array | np.ndarray


def _indices(argument: str, values: Any, low: int, high: int) -> np.ndarray:
    values = np.asarray(values)
    if values.size == 0:
        return values.astype(np.int32)
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{argument}: expected integers, got dtype {values.dtype}")
    if values.min() < low or values.max() > high:
        raise ValueError(
            f"{argument}: expected node indices in {low}..{high}, got a minimum of "
            f"{values.min()} and a maximum of {values.max()}"
        )
    return values.astype(np.int32)


def from_edges(edges: Any, nodes: int, *, width: int | None = None) -> Neighbours:
    """Neighbours from a list of edges; a node's children keep the order of the list.

    Args:
      edges: integers ``(E, 2)``, pairs of a node and its child.
      nodes: n; more than the edges name gives nodes without children.
      width: K, the most children of any node (at least 1) if None.

    Returns:
      `Neighbours` of numpy arrays.

    Raises:
      TypeError: for indices that are not integers.
      ValueError: for a wrong shape, indices outside 0..n-1, or a node with more than `width`
        children.

    Example:
      >>> from jaxrnn import graph
      >>> neighbours = graph.from_edges([(0, 1), (2, 0), (0, 2)], 3)
      >>> neighbours.children[0].tolist(), neighbours.edges[0].tolist()
      ([1, 2], [0, 2])
    """
    check_positive("nodes", nodes)
    edges = _indices("edges", edges, 0, nodes - 1)
    edges = edges.reshape(0, 2) if edges.size == 0 else edges
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"edges: expected pairs (E, 2), got shape {edges.shape}")
    lengths = np.bincount(edges[:, 0], minlength=nodes).astype(np.int32)
    most = int(lengths.max())
    width = max(1, most) if width is None else width
    check_positive("width", width)
    if most > width:
        raise ValueError(
            f"width: expected at least {most}, the number of children of node "
            f"{lengths.argmax()}, got {width}"
        )
    order = np.argsort(edges[:, 0], kind="stable")
    rows = edges[order, 0]
    columns = np.arange(len(order)) - (np.cumsum(lengths) - lengths)[rows]
    children, places = np.zeros((2, nodes, width), np.int32)
    children[rows, columns] = edges[order, 1]
    places[rows, columns] = order
    return Neighbours(children, lengths, places)


def from_lists(
    lists: Mapping[int, Sequence[int]] | Sequence[Sequence[int]],
    *,
    nodes: int | None = None,
    width: int | None = None,
) -> Neighbours:
    """Neighbours from the children of each node: a dict by node, or a list of lists.

    Edges are numbered as they come.

    Args:
      lists: the children of each node; a node that a dict leaves out has none.
      nodes: n; if None the number of lists, or one more than the largest index in a dict.
      width: K, the most children of any node (at least 1) if None.

    Returns:
      `Neighbours` of numpy arrays.

    Raises:
      TypeError, ValueError: as `from_edges` does.

    Example:
      >>> from jaxrnn import graph
      >>> graph.from_lists({2: [0, 1]}).lengths.tolist()
      [0, 0, 2]
    """
    mapping = isinstance(lists, Mapping)
    items = lists.items() if mapping else enumerate(lists)
    edges = [(node, child) for node, children in items for child in children]
    if nodes is None:
        named = (*lists, *(child for _, child in edges)) if mapping else ()
        nodes = 1 + max(named, default=-1) if mapping else len(lists)
    return from_edges(edges, nodes, width=width)


def from_parents(parents: Any, *, width: int | None = None) -> Neighbours:
    """Neighbours from the parent of each node: its children in order of their index.

    Args:
      parents: integers ``(n,)``, -1 for a root.
      width: K, the most children of any node (at least 1) if None.

    Returns:
      `Neighbours` of numpy arrays; the edge of a child is numbered among the non-roots.

    Raises:
      TypeError: for indices that are not integers.
      ValueError: for a wrong shape, or indices outside -1..n-1.

    Example:
      >>> from jaxrnn import graph
      >>> graph.from_parents([2, 2, -1]).children[2].tolist()
      [0, 1]
    """
    parents = _check_parents(parents)
    children = np.flatnonzero(parents >= 0)
    return from_edges(np.stack([parents[children], children], axis=1), len(parents), width=width)


def _check_parents(parents: Any) -> np.ndarray:
    parents = np.asarray(parents)
    if parents.ndim != 1 or not parents.size:
        raise ValueError(f"parents: expected shape (n,), n >= 1, got {parents.shape}")
    return _indices("parents", parents, -1, len(parents) - 1)


def parents_of(neighbours: Neighbours) -> np.ndarray:
    """The parent of each node of a forest that is given by its children.

    Args:
      neighbours: concrete arrays.

    Returns:
      Integers ``(n,)``, -1 for a root, as `make_tree` takes them.

    Raises:
      ValueError: if a node is the child of two, or an index is out of range.

    Example:
      >>> from jaxrnn import graph
      >>> graph.parents_of(graph.from_lists({2: [0, 1]})).tolist()
      [2, 2, -1]
    """
    children, lengths = np.asarray(neighbours.children), np.asarray(neighbours.lengths)
    valid = np.arange(children.shape[1]) < lengths[:, None]
    nodes, child = np.nonzero(valid)[0], _indices("children", children[valid], 0, len(children) - 1)
    counts = np.bincount(child, minlength=len(children))
    if (counts > 1).any():
        twice = int(counts.argmax())
        raise ValueError(
            f"neighbours: expected a forest, got node {twice} as the child of nodes "
            f"{nodes[child == twice].tolist()}"
        )
    parents = np.full(len(children), -1, np.int32)
    parents[child] = nodes
    return parents


def union(*graphs: Neighbours) -> Neighbours:
    """The disjoint union: one graph, the nodes of each numbered after those of the one before.

    Args:
      *graphs: `Neighbours` of concrete arrays.

    Returns:
      `Neighbours` of numpy arrays; edges are numbered on from graph to graph.

    Raises:
      ValueError: for no graph.

    Example:
      >>> from jaxrnn import graph
      >>> one = graph.from_lists([[1], []])
      >>> graph.union(one, one).children[2].tolist()
      [3]
    """
    if not graphs:
        raise ValueError("graphs: expected at least one, got none")
    width = max(each.children.shape[1] for each in graphs)
    known = all(each.edges is not None for each in graphs)
    parts, node, edge = [], 0, 0
    for each in graphs:
        lengths = np.asarray(each.lengths)
        valid = np.arange(width) < lengths[:, None]

        def moved(indices: Any, offset: int, valid: np.ndarray = valid) -> np.ndarray:
            padded = np.pad(indices, ((0, 0), (0, width - indices.shape[1])))
            return np.where(valid, padded + offset, 0).astype(np.int32)

        edges = moved(each.edges, edge) if known else None
        parts.append(Neighbours(moved(each.children, node), lengths, edges))
        node, edge = node + len(lengths), edge + int(lengths.sum())
    joined = [np.concatenate(part) for part in zip(*parts, strict=True) if part[0] is not None]
    return Neighbours(*joined)


def make_tree(
    *parents: Any,
    nodes: int | None = None,
    steps: int | None = None,
    width: int | None = None,
) -> Tree:
    """A tree or forest, from the parent of each node, with a plan of its computation.

    Every step computes up to `width` nodes whose children are done, those farthest from their
    root first, which for a forest needs the fewest steps (Hu, 1961), never more than
    levels + n / width. The default width, n / levels, takes at most twice as many steps as
    there are levels, and its slots are about twice as many as the nodes at most.

    Args:
      *parents: integers ``(n,)``, -1 for a root; several forests are joined, the nodes of each
        numbered after those of the one before.
      nodes: pad to so many nodes; those added are computed by no step.
      steps: pad to so many steps.
      width: nodes per step; as large as the widest level, the steps are the levels.

    Returns:
      A `Tree` of numpy arrays.

    Raises:
      TypeError: for indices that are not integers.
      ValueError: for no nodes, indices outside -1..n-1, a cycle, or fewer nodes or steps than
        needed.

    Source: Hu (1961), Parallel sequencing and assembly line problems.

    Example:
      >>> from jaxrnn import graph
      >>> graph.make_tree([1, -1], [1, 2, -1], width=2).plan.tolist()
      [[2, 0], [3, 1], [4, -1]]
    """
    if not parents:
        raise ValueError("parents: expected at least one array, got none")
    offset, joined = 0, []
    for each in map(_check_parents, parents):
        joined.append(np.where(each < 0, -1, each + offset))
        offset += len(each)
    up = np.concatenate(joined).tolist()
    count = len(up)
    depth, levels = _depths(up)
    width = -(-count // levels) if width is None else width
    check_positive("width", width)
    plan = np.array(_schedule(up, depth, width), np.int32)
    nodes, steps = count if nodes is None else nodes, len(plan) if steps is None else steps
    for argument, least, got in (("nodes", count, nodes), ("steps", len(plan), steps)):
        if got < least:
            raise ValueError(f"{argument}: expected at least {least}, got {got}")
    return Tree(
        np.pad(np.array(up, np.int32), (0, nodes - count), constant_values=-1),
        np.pad(plan, ((0, steps - len(plan)), (0, 0)), constant_values=-1),
    )


def _count_children(up: list[int]) -> list[int]:
    counts = [0] * len(up)
    for node in up:
        if node >= 0:
            counts[node] += 1
    return counts


def _depths(up: list[int]) -> tuple[list[int], int]:
    """The distance of each node from its root, and the number of levels."""
    waiting = _count_children(up)
    order = [node for node, count in enumerate(waiting) if not count]
    for node in order:  # grows while it is read
        if up[node] >= 0:
            waiting[up[node]] -= 1
            if not waiting[up[node]]:
                order.append(up[node])
    if len(order) < len(up):
        cycle = [node for node, count in enumerate(waiting) if count]
        raise ValueError(f"parents: expected a forest, got a cycle of nodes {cycle}")
    depth = [0] * len(up)
    for node in reversed(order):
        if up[node] >= 0:
            depth[node] = depth[up[node]] + 1
    return depth, 1 + max(depth)


def _schedule(up: list[int], depth: list[int], width: int) -> list[list[int]]:
    waiting = _count_children(up)
    ready = [(-depth[node], node) for node, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    plan = []
    while ready:
        now = [heapq.heappop(ready)[1] for _ in range(min(width, len(ready)))]
        for node in now:
            if up[node] >= 0:
                waiting[up[node]] -= 1
                if not waiting[up[node]]:
                    heapq.heappush(ready, (-depth[up[node]], up[node]))
        plan.append(now + [-1] * (width - len(now)))
    return plan
