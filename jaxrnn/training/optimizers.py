"""What optax's optimizers want beside a gradient, and what their line searches leave."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

__all__ = ["check_complex", "checked", "kept", "update"]

_BACKTRACKING = optax.ScaleByBacktrackingLinesearchState
_SEARCHES = (optax.ScaleByZoomLinesearchState, _BACKTRACKING)


def checked(optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """An optimizer of any kind as one that may be given more than a gradient.

    Raises:
      TypeError: it is none, or a function that makes one.
    """
    made = not isinstance(optimizer, type)
    if made and all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        return optax.with_extra_args_support(optimizer)
    name = getattr(optimizer, "__name__", None)
    got = f"{name} itself, not called" if name else repr(optimizer)
    raise TypeError(
        f"optimizer: expected an optax.GradientTransformation such as optax.adam(1e-3), got {got}"
    )


def update(
    optimizer: optax.GradientTransformationExtraArgs,
    grads: Any,
    opt_state: Any,
    params: Any,
    value: jax.Array,
    value_fn: Callable[[Any], jax.Array] | None,
) -> tuple[Any, Any]:
    """Updates and the optimizer's next state, from a gradient and whatever else it takes.

    Args:
      optimizer: from `checked`.
      grads: conjugated where the parameters are complex.
      opt_state: the optimizer's state.
      params: the parameters.
      value: the loss there.
      value_fn: the loss of other parameters, or None where several batches made the gradient.

    Raises:
      TypeError: its update takes something else.
      ValueError: it asks for a loss that is not there.
    """

    # Line searches hand on to the loss whatever they do not take themselves.
    def loss(params: Any, obj_fn: Any = None, grad_fn: Any = None) -> jax.Array:
        if value_fn is None:
            raise _NoLossError
        return value_fn(params)

    def gradient(params: Any, step: Any = None) -> Any:
        return optax.tree.conj(jax.grad(loss)(params))

    offered = {"value": value, "grad": grads}
    offered |= {"value_fn": loss, "obj_fn": loss, "grad_fn": gradient}
    taken = inspect.signature(optimizer.update).parameters
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in taken.values()):
        offered = {name: extra for name, extra in offered.items() if name in taken}
    try:
        return optimizer.update(grads, opt_state, params, **offered)
    except _NoLossError as error:
        raise ValueError(
            "accumulate: expected 1 for an optimizer with a line search, or another that computes "
            "the loss itself"
        ) from error
    except (TypeError, ValueError) as error:
        dtypes = ", ".join(sorted({leaf.dtype.name for leaf in jax.tree.leaves(params)}))
        raise TypeError(
            f"optimizer: expected one whose update takes gradients of {dtypes} with "
            f"{', '.join(offered)}, got one that raises: {error}"
        ) from error


class _NoLossError(Exception):
    pass


def kept(opt_state: Any, params: Any, dtype: Any) -> Any:
    """The state of the line search that has kept value and gradient of the parameters, or None.

    Args:
      opt_state: the optimizer's state.
      params: the parameters. Of complex ones the gradient is kept conjugated or not.
      dtype: of the loss. A search keeps it in the dtype of the parameters, which may be less.
    """
    found = [
        search
        for search in _searches(opt_state)
        if jax.tree.structure(search.grad) == jax.tree.structure(params)
        and search.value.dtype == dtype
    ]
    return found[0] if len(found) == 1 and not _any_complex(params) else None


def check_complex(params: Any, opt_state: Any) -> None:
    """Refuse what would go up the loss: backtracking, which expects gradients unconjugated.

    Raises:
      ValueError: complex parameters, and a backtracking line search.
    """
    if _any_complex(params) and any(isinstance(s, _BACKTRACKING) for s in _searches(opt_state)):
        raise ValueError(
            "optimizer: expected one without optax.scale_by_backtracking_linesearch for complex "
            "parameters, such as optax.lbfgs(), got one with"
        )


def _searches(opt_state: Any) -> list[Any]:
    """The line searches of an optimizer, told by the types of their states."""
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, _SEARCHES))
    return [leaf for leaf in leaves if isinstance(leaf, _SEARCHES)]


def _any_complex(tree: Any) -> bool:
    return any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(tree))
