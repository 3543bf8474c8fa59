"""The classics by function: `jaxrnn.scan` and the records' fields with the cell fixed.

``lstm_init``, ``lstm_carry``, ``lstm_step``, ``lstm_scan``, and so on for `gru` and `elman`.

>>> import jax, jaxrnn
>>> params = jaxrnn.lstm_init(jax.random.key(0), 3, 5)
>>> carry, y = jaxrnn.lstm_step(params, jaxrnn.lstm_carry(params), jax.numpy.ones(3))
>>> carry, ys = jaxrnn.lstm_scan(params, jax.numpy.ones((7, 3)), carry)
>>> ys.shape
(7, 5)
"""

from __future__ import annotations

from typing import Any, Literal, overload

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, ArrayLike, DType
from jaxrnn.cells import ElmanParams, GRUParams, LSTMCarry, LSTMParams, elman, gru, lstm
from jaxrnn.solvers import Solver
from jaxrnn.unroll import scan

__all__ = [
    "elman_carry",
    "elman_init",
    "elman_scan",
    "elman_step",
    "gru_carry",
    "gru_init",
    "gru_scan",
    "gru_step",
    "lstm_carry",
    "lstm_init",
    "lstm_scan",
    "lstm_step",
]


def lstm_init(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DType = jnp.float32,
    kernel_init: initializers.Initializer = initializers.glorot,
    recurrent_init: initializers.Initializer = initializers.orthogonal,
    bias_init: initializers.Initializer = initializers.zeros,
    forget_bias: float | None = None,
    use_bias: bool = True,
) -> LSTMParams:
    """Parameters of an LSTM, drawn.

    Args:
      key: a PRNG key.
      input_size: D.
      hidden_size: H.
      dtype: of the parameters.
      kernel_init: initialiser of W, called once per gate.
      recurrent_init: initialiser of R, alike.
      bias_init: initialiser of the biases, alike.
      forget_bias: added to the bias of the forget gate; 1, or 0 without a bias.
      use_bias: False for a cell without biases.

    Returns:
      `LSTMParams`.

    Raises:
      TypeError: for a size that is not an int.
      ValueError: for a size below 1.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.lstm_init(jax.random.key(0), 3, 5).recurrent_kernel.shape
      (5, 20)
    """
    return lstm.init(
        key,
        input_size,
        hidden_size,
        dtype=dtype,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        bias_init=bias_init,
        forget_bias=forget_bias,
        use_bias=use_bias,
    )


