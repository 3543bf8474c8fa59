"""What is timed of a library that is built on JAX."""

import jax
import jax.numpy as jnp
import numpy as np
from _task import STEPS


class Layer:
    """Whole sequences, in the modes forward, gradient and vjp."""

    def __init__(self, task, module):
        if task.devices:
            jax.config.update("jax_platforms", "cpu")
            jax.config.update("jax_num_cpu_devices", task.devices)
        apply, params = module.layer(task)
        self.mode, self.batch_major = task.mode, getattr(module, "BATCH_MAJOR", False)
        xs, *rest = task.inputs
        xs = np.swapaxes(xs, 0, 1) if self.batch_major else xs
        arguments = jax.tree.map(jnp.asarray, (params, xs, *rest))
        if task.devices:
            mesh = jax.sharding.Mesh(np.array(jax.devices()), "d")
            specs = jax.P(), jax.P(None, "d")
            at = tuple(jax.sharding.NamedSharding(mesh, spec) for spec in specs)
            arguments = jax.device_put(arguments, at)

        def loss(params, *inputs):
            return jnp.sum(apply(params, *inputs) ** 2)

        def vjp(cotangents, params, *inputs):
            return jax.vjp(lambda params: apply(params, *inputs), params)[1](cotangents)

        if task.mode == "vjp":
            arguments = jnp.ones_like(jax.eval_shape(apply, *arguments)), *arguments
        work = {"forward": apply, "gradient": jax.value_and_grad(loss), "vjp": vjp}[task.mode]
        self.work, self.arguments = jax.jit(work), arguments

    def compile(self):
        self.compiled = self.work.lower(*self.arguments).compile()
        return self.compiled.memory_analysis().temp_size_in_bytes

    def run(self):
        return jax.block_until_ready(self.compiled(*self.arguments))

    def outputs(self):
        """``(T, B, H)``, or the value of the loss."""
        if self.mode == "gradient":
            return self.run()[0]
        return np.swapaxes(self.run(), 0, 1) if self.batch_major else self.run()


class Step:
    """One step after the other, called from Python."""

    def __init__(self, task, module):
        apply, *arguments = module.step(task)
        self.arguments = jax.tree.map(jnp.asarray, (*arguments, task.inputs[0][0]))
        self.step = jax.jit(apply, donate_argnums=1 if task.way == "donated" else ())

    def compile(self):
        compiled = self.step.lower(*self.arguments).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def run(self):
        params, carry, x = self.arguments
        carry, ys = jax.tree.map(jnp.copy, carry), []
        for _ in range(STEPS):
            carry, y = self.step(params, carry, x)
            ys.append(y)
        return jax.block_until_ready(ys)

    def outputs(self):
        return np.concatenate([np.ravel(y) for y in self.run()])
