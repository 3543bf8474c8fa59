"""Cells with their batch on two CPU devices against one: ``python -m tests.sharding lstm gru``.

Its own process, since the number of devices cannot change once JAX has started.
"""

import sys
from functools import partial

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.reference import assert_close, make, quick, scan, with_gradients


def check(name, mesh):
    case = make(name)
    run = with_gradients(partial(scan, case.cell))
    want = quick(run)(case.weights, *case.inputs)

    first, second, everywhere = (PartitionSpec(*s) for s in (("batch",), (None, "batch"), ()))
    outputs = first, second, second
    specs = outputs, everywhere, second, first
    out_specs = outputs, (everywhere, second, first)

    arguments = case.weights, *case.inputs
    places = tuple(
        jax.tree.map(lambda _, spec=spec: NamedSharding(mesh, spec), tree)
        for tree, spec in zip((*case.weights, *case.inputs), (*outputs, *specs[1:]), strict=True)
    )
    placed = jax.device_put(arguments, (places[:3], *places[3:]))
    got = quick(run)(*placed)
    assert_close(got, want, f"{name}, NamedSharding: ")
    assert len(got[0][1].sharding.device_set) == 2, "the outputs stay where the inputs are"

    mapped = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=out_specs)
    assert_close(quick(mapped)(*placed), want, f"{name}, shard_map: ")

    def from_zero(xs):
        return scan(case.cell, case.params, xs, None, chunk=2)

    zero = quick(from_zero)(case.xs)
    assert_close(quick(from_zero)(placed[2]), zero, f"{name}, NamedSharding, no carry: ")
    mapped = jax.shard_map(from_zero, mesh=mesh, in_specs=second, out_specs=outputs)
    assert_close(quick(mapped)(placed[2]), zero, f"{name}, shard_map, no carry: ")


def main():
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:]:
        for kind in (AxisType.Auto, AxisType.Explicit):
            check(name, jax.make_mesh((2,), ("batch",), axis_types=(kind,)))
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
