"""The child-sum Tree-LSTM."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxrnn import checks
from jaxrnn.base import Array
from jaxrnn.cells import LSTMCarry, LSTMParams, lstm
from jaxrnn.cells.blocks import gates, linear, wide
from jaxrnn.checks import check_params
from jaxrnn.graph.structure import Tree
from jaxrnn.loops import once

__all__ = ["tree_scan", "tree_step"]


def _split(kernel: Array) -> tuple[Array, Array]:
    """The block f, and the blocks i, g, o together."""
    size = kernel.shape[-1] // 4
    i, f, rest = jnp.split(kernel, (size, 2 * size), axis=-1)
    return f, jnp.concatenate([i, rest], axis=-1)


def _kept(z_f: Array, recurrent: Array, child: LSTMCarry) -> Array:
    """What a node keeps of a child: f ⊙ c."""
    (f,) = gates(z_f + linear(child.h, recurrent), "s")
    return f * child.c


def _node(z: Array, recurrent: Array, h: Array, kept: Array) -> LSTMCarry:
    """A node from the sums over its children of h and of what is kept of c."""
    i, g, o = gates(z + linear(h, recurrent), "sts")
    c = i * g + kept
    return LSTMCarry((o * jnp.tanh(c)).astype(h.dtype), c)


def tree_step(params: LSTMParams, children: LSTMCarry, x: Array) -> LSTMCarry:
    r"""One node of a child-sum Tree-LSTM.

    .. math::
        \tilde h &= \textstyle\sum_k h_k \\
        i, o &= \sigma(W_{i,o}\, x + R_{i,o}\, \tilde h + b_{i,o}) \\
        g &= \tanh(W_g x + R_g \tilde h + b_g) \\
        f_k &= \sigma(W_f x + R_f h_k + b_f) \\
        c &= i \odot g + \textstyle\sum_k f_k \odot c_k \\
        h &= o \odot \tanh(c)

    With one child it is `jaxrnn.lstm.step`.

    Args:
      params: `jaxrnn.LSTMParams`, from ``jaxrnn.lstm.init``.
      children: the states of the K children, leaves ``(K, *batch, H)``; K may be 0.
      x: ``(*batch, D)``.

    Returns:
      The state of the node, leaves ``(*batch, H)``.

    Raises:
      TypeError: for parameters or children of another structure or dtype.
      ValueError: for wrong shapes.

    Source: Tai, Socher and Manning (2015), Improved semantic representations from
    tree-structured long short-term memory networks, arXiv:1503.00075.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn import graph
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> children = jaxrnn.lstm.carry(params, (2,))
      >>> graph.tree_step(params, children, jax.numpy.ones(3)).h.shape
      (5,)
    """
    x = checks.check_floating("x", x)
    check_params(lstm, params, x)
    count = len(children.h) if np.ndim(children.h) else 0
    expected = jax.eval_shape(lambda p: lstm.carry(p, (count, *x.shape[:-1])), params)
    why = f"(K, *batch, H) with *batch of x {x.shape}"
    checks.check_matches("children", LSTMCarry(*children), expected, why)
    z_f, z = _split(linear(x, params.input_kernel, params.bias))
    r_f, r = _split(params.recurrent_kernel)
    kept = _kept(z_f, r_f, children).sum(0)
    return _node(z, r, children.h.sum(0), kept)


def tree_scan(params: LSTMParams, xs: Array, tree: Tree) -> LSTMCarry:
    r"""A child-sum Tree-LSTM over a tree or forest: `tree_step` from the leaves to the roots.

    It is this loop, with the nodes of one step of the plan in parallel::

        for v in order:  # children before parents
            children = [states[u] for u in range(n) if tree.parents[u] == v]
            states[v] = tree_step(params, children, xs[v])

    The input product is one for all nodes. A node hands its parent h and f ⊙ c, so children
    are never gathered: a step costs its width, however many children its nodes have, and
    reverse mode keeps steps × width states.

    Args:
      params: `jaxrnn.LSTMParams`, from ``jaxrnn.lstm.init``.
      xs: ``(n, *batch, D)``; all rows of a batch share the tree. Different trees are one
        forest, or `jax.vmap` over trees padded alike.
      tree: a `Tree` of `make_tree`. Indices out of range are an error where they are concrete;
        where they are traced the plan is trusted, and what is out of range is dropped.

    Returns:
      The states of all nodes, leaves ``(n, *batch, H)``; zero where the plan has no such node,
      whose input, NaN included, reaches nothing. Those of the roots are at
      ``tree.parents == -1``.

    Raises:
      TypeError: for wrong dtypes or parameters.
      ValueError: for shapes that do not fit each other, indices out of range, or a node that
        is planned twice, or not before its parent.

    Source: Tai, Socher and Manning (2015), Improved semantic representations from
    tree-structured long short-term memory networks, arXiv:1503.00075.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn import graph
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> chain = graph.make_tree([1, 2, 3, -1])
      >>> xs = jax.random.normal(jax.random.key(1), (4, 3))
      >>> states = graph.tree_scan(params, xs, chain)
      >>> bool(jax.numpy.allclose(states.h, jaxrnn.lstm_scan(params, xs)[1], atol=1e-6))
      True
    """
    xs = checks.check_floating("xs", xs)
    if xs.ndim < 2:
        raise ValueError(f"xs: expected (n, *batch, D), at least two axes, got shape {xs.shape}")
    parents, plan = _check_tree(tree, len(xs))
    check_params(lstm, params, xs)
    return once(_tree_scan, params, xs, parents, plan)


def _tree_scan(params: LSTMParams, xs: Array, parents: Array, plan: Array) -> LSTMCarry:
    nodes, batch = len(xs), xs.shape[1:-1]

    # Index n is nowhere: what is read there is zero, what is written there is dropped.
    def read(leaf: Array, at: Array) -> Array:
        return leaf.at[at].get(mode="fill", fill_value=0)

    places = (
        jnp.full(nodes, plan.size)
        .at[plan]
        .set(jnp.arange(plan.size).reshape(plan.shape), mode="drop")
    )
    planned = (places < plan.size).reshape(nodes, *[1] * (xs.ndim - 1))
    zx = linear(jnp.where(planned, xs, 0), params.input_kernel, params.bias)
    z_f, z = _split(zx)
    r_f, r = _split(params.recurrent_kernel)
    above = jnp.where(plan < nodes, read(parents, plan), nodes)

    def body(sums: tuple[Array, Array], step: tuple[Array, ...]) -> tuple[Any, LSTMCarry]:
        at, above, z, z_f = step
        h, kept = (read(leaf, at) for leaf in sums)
        state = _node(z, r, h.astype(xs.dtype), kept)
        given = (state.h.astype(kept.dtype), _kept(z_f, r_f, state))
        return tuple(
            s.at[above].add(g, mode="drop") for s, g in zip(sums, given, strict=True)
        ), state

    shape = (nodes, *batch, params.recurrent_kernel.shape[0])
    sums = (jnp.zeros(shape, wide(xs.dtype)),) * 2
    _, states = lax.scan(body, sums, (plan, above, read(z, plan), read(z_f, above)))
    flat = jax.tree.map(lambda leaf: leaf.reshape(plan.size, *leaf.shape[2:]), states)
    return jax.tree.map(lambda leaf: read(leaf, places), flat)


def _check_tree(tree: Tree, nodes: int) -> tuple[Array, Array]:
    """Parents and plan with n, which is nowhere, in place of -1."""
    parents, plan = tree
    concrete = not any(isinstance(leaf, Tracer) for leaf in tree)
    for argument, leaf, ndim in (("tree.parents", parents, 1), ("tree.plan", plan, 2)):
        if np.ndim(leaf) != ndim or (ndim == 1 and len(leaf) != nodes):
            shape = "(steps, width)" if ndim == 2 else f"({nodes},) as xs has nodes"
            raise ValueError(f"{argument}: expected shape {shape}, got {np.shape(leaf)}")
        if not jnp.issubdtype(leaf.dtype, jnp.integer):
            raise TypeError(f"{argument}: expected integers, got dtype {leaf.dtype}")
        if concrete and leaf.size and (leaf.min() < -1 or leaf.max() >= nodes):
            raise ValueError(
                f"{argument}: expected node indices in -1..{nodes - 1}, got a minimum of "
                f"{leaf.min()} and a maximum of {leaf.max()}"
            )
    if concrete:
        _check_plan(np.asarray(parents), np.asarray(plan))
    outside = lambda leaf: jnp.where(leaf < 0, nodes, jnp.asarray(leaf, jnp.int32))  # noqa: E731
    return outside(parents), outside(plan)


def _check_plan(parents: np.ndarray, plan: np.ndarray) -> None:
    steps, slots = np.nonzero(plan >= 0)
    planned = plan[steps, slots]
    counts = np.bincount(planned, minlength=len(parents))
    if (counts > 1).any():
        raise ValueError(f"tree.plan: expected each node once, got node {counts.argmax()} twice")
    when = np.full(len(parents) + 1, -1)
    when[planned] = steps
    when[-1] = len(plan)  # a root has no parent to be late for
    late = planned[when[parents[planned]] <= when[planned]]
    if late.size:
        raise ValueError(
            f"tree.plan: expected children before parents, got node {late[0]} in step "
            f"{when[late[0]]} and its parent {parents[late[0]]} in step {when[parents[late[0]]]}"
        )