def lstm_carry(params: LSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
    """The state of an LSTM before a sequence: zeros.

    Args:
      params: `LSTMParams`, for the size and the dtype.
      batch_shape: the batch axes.

    Returns:
      `LSTMCarry`.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm_init(jax.random.key(0), 3, 5)
      >>> carry = jaxrnn.lstm_carry(params, (2,))
      >>> carry.h.shape
      (2, 5)
    """
    return lstm.carry(params, batch_shape)


def lstm_step(
    params: LSTMParams,
    carry: LSTMCarry | tuple[ArrayLike, ArrayLike],
    x: ArrayLike,
    *,
    reset: ArrayLike | None = None,
    reset_carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
) -> tuple[LSTMCarry, Array]:
    """One time step of an LSTM.

    Args:
      params: `LSTMParams`.
      carry: the state before the step, an `LSTMCarry`, or ``(h, c)``.
      x: ``(*batch, D)``.
      reset: booleans ``(*batch,)``: True says that a new sequence begins with this step.
      reset_carry: what it begins from, zeros if None.

    Returns:
      ``(carry, y)``, y ``(*batch, H)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm_init(jax.random.key(0), 3, 5)
      >>> carry, y = jaxrnn.lstm_step(params, jaxrnn.lstm_carry(params), jax.numpy.ones(3))
      >>> bool((carry.h == y).all())
      True
    """
    return lstm.step(params, carry, x, reset=reset, reset_carry=reset_carry)


@overload
def lstm_scan(
    params: LSTMParams,
    xs: ArrayLike,
    carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: Literal[False] = False,
    return_status: Literal[False] = False,
    solver: Solver | None = None,
    guess: LSTMCarry | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[LSTMCarry, Array]: ...


@overload
def lstm_scan(
    params: LSTMParams,
    xs: ArrayLike,
    carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: Literal[True],
    return_status: Literal[False] = False,
    solver: Solver | None = None,
    guess: LSTMCarry | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[LSTMCarry, Array, LSTMCarry]: ...


@overload
def lstm_scan(
    params: LSTMParams,
    xs: ArrayLike,
    carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    return_status: Literal[True],
    solver: Solver | None = None,
    guess: LSTMCarry | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[Any, ...]: ...


def lstm_scan(
    params: LSTMParams,
    xs: ArrayLike,
    carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: LSTMCarry | tuple[ArrayLike, ArrayLike] | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    return_status: bool = False,
    solver: Solver | None = None,
    guess: LSTMCarry | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> Any:
    """`jaxrnn.scan` of `jaxrnn.lstm`: an LSTM over a sequence.

    Args:
      params: `LSTMParams`.
      xs: ``(T, *batch, D)``.
      carry: an `LSTMCarry`, or ``(h, c)``; zeros if None.
      lengths: integers ``(*batch,)`` in 0..T: steps past a row's length are skipped.
      mask: booleans ``(T, *batch)``: False skips the step.
      reset: booleans ``(T, *batch)``: True says that a new sequence begins with that step.
      reset_carry: what it begins from, zeros if None.
      gaps: outputs of skipped steps, ``"zero"``, or ``"hold"`` for the last valid one.
      reverse: run from the last step to the first.
      key: a PRNG key, of no use to a cell without noise.
      start: the absolute time of ``xs[0]``.
      return_carries: also return the carry after every step.
      return_status: also return, last, how the solver fared.
      solver: who solves for the carries, `jaxrnn.sequential` if None.
      guess: carries that the solution may be near, for `jaxrnn.newton`.
      chunk: steps per chunk, chosen if None.
      unroll: steps per loop iteration.

    Returns:
      ``(carry, ys)``, ys ``(T, *batch, H)``; with `return_carries`, ``(carry, ys, carries)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape, or lengths outside 0..T.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm_init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.lstm_scan(params, jax.numpy.ones((7, 2, 3)))
      >>> bool((carry.h == ys[-1]).all())
      True
    """
    return scan(
        lstm,
        params,
        xs,
        carry,
        lengths=lengths,
        mask=mask,
        reset=reset,
        reset_carry=reset_carry,
        gaps=gaps,
        reverse=reverse,
        key=key,
        start=start,
        return_carries=return_carries,
        return_status=return_status,
        solver=solver,
        guess=guess,
        chunk=chunk,
        unroll=unroll,
    )


def gru_init(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DType = jnp.float32,
    kernel_init: initializers.Initializer = initializers.glorot,
    recurrent_init: initializers.Initializer = initializers.orthogonal,
    bias_init: initializers.Initializer = initializers.zeros,
    reset_bias: float = 0.0,
    use_bias: bool = True,
) -> GRUParams:
    """Parameters of a GRU (reset after the product), drawn.

    Args:
      key: a PRNG key.
      input_size: D.
      hidden_size: H.
      dtype: of the parameters.
      kernel_init: initialiser of W, called once per gate.
      recurrent_init: initialiser of R, alike.
      bias_init: initialiser of the biases, alike.
      reset_bias: added to the bias of the reset gate.
      use_bias: False for a cell without biases.

    Returns:
      `GRUParams`.

    Raises:
      TypeError: for a size that is not an int.
      ValueError: for a size below 1.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.gru_init(jax.random.key(0), 3, 5).recurrent_kernel.shape
      (5, 15)
    """
    return gru.init(
        key,
        input_size,
        hidden_size,
        dtype=dtype,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        bias_init=bias_init,
        reset_bias=reset_bias,
        use_bias=use_bias,
    )


def gru_carry(params: GRUParams, batch_shape: tuple[int, ...] = ()) -> Array:
    """The state of a GRU (reset after the product) before a sequence: zeros.

    Args:
      params: `GRUParams`, for the size and the dtype.
      batch_shape: the batch axes.

    Returns:
      h ``(*batch, H)``.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru_init(jax.random.key(0), 3, 5)
      >>> carry = jaxrnn.gru_carry(params, (2,))
      >>> carry.shape
      (2, 5)
    """
    return gru.carry(params, batch_shape)


def gru_step(
    params: GRUParams,
    carry: ArrayLike,
    x: ArrayLike,
    *,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """One time step of a GRU (reset after the product).

    Args:
      params: `GRUParams`.
      carry: the state before the step, h ``(*batch, H)``.
      x: ``(*batch, D)``.
      reset: booleans ``(*batch,)``: True says that a new sequence begins with this step.
      reset_carry: what it begins from, zeros if None.

    Returns:
      ``(carry, y)``, y ``(*batch, H)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru_init(jax.random.key(0), 3, 5)
      >>> carry, y = jaxrnn.gru_step(params, jaxrnn.gru_carry(params), jax.numpy.ones(3))
      >>> bool((carry == y).all())
      True
    """
    return gru.step(params, carry, x, reset=reset, reset_carry=reset_carry)


@overload
def gru_scan(
    params: GRUParams,
    xs: ArrayLike,
    carry: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: Literal[False] = False,
    return_status: Literal[False] = False,
    solver: Solver | None = None,
    guess: Array | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[Array, Array]: ...


@overload
def gru_scan(
    params: GRUParams,
    xs: ArrayLike,
    carry: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: Literal[True],
    return_status: Literal[False] = False,
    solver: Solver | None = None,
    guess: Array | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[Array, Array, Array]: ...


@overload
def gru_scan(
    params: GRUParams,
    xs: ArrayLike,
    carry: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    return_status: Literal[True],
    solver: Solver | None = None,
    guess: Array | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[Any, ...]: ...


def gru_scan(
    params: GRUParams,
    xs: ArrayLike,
    carry: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    return_status: bool = False,
    solver: Solver | None = None,
    guess: Array | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> Any:
    """`jaxrnn.scan` of `jaxrnn.gru`: a GRU (reset after the product) over a sequence.

    Args:
      params: `GRUParams`.
      xs: ``(T, *batch, D)``.
      carry: h ``(*batch, H)``; zeros if None.
      lengths: integers ``(*batch,)`` in 0..T: steps past a row's length are skipped.
      mask: booleans ``(T, *batch)``: False skips the step.
      reset: booleans ``(T, *batch)``: True says that a new sequence begins with that step.
      reset_carry: what it begins from, zeros if None.
      gaps: outputs of skipped steps, ``"zero"``, or ``"hold"`` for the last valid one.
      reverse: run from the last step to the first.
      key: a PRNG key, of no use to a cell without noise.
      start: the absolute time of ``xs[0]``.
      return_carries: also return the carry after every step.
      return_status: also return, last, how the solver fared.
      solver: who solves for the carries, `jaxrnn.sequential` if None.
      guess: carries that the solution may be near, for `jaxrnn.newton`.
      chunk: steps per chunk, chosen if None.
      unroll: steps per loop iteration.

    Returns:
      ``(carry, ys)``, ys ``(T, *batch, H)``; with `return_carries`, ``(carry, ys, carries)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape, or lengths outside 0..T.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru_init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.gru_scan(params, jax.numpy.ones((7, 2, 3)))
      >>> bool((carry == ys[-1]).all())
      True
    """
    return scan(
        gru,
        params,
        xs,
        carry,
        lengths=lengths,
        mask=mask,
        reset=reset,
        reset_carry=reset_carry,
        gaps=gaps,
        reverse=reverse,
        key=key,
        start=start,
        return_carries=return_carries,
        return_status=return_status,
        solver=solver,
        guess=guess,
        chunk=chunk,
        unroll=unroll,
    )


def elman_init(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DType = jnp.float32,
    kernel_init: initializers.Initializer = initializers.glorot,
    recurrent_init: initializers.Initializer = initializers.orthogonal,
    bias_init: initializers.Initializer = initializers.zeros,
    use_bias: bool = True,
) -> ElmanParams:
    """Parameters of an Elman network (tanh), drawn.

    Args:
      key: a PRNG key.
      input_size: D.
      hidden_size: H.
      dtype: of the parameters.
      kernel_init: initialiser of W, called once per gate.
      recurrent_init: initialiser of R, alike.
      bias_init: initialiser of the biases, alike.
      use_bias: False for a cell without biases.

    Returns:
      `ElmanParams`.

    Raises:
      TypeError: for a size that is not an int.
      ValueError: for a size below 1.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.elman_init(jax.random.key(0), 3, 5).recurrent_kernel.shape
      (5, 5)
    """
    return elman.init(
        key,
        input_size,
        hidden_size,
        dtype=dtype,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        bias_init=bias_init,
        use_bias=use_bias,
    )


def elman_carry(params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> Array:
    """The state of an Elman network (tanh) before a sequence: zeros.

    Args:
      params: `ElmanParams`, for the size and the dtype.
      batch_shape: the batch axes.

    Returns:
      h ``(*batch, H)``.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.elman_init(jax.random.key(0), 3, 5)
      >>> carry = jaxrnn.elman_carry(params, (2,))
      >>> carry.shape
      (2, 5)
    """
    return elman.carry(params, batch_shape)


def elman_step(
    params: ElmanParams,
    carry: ArrayLike,
    x: ArrayLike,
    *,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """One time step of an Elman network (tanh).

    Args:
      params: `ElmanParams`.
      carry: the state before the step, h ``(*batch, H)``.
      x: ``(*batch, D)``.
      reset: booleans ``(*batch,)``: True says that a new sequence begins with this step.
      reset_carry: what it begins from, zeros if None.

    Returns:
      ``(carry, y)``, y ``(*batch, H)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.elman_init(jax.random.key(0), 3, 5)
      >>> carry, y = jaxrnn.elman_step(params, jaxrnn.elman_carry(params), jax.numpy.ones(3))
      >>> bool((carry == y).all())
      True
    """
    return elman.step(params, carry, x, reset=reset, reset_carry=reset_carry)


@overload
def elman_scan(
    params: ElmanParams,
    xs: ArrayLike,
    carry: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: Literal[False] = False,
    return_status: Literal[False] = False,
    solver: Solver | None = None,
    guess: Array | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[Array, Array]: ...


@overload
def elman_scan(
    params: ElmanParams,
    xs: ArrayLike,
    carry: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: Literal[True],
    return_status: Literal[False] = False,
    solver: Solver | None = None,
    guess: Array | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[Array, Array, Array]: ...


@overload
def elman_scan(
    params: ElmanParams,
    xs: ArrayLike,
    carry: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    return_status: Literal[True],
    solver: Solver | None = None,
    guess: Array | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[Any, ...]: ...


def elman_scan(
    params: ElmanParams,
    xs: ArrayLike,
    carry: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    return_status: bool = False,
    solver: Solver | None = None,
    guess: Array | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> Any:
    """`jaxrnn.scan` of `jaxrnn.elman`: an Elman network (tanh) over a sequence.

    Args:
      params: `ElmanParams`.
      xs: ``(T, *batch, D)``.
      carry: h ``(*batch, H)``; zeros if None.
      lengths: integers ``(*batch,)`` in 0..T: steps past a row's length are skipped.
      mask: booleans ``(T, *batch)``: False skips the step.
      reset: booleans ``(T, *batch)``: True says that a new sequence begins with that step.
      reset_carry: what it begins from, zeros if None.
      gaps: outputs of skipped steps, ``"zero"``, or ``"hold"`` for the last valid one.
      reverse: run from the last step to the first.
      key: a PRNG key, of no use to a cell without noise.
      start: the absolute time of ``xs[0]``.
      return_carries: also return the carry after every step.
      return_status: also return, last, how the solver fared.
      solver: who solves for the carries, `jaxrnn.sequential` if None.
      guess: carries that the solution may be near, for `jaxrnn.newton`.
      chunk: steps per chunk, chosen if None.
      unroll: steps per loop iteration.

    Returns:
      ``(carry, ys)``, ys ``(T, *batch, H)``; with `return_carries`, ``(carry, ys, carries)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape, or lengths outside 0..T.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.elman_init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.elman_scan(params, jax.numpy.ones((7, 2, 3)))
      >>> bool((carry == ys[-1]).all())
      True
    """
    return scan(
        elman,
        params,
        xs,
        carry,
        lengths=lengths,
        mask=mask,
        reset=reset,
        reset_carry=reset_carry,
        gaps=gaps,
        reverse=reverse,
        key=key,
        start=start,
        return_carries=return_carries,
        return_status=return_status,
        solver=solver,
        guess=guess,
        chunk=chunk,
        unroll=unroll,
    )
