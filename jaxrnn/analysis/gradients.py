"""How much of a gradient is left after it has gone back through many steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, Params, PyTree
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_choice
from jaxrnn.learning.losses import check_sequence
from jaxrnn.loops import once, settle
from jaxrnn.solvers import sequential
from jaxrnn.steps import Steps
from jaxrnn.trajectory import trajectory
from jaxrnn.unroll import scan

__all__ = ["GradientNorms", "gradient_norms", "norm", "start", "vanishing_bound"]

SLOPES = {"tanh": 1.0, "relu": 1.0, "identity": 1.0, "sigmoid": 0.25}  # the greatest of each


class GradientNorms(NamedTuple):
    """Norms of the gradient of a loss at the last step; entry t is T − t steps away from it.

    Attributes:
      total: of the whole carry that step t begins with, ``(T, *batch)``.
      carry: of each leaf of that carry by itself, a pytree like the carry of ``(T, *batch)``.
      inputs: of the input of step t, ``(T, *batch)``.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> norms = jaxrnn.analysis.gradient_norms(jaxrnn.lstm, params, jax.numpy.ones((7, 2, 3)))
      >>> norms.carry.c.shape
      (7, 2)
    """

    total: Array
    carry: PyTree
    inputs: Array


def start(cell: Cell, params: Params, xs: Any, carry: Carry | None) -> tuple[Array, Any]:
    """The input as an array and the carry, both checked; at least one step."""
    xs, time, _ = check_sequence(cell, xs)
    if time == 0:
        raise ValueError(f"xs: expected at least one step, got shape {xs.shape} (T, *batch, D)")
    return xs, scan(cell, params, xs[:0], carry)[0]


def norm(leaf: Array, axes: int) -> Array:
    """Euclidean norms over all axes but the first so many.

    The squares are of numbers scaled to at most 1, as those of small gradients would vanish.
    """
    flat = leaf.reshape(*leaf.shape[:axes], -1).astype(wide(leaf.dtype))
    most = jnp.max(jnp.abs(flat), axis=-1, initial=0.0)
    scale = jnp.where((most > 0) & jnp.isfinite(most), most, 1)
    return most * jnp.linalg.norm(flat / scale[..., None], axis=-1)


def gradient_norms(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry | None = None,
    *,
    loss: Callable[[Any], Array] = jnp.sum,
) -> GradientNorms:
    r"""Norms of the gradient of a loss at the last step in every state and input before it.

    .. math:: \left\lVert \frac{\partial L(y_T)}{\partial s_t} \right\rVert_2, \quad
              \left\lVert \frac{\partial L(y_T)}{\partial x_{t+1}} \right\rVert_2,
              \qquad t = 0 \ldots T - 1

    The state s_t is what step t + 1 begins with, T − t steps away from the loss. One backward
    pass of the engine that `jaxrnn.scan` runs on gives them all, in time proportional to T:
    they are the gradients of zeros added to the states. A `jaxrnn.stack` counts as one cell,
    its state that of all its layers.

    Args:
      cell: a `Cell`.
      params: its parameters.
      xs: ``(T, *batch, D)``, T ≥ 1.
      carry: the initial carry s_0, zeros if None.
      loss: from the last output ``(*batch, H)`` to a number or one for each row, whose sum is
        differentiated; by default the sum of the output.

    Returns:
      `GradientNorms`, entry t of each array at a distance of T − t steps.

    Raises:
      TypeError: for something that is not a `Cell`, or a wrong dtype or structure.
      ValueError: for a wrong shape, or no steps.

    Source: Bengio, Simard and Frasconi (1994), Learning long-term dependencies with gradient
    descent is difficult.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> cell = jaxrnn.make_elman(activation="identity")
      >>> params = jaxrnn.ElmanParams(jnp.ones((1, 1)), jnp.array([[0.5]]), jnp.zeros(1))
      >>> jaxrnn.analysis.gradient_norms(cell, params, jnp.ones((4, 1))).total.tolist()
      [0.0625, 0.125, 0.25, 0.5]
    """
    xs, _, _ = check_sequence(cell, xs)
    return once(partial(_gradient_norms, cell, loss), params, xs, carry)


def _gradient_norms(
    cell: Cell, loss: Callable[[Any], Array], params: Params, xs: Array, carry: Carry | None
) -> GradientNorms:
    xs, carry = start(cell, params, xs, carry)
    time, axes = xs.shape[0], xs.ndim - 1
    first = jax.eval_shape(lambda *at: cell.advance(*at)[1], params, carry, xs[0])
    silence = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first)

    # The state and the last output are the carry of a cell whose update is a whole step.
    def update(params: Params, held: tuple[Carry, Any], z: PyTree) -> tuple[Carry, Any]:
        x, change = z
        carry, y = cell.advance(params, held[0], x)
        return jax.tree.map(jnp.add, carry, change), y

    perturbed = Cell(
        name=cell.name,
        init=cell.init,
        carry=lambda params, batch_shape=(): cell.carry(params, batch_shape),
        project=lambda params, xs: xs,
        recurrent=lambda params, held: None,
        update=update,
    )

    none = jax.tree.map(jnp.zeros_like, carry)
    carry, silence = settle(lambda s: update(params, s, (xs[0], none)), (carry, silence))

    def value(carry: Carry, changes: PyTree, xs: Array) -> Array:
        steps = Steps((xs, changes))
        (_, y), *_ = trajectory(
            perturbed, params, (carry, silence), None, steps, solver=sequential()
        )
        return jnp.sum(loss(y))

    def every(leaf: Array) -> Array:
        return jnp.broadcast_to(jnp.zeros_like(leaf), (time, *leaf.shape))

    zeros = jax.tree.map(every, carry)
    first, later, inputs = jax.grad(value, argnums=(0, 1, 2))(carry, zeros, xs)
    grads = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), first, later)
    each = jax.tree.map(lambda leaf: norm(leaf, axes), grads)
    total = norm(jnp.stack(jax.tree.leaves(each), axis=-1), axes)
    return GradientNorms(total, each, norm(inputs, axes))


def vanishing_bound(recurrent_kernel: Array, steps: int, *, activation: str = "tanh") -> Array:
    r"""The bound on how much of a gradient an Elman network can keep over k steps.

    .. math:: \left\lVert \frac{\partial s_{t+k}}{\partial s_t} \right\rVert_2 \le
              (\gamma \lVert R \rVert_2)^k, \qquad k = 0 \ldots \text{steps}

    with γ the greatest slope of the activation: 1/4 of the logistic, 1 of the others. Where
    γ‖R‖ < 1, gradients vanish; where it is above 1, they may explode, and need not.

    Args:
      recurrent_kernel: R, ``(H, H)``.
      steps: the greatest k.
      activation: ``"tanh"``, ``"relu"``, ``"identity"`` or ``"sigmoid"``.

    Returns:
      ``(steps + 1,)``, entry k the bound over k steps.

    Raises:
      ValueError: for an unknown activation, negative steps or a kernel that is not square.

    Source: Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural
    networks, arXiv:1211.5063.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> kernel = jnp.array([[0.0, 2.0], [1.0, 0.0]])
      >>> jaxrnn.analysis.vanishing_bound(kernel, 3, activation="sigmoid").tolist()
      [1.0, 0.5, 0.25, 0.125]
    """
    kernel = jnp.asarray(recurrent_kernel)
    check_choice("activation", activation, tuple(SLOPES))
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"recurrent_kernel: expected a square one (H, H), got {kernel.shape}")
    if steps < 0:
        raise ValueError(f"steps: expected at least 0, got {steps}")
    factor = SLOPES[activation] * jnp.linalg.norm(kernel.astype(wide(kernel.dtype)), 2)
    return factor ** jnp.arange(steps + 1, dtype=factor.dtype)
