"""The weights and inputs that every contender gets, and the timed work of a JAX layer."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

STEPS = 100  # in a run of mode step


class Setup(NamedTuple):
    """A network of ours to take the weights from, and its inputs as numpy arrays."""

    net: Any
    params: Any
    xs: np.ndarray  # (T, B, D)
    lengths: np.ndarray | None  # (B,)
    hidden: int


class Layer(NamedTuple):
    """``apply(params, *inputs) -> ys``, with zeros past the lengths, and what to give to it."""

    apply: Callable[..., Any]
    params: Any
    inputs: tuple[Any, ...]
    batch_major: bool = False
    kernels: Callable[[Any], list[Any]] | None = None  # those of a gradient; else its matrices


class Step(NamedTuple):
    """``apply(params, carry, x) -> (carry, y)``."""

    apply: Callable[..., Any]
    params: Any
    carry: Any
    x: Any  # (1, D)


def setup(task):
    """The same for every library."""
    import jax

    import jaxrnn
    from jaxrnn.initializers import torch_uniform as uniform

    length, batch, inputs, hidden = task.sizes
    net = jaxrnn.CELLS[task.cell]
    if task.deep:
        net = jaxrnn.rnn(net, 2, bidirectional=True)
    options = {"kernel_init": uniform, "recurrent_init": uniform, "bias_init": uniform}
    params = net.init(jax.random.key(0), inputs, hidden, **options)
    if task.cell == "gru":  # flax.nnx has no such bias
        params = params._replace(recurrent_bias=params.recurrent_bias * 0)
    random = np.random.default_rng(0)
    xs = random.normal(size=(length, batch, inputs)).astype(np.float32)
    lengths = random.integers(1, length + 1, batch).astype(np.int32) if task.ragged else None
    return Setup(net, params, xs, lengths, hidden)


def sample(ys, lengths, batch_major=False):
    """Outputs at 500 places, the same in every library and none in the padding."""
    ys = np.swapaxes(ys, 0, 1) if batch_major else ys
    random = np.random.default_rng(1)
    batch, unit = (random.integers(0, size, 500) for size in ys.shape[1:])
    longest = ys.shape[0] if lengths is None else lengths[batch]
    return ys[random.integers(0, longest, 500), batch, unit].tolist()


def norm(kernels):
    """Of the gradient by all kernels, however they are cut, joined and transposed."""
    return float(np.sqrt(sum(np.square(np.asarray(k, np.float64)).sum() for k in kernels)))


class Sequence:
    """A JAX layer over whole sequences: modes forward, gradient, compile and vjp.

    The last is the gradient from cotangents that are given: all its temporaries are the layer's.
    """

    repeats = 1

    def __init__(self, layer, mode, lengths):
        import jax
        import jax.numpy as jnp

        self.layer, self.mode, self.lengths = layer, mode, lengths
        self.arguments = jax.tree.map(jnp.asarray, (layer.params, *layer.inputs))

        def loss(params, *inputs):
            return jnp.sum(layer.apply(params, *inputs) ** 2)

        def vjp(cotangents, *arguments):
            return 0.0, jax.vjp(layer.apply, *arguments)[1](cotangents)[0]

        self.work = layer.apply if mode == "forward" else jax.value_and_grad(loss)
        if mode == "vjp":
            outputs = jax.eval_shape(layer.apply, *self.arguments)
            self.work, self.arguments = vjp, (jnp.ones_like(outputs), *self.arguments)

    def compile(self):
        import jax

        began = time.perf_counter()
        self.compiled = jax.jit(self.work).lower(*self.arguments).compile()
        seconds = time.perf_counter() - began
        memory = self.compiled.memory_analysis()
        return {"compile_s": seconds, "temp_bytes": memory.temp_size_in_bytes}

    def run(self):
        import jax

        if self.mode == "compile":
            jax.clear_caches()
            return self.compile()
        return jax.block_until_ready(self.compiled(*self.arguments))

    def check(self):
        import jax

        result = self.compiled(*self.arguments)
        if self.mode == "forward":
            return sample(np.asarray(result), self.lengths, self.layer.batch_major)
        value, slopes = result
        matrices = lambda tree: [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim > 1]  # noqa: E731
        return [float(value), norm((self.layer.kernels or matrices)(slopes))]


class Steps:
    """A JAX cell step by step: mode step."""

    repeats = STEPS

    def __init__(self, step):
        import jax
        import jax.numpy as jnp

        self.params, self.carry, self.x = jax.tree.map(
            jnp.asarray, (step.params, step.carry, step.x)
        )
        self.step = jax.jit(step.apply)

    def compile(self):
        began = time.perf_counter()
        compiled = self.step.lower(self.params, self.carry, self.x).compile()
        seconds = time.perf_counter() - began
        memory = compiled.memory_analysis()
        return {"compile_s": seconds, "temp_bytes": memory.temp_size_in_bytes}

    def run(self):
        carry = self.carry
        for _ in range(STEPS):
            carry, y = self.step(self.params, carry, self.x)
        return y.block_until_ready()

    def check(self):
        carry, ys = self.carry, []
        for _ in range(20):
            carry, y = self.step(self.params, carry, self.x)
            ys.append(np.asarray(y).reshape(-1))
        return np.concatenate(ys).tolist()
