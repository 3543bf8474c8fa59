"""One module for each library: its layer and its cell, filled with the weights that all get.

A module of a JAX library has ``layer(task) -> (apply, params)``, where ``apply(params, *inputs)``
gives the outputs, zeros past the lengths; and ``step(task) -> (apply, params, carry)``, where
``apply(params, carry, x)`` gives ``(carry, y)``. torch, which is none, has a class instead.
"""

import shutil

CONTENDERS = ["jaxrnn", "torch", "linen", "nnx", "haiku", "equinox", "keras", "scan", "cudnn"]
LACKS = {
    # haiku's GRU resets before the product and its VanillaRNN is relu: other functions
    "haiku": {"gru", "elman", "lengths"},
    "equinox": {"elman", "lengths"},
    "keras": {"step"},
    "scan": {"step"},
    "torch": {"vjp"},
    "cudnn": {"gru", "elman", "step"} | (set() if shutil.which("nvidia-smi") else {"lstm"}),
}


def able(case, mode, wanted):
    """Those of the wanted contenders that have such a layer."""
    return [name for name in wanted if not LACKS.get(name, set()) & {*case.split("/"), mode}]
