"""What `jaxrnn.scan` means, as a plain Python loop over `cell.step`, and how to compare with it."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells import CELLS

T, B = 5, 2
SQUARE = ("intersection_rnn", "mut1", "mut2", "lru", "s5", "rg_lru")
SIZES = dict.fromkeys(SQUARE, (4, 4))
"""(D, H) of the cells that do not take any; (3, 4) for the others."""
KINDS = ("elman", "lstm", "gru_reset_before")
"""One cell of each kind: one product; a carry of two parts; a product inside the update."""

SAME = (
    "lstm_nig",
    "lstm_nfg",
    "lstm_nog",
    "lstm_niaf",
    "lstm_noaf",
    "lstm_pseudo",
    "lstm_prototype",
)
NEWER = ("lru", "lmu")
"""Of what came after the GRU those that the engine could treat otherwise: a complex state, parts of
other sizes."""
CLASSICS = [n for n in CELLS if type(CELLS[n].spec).__module__.count(".") == 2]
"""Those that have no folder of their own."""
FAMILIES = [n for n in CELLS if n in NEWER or (n in CLASSICS and n not in SAME)]
"""Without the cells whose steps are those of another with an option less."""
OTHERS = [n for n in CELLS if n not in FAMILIES and n not in SAME]

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiler options for what is compiled to be run once: references and rare options."""
quick = partial(jax.jit, compiler_options=QUICK)


def some(values, keep):
    """All values for a parametrised test: those in `keep` always, the others among the slow."""
    params = [v if type(v) is tuple else (v,) for v in values]
    slow = pytest.mark.slow
    return [
        pytest.param(*p, marks=() if v in keep else slow)
        for p, v in zip(params, values, strict=True)
    ]


def where(flags, on_true, on_false):
    """`jnp.where` over two trees, the flags broadcast over trailing axes."""

    def one(a, b):
        wide = jnp.reshape(flags, flags.shape + (1,) * (b.ndim - flags.ndim))
        return jnp.where(wide, a, b)

    return jax.tree.map(one, on_true, on_false)


def loop(
    cell,
    params,
    xs,
    carry,
    valid=None,
    reset=None,
    key=None,
    times=None,
    *,
    again=None,
    reverse=False,
):
    """``(carry, ys, carries)`` of the steps in order; `valid` and `reset` are ``(T, *batch)``.

    A reset goes to `again`, by default the cell's own initial carry: before its step, or after
    it for who comes backward.
    """
    time = jax.tree.leaves(xs)[0].shape[0]
    if reset is not None and again is None:
        again = cell.carry(params, reset.shape[1:])
    ys, carries = [None] * time, [None] * time
    for t in reversed(range(time)) if reverse else range(time):
        if reset is not None and not reverse:
            carry = where(reset[t], again, carry)
        held, at = carry, t if times is None else times[t]
        x = jax.tree.map(lambda leaf, t=t: leaf[t], xs)
        carry, y = cell.step(params, carry, x, key=key, time=at)
        if valid is not None:
            carry = where(valid[t], carry, held)
            y = where(valid[t], y, jax.tree.map(jnp.zeros_like, y))
        ys[t], carries[t] = y, carry
        if reset is not None and reverse:
            carry = where(reset[t], again, carry)
    ys, carries = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *many) for many in (ys, carries))
    return carry, ys, carries


def with_gradients(run):
    """``f(weights, params, xs, carry, *rest) -> (outputs, gradients)`` of weights · outputs.

    The gradients are those of params, xs and carry.
    """

    def f(weights, params, xs, carry, *rest):
        outputs, pull = jax.vjp(lambda *inputs: run(*inputs, *rest), params, xs, carry)
        return outputs, pull(weights)

    return f


