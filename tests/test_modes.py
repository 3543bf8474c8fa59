"""Every cell and network under the switches that JAX has for those who want to be told more."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import training
from jaxrnn.cells import CELLS
from tests.reference import FAMILIES, SIZES, B, T, assert_close, some

MODES = {
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "x64": lambda: jax.enable_x64(True),
}
"""What is found while tracing: nothing is compiled."""
RUN = {
    "tracer leaks": lambda: jax.checking_leaks(),
    "no jit": lambda: jax.disable_jit(),
    "nan": lambda: jax.debug_nans(True),
}
NETS = {
    "stack": jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True, dropout=0.3),
    "learned": jaxrnn.learned_carry(jaxrnn.gru),
}
F32 = jnp.float32
LIGHT = [("elman", "nan"), ("elman", "tracer leaks")]
QUICK = ("gru_reset_before",)


def everything(net, sizes, key):
    """Init, step, scan with every option, a gradient and the derivative of one."""
    params = net.init(key, *sizes, dtype=F32)
    xs = jax.random.normal(key, (T, B, sizes[0]), F32)
    reset = jnp.zeros((T, B), bool).at[2].set(True)
    options = {"mask": ~reset, "reset": reset, "key": key, "gaps": "hold", "chunk": 2}

    def loss(params, reverse=False):
        options_ = options | {"lengths": jnp.array([T, 2]), "reverse": reverse}
        return jnp.sum(jaxrnn.scan(net, params, xs, **options_)[1] ** 2)

    gradient = jax.grad(loss)
    found = [gradient(params), gradient(params, True), jax.jvp(gradient, (params,), (params,))]
    if net.name != "bidirectional" and getattr(net, "advance", True):
        carry = net.carry(params, (B,))
        found.append(net.step(params, carry, xs[0], reset=reset[0], key=key))
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in (*FAMILIES, *NETS)],
)
def test_tracing(name, mode):
    net = CELLS.get(name) or NETS[name]
    run = partial(everything, net, SIZES.get(name, (3, 4)))
    with MODES[mode]():
        shapes = jax.eval_shape(run, jax.random.key(0))
    found = {leaf.dtype for leaf in jax.tree.leaves(shapes)}
    assert found - {jnp.dtype(jnp.complex64)} == {jnp.dtype(F32)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(n, m, marks=() if (n, m) in LIGHT else pytest.mark.slow)
        for n in ("gru_reset_before", "elman", "stack")
        for m in RUN
    ],
)
def test_running(name, mode):
    """The same numbers. Without jit nothing but the loops is compiled, of one kind of cell."""
    net = CELLS.get(name) or NETS[name]
    params = net.init(jax.random.key(0), 3, 4)
    xs = jax.random.normal(jax.random.key(1), (T, B, 3))
    reset = np.arange(T)[:, None] == np.array([2, 3])

    def loss(params):
        ys = jaxrnn.scan(net, params, xs, lengths=[T, 4], reset=reset, chunk=2)[1]
        return jnp.sum(jnp.sin(ys))

    want = jax.jit(jax.value_and_grad(loss))(params)
    with RUN[mode]():
        assert_close(jax.value_and_grad(loss)(params), want, mode, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", some(["rank promotion", "x64"], ("rank promotion",)))
def test_what_is_built_on_it(mode):
    """Decoding, real-time learning and training."""
    with MODES[mode]():
        cell, size = jaxrnn.lstm, 4
        params = cell.init(jax.random.key(0), size, size)
        embed = partial(jax.nn.one_hot, num_classes=size, dtype=F32)
        ask = {"embed": embed, "steps": 3, "end": 3}
        prompt = jnp.zeros((2, B), jnp.int32)
        draw = partial(jaxrnn.generate, cell, choose=jaxrnn.sampler(top_k=2), **ask)
        assert jax.eval_shape(draw, params, prompt, key=jax.random.key(1)).sequence.shape == (3, B)
        beam = partial(jaxrnn.beam_search, cell, beams=2, **ask)
        jax.eval_shape(beam, params, prompt)
        xs = jax.random.normal(jax.random.key(2), (T, B, size), F32)
        square = lambda p, y, t: jnp.sum((y - t) ** 2, -1)  # noqa: E731
        jax.eval_shape(lambda p: jaxrnn.learning.rtrl(cell, p, xs, loss=square, targets=xs), params)
        loss = lambda p, xs: jnp.mean(jaxrnn.scan(cell, p, xs)[1] ** 2)  # noqa: E731
        result = training.fit(loss, params, optax.adam(1e-3), [xs], epochs=2, progress=False)
        assert len(result.history) == 2
