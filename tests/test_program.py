"""What a step of the loop is compiled to: one product and a few fusions, on any machine."""

import re
from collections import Counter

import jax
import jax.numpy as jnp
import pytest

import jaxrnn

T, B, D, H, CHUNK = 40, 4, 8, 16, 10
CELLS = {"lstm": jaxrnn.lstm, "gru": jaxrnn.gru, "elman": jaxrnn.elman}


def work(cell, mode):
    """The jitted forward pass, or value and gradient, and what to give to it."""
    params = cell.init(jax.random.key(0), D, H)

    def loss(params, xs):
        return jnp.sum(jaxrnn.scan(cell, params, xs, chunk=CHUNK)[1] ** 2)

    f = jax.value_and_grad(loss) if mode == "gradient" else loss
    return jax.jit(f), (params, jnp.ones((T, B, D)))


def innermost(text):
    """For each loop of an optimised program with none inside: how many of each instruction."""
    computations = {}
    for block in re.split(r"\n(?=%|ENTRY)", text):
        if head := re.match(r"(?:ENTRY )?%?([\w.\-]+)", block):
            computations[head[1]] = block
    for name in set(re.findall(r"body=%?([\w.\-]+)", text)):
        count = Counter()
        for result, op, rest in re.findall(r"= (\S+) ([\w\-]+)\((.*)", computations[name]):
            product = op == "dot" or "kind=kCustom" in rest or "custom_call_target" in rest
            if "[]" not in result:  # nor the counter
                count["product" if product else op] += 1
        if " while(" not in computations[name]:
            yield count


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="counts what the CPU's compiler makes")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("mode", "loops"), [("forward", 1), ("gradient", 2)])
def test_a_step_is_one_product_and_a_few_fusions(cell, mode, loops):
    f, arguments = work(CELLS[cell], mode)
    text = f.lower(*arguments).compile().as_text()
    padded = re.findall(rf"= \w+\[{CHUNK},[\d,]+\]\S* pad\(", text)
    assert not padded, "a slice, whose gradient is padded, where a split would be joined"
    found = list(innermost(text))
    assert len(found) == loops
    for count in found:
        assert count["product"] == 1, count
        assert count["copy"] <= 2, count  # h and c
        assert count["fusion"] <= 7, count
        assert not {"transpose", "pad", "sort", "gather", "scatter"} & set(count)


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("mode", "loops", "products"),
    # Inputs and steps. Then inputs and gates again, steps backward, and two kernels' gradients.
    [("forward", 2, 2), ("gradient", 4, 7)],
)
def test_products_outside_the_step_are_whole_chunks(platform, cell, mode, loops, products):
    f, arguments = work(CELLS[cell], mode)
    text = f.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.while") == loops
    made = re.findall(r"stablehlo.dot_general.*: \((\S+), (\S+)\)", text)
    step = [pair for pair in made if f"tensor<{B}x" in pair[0]]
    rows = [
        pair for pair in made if f"tensor<{CHUNK}x{B}x" in pair[0] or f"<{CHUNK * B}x" in pair[0]
    ]
    assert len(made) == products
    assert len(step) == loops // 2
    assert len(step) + len(rows) == products