def random_like(tree, seed, scale=1.0):
    """Normal variables in place of every leaf, an array or a `jax.ShapeDtypeStruct`."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(scale * rng.normal(size=x.shape), x.dtype), tree)


def inner(a, b):
    """The inner product of two trees, of tangents and cotangents; of complex ones its real part."""
    pairs = zip(*map(jax.tree.leaves, (a, b)), strict=True)
    return sum(jnp.real(jnp.sum(x * y)) for x, y in pairs)


def flip(tree):
    """Time the other way round."""
    return jax.tree.map(lambda leaf: leaf[::-1], tree)


def assert_close(got, want, what, tolerance=1e-12):
    """Every leaf within ``tolerance * max(1, max |want|)``, and of the same shape."""
    assert jax.tree.structure(got) == jax.tree.structure(want), what
    pairs = zip(jax.tree.leaves(got), jax.tree_util.tree_leaves_with_path(want), strict=True)
    for have, (path, leaf) in pairs:
        wide = np.complex128 if jnp.iscomplexobj(leaf) else np.float64
        have, leaf = (np.asarray(a, wide) for a in (have, leaf))
        where = what + jax.tree_util.keystr(path)
        assert have.shape == leaf.shape, f"{where}: shape {have.shape}, expected {leaf.shape}"
        bound = tolerance * max(1.0, np.abs(leaf).max(initial=0.0))
        error = np.abs(have - leaf).max(initial=0.0)
        assert error <= bound, f"{where}: off by {error:.3g}, allowed {bound:.3g}"


def assert_same(got, want, what):
    """Every leaf equal bit for bit."""
    assert jax.tree.structure(got) == jax.tree.structure(want), what
    pairs = zip(jax.tree.leaves(got), jax.tree_util.tree_leaves_with_path(want), strict=True)
    for have, (path, leaf) in pairs:
        np.testing.assert_array_equal(have, leaf, err_msg=what + jax.tree_util.keystr(path))


class Case(NamedTuple):
    """A cell and random arguments, in float64."""

    cell: Any
    params: Any
    xs: Any
    carry: Any
    key: Any
    weights: Any  # of the outputs (carry, ys, carries)

    @property
    def inputs(self):
        return self.params, self.xs, self.carry


@cache
def reference(name, reverse=False):
    """The loop and its gradients, compiled: ``f(weights, params, xs, carry, **flags)``."""
    cell = CELLS[name]
    run = quick(with_gradients(partial(loop, cell, reverse=reverse)))
    true, false = jnp.ones((T, B), bool), jnp.zeros((T, B), bool)

    def f(weights, params, xs, carry, *, valid=true, reset=false, key=None, times=None):
        times = jnp.arange(T, dtype=jnp.int32) if times is None else times
        key = key if cell.stochastic else None
        return run(weights, params, xs, carry, valid, reset, key, times)

    return f


@cache
def values(name):
    """The loop alone, compiled: ``f(params, xs, carry, reset)``."""
    run = partial(loop, CELLS[name], times=np.arange(T, dtype=np.int32))
    return quick(lambda params, xs, carry, reset: run(params, xs, carry, None, reset))


@cache
def make(name):
    cell = CELLS[name]
    size = SIZES.get(name, (3, 4))
    params = cell.init(jax.random.key(0), *size, dtype=jnp.float64)
    noise = random_like(params, 1, 0.3)
    params = jax.tree.map(jnp.add, params, noise)
    before, xs = random_like([jax.ShapeDtypeStruct((T, B, size[0]), jnp.float64)] * 2, 2)
    zero = cell.carry(params, (B,))
    shapes = jax.eval_shape(partial(loop, cell), params, xs, zero)
    weights = random_like(shapes, 3)
    # A state that the cell can reach, then shaken: no two parts of it remain tied.
    reached, _, _ = values(name)(params, before, zero, jnp.zeros((T, B), bool))
    carry = jax.tree.map(lambda c, n: c * (1 + n), reached, random_like(reached, 4, 0.2))
    return Case(cell, params, xs, carry, jax.random.key(5), weights)


def scan(cell, params, xs, carry, *flags, **options):
    names = ("lengths", "mask", "reset")
    flags = dict(zip(names, flags, strict=False))
    return jaxrnn.scan(cell, params, xs, carry, **flags, **options, return_carries=True)
