"""Bad input is a ValueError or TypeError that names the argument, what it expected, what came."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import bidirectional, gru, lstm, rnn, stack
from jaxrnn.cells import CELLS
from tests.reference import SIZES, quick, some

T, B, D, H = 5, 2, 3, 4
KEY = jax.random.key(0)
PARAMS = lstm.init(KEY, D, H)
XS = jnp.ones((T, B, D))
CARRY = lstm.carry(PARAMS, (B,))
TWO = stack(lstm, lstm)
TWO_PARAMS = TWO.init(KEY, D, H)
BOTH = rnn(lstm, 2, bidirectional=True)
BOTH_PARAMS = BOTH.init(KEY, D, H)
WITHOUT = BOTH_PARAMS[1].backward._replace(input_kernel=None)
LEARNED = jaxrnn.learned_carry(TWO).init(KEY, D, H)


def square(params, y, target):
    return jnp.sum(y**2, axis=-1)


def scan(params=PARAMS, xs=XS, carry=None, cell=lstm, **options):
    return jaxrnn.scan(cell, params, xs, carry, **options)


def step(params=PARAMS, carry=CARRY, x=XS[0], cell=lstm):
    return cell.step(params, carry, x)


def leaves(expected, got):
    return {f"{leaf}: expected {expected}, got {got}" for leaf in ("carry.h", "carry.c")}


FAULTS = {
    # label: (error, parts of the message, call)
    "xs, integers": (
        TypeError,
        {"xs: expected a floating-point array, got dtype int32"},
        lambda: scan(xs=XS.astype(jnp.int32)),
    ),
    "xs, integers in a list": (
        TypeError,
        {"xs: expected a floating-point array, got dtype int32"},
        lambda: scan(xs=[[1, 2, 3]]),
    ),
    "xs, no array": (
        TypeError,
        {"xs: expected a floating-point array, got str"},
        lambda: scan(xs="abc"),
    ),
    "xs, rows of different lengths": (
        TypeError,
        {"xs: expected a floating-point array, got list ("},
        lambda: scan(xs=[[1.0, 2.0], [1.0]]),
    ),
    "xs, one axis": (
        ValueError,
        {
            "xs: expected (T, *batch, D), at least 2 axes, got shape (3,)",
            "of one feature: xs[..., None]",
        },
        lambda: scan(xs=jnp.ones(3)),
    ),
    "xs, no features": (
        ValueError,
        {"xs: expected at least one feature (D), got shape (5, 2, 0)"},
        lambda: scan(xs=jnp.ones((5, 2, 0))),
    ),
    "xs, another size": (
        ValueError,
        {
            "xs: expected 3 features (D), which params of the cell 'lstm' were made for, "
            "got 7: shape (5, 2, 7)"
        },
        lambda: scan(xs=jnp.ones((T, B, 7))),
    ),
    "xs, the axis of one feature missing": (
        ValueError,
        {"xs: expected one feature (D)", "got 2: shape (5, 2); of one feature: xs[..., None]"},
        lambda: scan(lstm.init(KEY, 1, H), xs=jnp.ones((T, B))),
    ),
    "xs, another dtype": (
        TypeError,
        {
            "params.input_kernel: expected bfloat16[3, 16], got float32[3, 16]",
            "params.recurrent_kernel: expected bfloat16[4, 16], got float32[4, 16]",
            "params.bias: expected bfloat16[16], got float32[16]",
            "dtype bfloat16 from xs (5, 2, 3)",
        },
        lambda: scan(xs=XS.astype(jnp.bfloat16)),
    ),
    "params, the fields in a dict": (
        TypeError,
        {"params: expected LSTMParams of the cell 'lstm', got dict; jaxrnn.networks.params_from"},
        lambda: scan(PARAMS._asdict()),
    ),
    "carry, a number for the batch": (
        TypeError,
        {"batch_shape: expected a tuple of batch axes, such as (4,), got 4"},
        lambda: jaxrnn.gru_carry(jaxrnn.gru_init(KEY, D, H), 4),
    ),
    "init, a seed": (
        TypeError,
        {"key: expected a PRNG key, got 0; a seed is made one by jax.random.key(0)"},
        lambda: jaxrnn.rnn(lstm, 2).init(0, D, H),
    ),
    "start, beyond 32 bits": (
        ValueError,
        {"start: expected an int below 2**31 in size, got 2147483648"},
        lambda: scan(key=KEY, start=2**31),
    ),
    "linen, tokens": (
        TypeError,
        {"inputs: expected floating, got int32[2, 5]; tokens go through an embedding before"},
        lambda: jaxrnn.linen.LSTM(H).init(KEY, jnp.ones((B, T), jnp.int32)),
    ),
    "cell": (TypeError, {"cell: expected a Cell or a Layer, got str"}, lambda: scan(cell="lstm")),
    "lengths, floats": (
        TypeError,
        {"lengths: expected integers, got dtype float64"},
        lambda: scan(lengths=[1.0, 2.0]),
    ),
    "lengths, booleans": (
        TypeError,
        {"lengths: expected integers, got dtype bool"},
        lambda: scan(lengths=[True, False]),
    ),
    "lengths, shape": (
        ValueError,
        {"lengths: expected shape (2,) (*batch,), got (3,)"},
        lambda: scan(lengths=[1, 2, 3]),
    ),
    "lengths, one for all": (
        ValueError,
        {"lengths: expected shape (2,) (*batch,), got ()"},
        lambda: scan(lengths=3),
    ),
    "lengths below 0": (
        ValueError,
        {"lengths: expected values in 0..5 (T), got a minimum of -1 and a maximum of 2"},
        lambda: scan(lengths=[-1, 2]),
    ),
    "lengths above T": (
        ValueError,
        {"lengths: expected values in 0..5 (T), got a minimum of 1 and a maximum of 6"},
        lambda: scan(lengths=jnp.array([1, 6])),
    ),
    "lengths above T = 0": (
        ValueError,
        {"lengths: expected values in 0..0 (T), got a minimum of 0 and a maximum of 1"},
        lambda: scan(xs=XS[:0], lengths=[0, 1]),
    ),
    "mask, floats": (
        TypeError,
        {"mask: expected booleans (T, *batch), got dtype float32"},
        lambda: scan(mask=jnp.ones((T, B))),
    ),
    "mask, batch-major": (
        ValueError,
        {"mask: expected shape (5, 2) (T, *batch), got (2, 5)"},
        lambda: scan(mask=jnp.ones((B, T), bool)),
    ),
    "reset, integers": (
        TypeError,
        {"reset: expected booleans (T, *batch), got dtype int32"},
        lambda: scan(reset=jnp.zeros((T, B), jnp.int32)),
    ),
    "reset, shape": (
        ValueError,
        {"reset: expected shape (5, 2) (T, *batch), got (5,)"},
        lambda: scan(reset=jnp.zeros(T, bool)),
    ),
    **{
        f"{name} = {value!r}": (
            error,
            {f"{name}: expected a positive int, got {value!r}"},
            lambda name=name, value=value: scan(**{name: value}),
        )
        for name in ("chunk", "unroll")
        for value, error in (
            *((0, ValueError), (-1, ValueError), (1.5, TypeError)),
            *((True, TypeError), ("2", TypeError)),
        )
    },
    **{
        f"{name}, no boolean": (
            TypeError,
            {f"{name}: expected True or False, got 'no'"},
            lambda name=name: scan(**{name: "no"}),
        )
        for name in ("reverse", "return_carries")
    },
    "key, an int": (TypeError, {"key: expected one PRNG key, got int"}, lambda: scan(key=0)),
    "key, several": (
        TypeError,
        {"key: expected one PRNG key, got key<fry>[2]"},
        lambda: scan(key=jax.random.split(KEY)),
    ),
    "start, a float": (
        TypeError,
        {"start: expected one integer, got 1.5"},
        lambda: scan(key=KEY, start=1.5),
    ),
    "start, several": (
        TypeError,
        {"start: expected one integer, got int32[3]"},
        lambda: scan(key=KEY, start=jnp.arange(3)),
    ),
    "carry, another batch": (
        ValueError,
        leaves("float32[2, 4]", "float32[3, 4]") | {"the carry of the cell 'lstm'", "axes (2,)"},
        lambda: scan(carry=lstm.carry(PARAMS, (3,))),
    ),
    "carry without a batch": (
        ValueError,
        leaves("float32[2, 4]", "float32[4]"),
        lambda: scan(carry=lstm.carry(PARAMS)),
    ),
    "carry, another dtype": (
        TypeError,
        {"carry.c: expected float32[2, 4], got int32[2, 4]"},
        lambda: scan(carry=CARRY._replace(c=CARRY.c.astype(jnp.int32))),
    ),
    "carry by position, one too many": (
        TypeError,
        {
            "carry.h: expected float32[2, 4], missing",
            "carry.c: expected float32[2, 4], missing",
            "carry[0]: unexpected float32[2, 4]",
            "carry[2]: unexpected float32[2, 4]",
        },
        lambda: scan(carry=(CARRY.h, CARRY.c, CARRY.c)),
    ),
    "carry in part": (
        TypeError,
        {"carry.c: expected float32[2, 4], missing", "carry: unexpected float32[2, 4]"},
        lambda: scan(carry=CARRY.h),
    ),
    "params, none": (
        TypeError,
        {"params: expected LSTMParams of the cell 'lstm', got NoneType"},
        lambda: scan(params=None),
    ),
    "params, a dict": (
        TypeError,
        {"params: expected LSTMParams of the cell 'lstm', got dict"},
        lambda: scan(params=PARAMS._asdict()),
    ),
    "params of another cell": (
        TypeError,
        {"params: expected LSTMParams of the cell 'lstm', got GRUParams"},
        lambda: scan(params=gru.init(KEY, D, H)),
    ),
    "params of another cell, called this one's": (
        ValueError,
        {
            "params.recurrent_kernel: expected float32[3, 12], got float32[4, 12]",
            "the cell 'lstm' with D = 3 and dtype float32 from xs (5, 2, 3), H = 3 from params",
        },
        lambda: scan(params=jaxrnn.cells.LSTMParams(*gru.init(KEY, D, H)[:3])),
    ),
    "params, one missing": (
        TypeError,
        {"params.recurrent_bias: expected float32[4], missing"},
        lambda: scan(gru.init(KEY, D, H)._replace(recurrent_bias=None), cell=gru),
    ),
    "params, two wrong": (
        ValueError,
        {
            "params.input_kernel: expected float32[3, 16], got float32[2, 2]",
            "params.bias: expected float32[16], got float32[3]",
        },
        lambda: scan(
            params=PARAMS._replace(bias=jnp.ones(3), input_kernel=jnp.ones((2, 2))),
        ),
    ),
    "params, a scalar for a kernel": (
        TypeError,
        {"params: expected LSTMParams of the cell 'lstm', got", "recurrent_kernel='float32[]'"},
        lambda: scan(params=PARAMS._replace(recurrent_kernel=jnp.ones(()))),
    ),
    "x of a step": (
        ValueError,
        {
            "x: expected 3 features (D), which params of the cell 'lstm' were made for, "
            "got 9: shape (2, 9)"
        },
        lambda: lstm.step(PARAMS, CARRY, jnp.ones((B, 9))),
    ),
    "x of a step, integers": (
        TypeError,
        {"x: expected a floating-point array, got dtype int32"},
        lambda: step(x=jnp.ones((B, D), jnp.int32)),
    ),
    "x of a step, a number": (
        ValueError,
        {"x: expected (*batch, D), at least one axis, got shape (); of one feature: x[..., None]"},
        lambda: step(x=1.0),
    ),
    "x of a step, another dtype": (
        TypeError,
        {"params.bias: expected bfloat16[16], got float32[16]", "dtype bfloat16 from x (2, 3)"},
        lambda: step(x=XS[0].astype(jnp.bfloat16)),
    ),
    "carry of a step, another batch": (
        ValueError,
        leaves("float32[2, 4]", "float32[3, 4]") | {"the carry of the cell 'lstm'", "axes (2,)"},
        lambda: step(carry=lstm.carry(PARAMS, (3,))),
    ),
    "carry of a step, in part": (
        TypeError,
        {"carry.c: expected float32[2, 4], missing", "carry: unexpected float32[2, 4]"},
        lambda: step(carry=CARRY.h),
    ),
    "carry of a step, none": (
        TypeError,
        {"carry.h: expected float32[2, 4], missing", "carry.c: expected float32[2, 4], missing"},
        lambda: step(carry=None),
    ),
    "params of a step, a dict": (
        TypeError,
        {"params: expected LSTMParams of the cell 'lstm', got dict"},
        lambda: step(params=PARAMS._asdict()),
    ),
    "params of a step of a stack": (
        ValueError,
        {
            "its input: expected 3 features (D), which params[1] of the cell 'lstm' were made "
            "for, got 4: shape (2, 4)"
        },
        lambda: step((PARAMS, PARAMS), (CARRY, CARRY), cell=TWO),
    ),
    "x of a step of a stack": (
        TypeError,
        {"params[0].bias: expected bfloat16[16], got float32[16]", "bfloat16 from x (2, 3)"},
        lambda: step(TWO_PARAMS, (CARRY, CARRY), XS[0].astype(jnp.bfloat16), TWO),
    ),
    "carry of a step of a stack": (
        ValueError,
        {"carry[1].h: expected float32[2, 4], got float32[4]", "'stack(lstm, lstm)'"},
        lambda: step(TWO_PARAMS, (CARRY, lstm.carry(PARAMS)), cell=TWO),
    ),
    "no cells": (
        ValueError,
        {"cells: expected at least one Cell or Layer, got none"},
        lambda: stack(),
    ),
    "cells, no cell": (
        TypeError,
        {"cells[1]: expected a Cell or a Layer, got str"},
        lambda: stack(lstm, "lstm"),
    ),
    "two directions of no cell": (
        TypeError,
        {"cell: expected a Cell or a Layer, got int"},
        lambda: bidirectional(3),
    ),
    "layers of no cell": (
        TypeError,
        {"cells[0]: expected a Cell or a Layer, got str"},
        lambda: rnn("lstm"),
    ),
    **{
        f"dropout = {rate!r}": (
            ValueError,
            {f"dropout: expected a rate in [0, 1), got {rate!r}"},
            lambda rate=rate: stack(lstm, lstm, dropout=rate),
        )
        for rate in (1.0, -0.1, float("nan"), "half")
    },
    "merge": (
        ValueError,
        {"merge: expected one of ('concat', 'sum', 'mean', 'mul'), got 'cat'"},
        lambda: bidirectional(lstm, merge="cat"),
    ),
    "no layers": (
        ValueError,
        {"num_layers: expected a positive int, got 0"},
        lambda: rnn(lstm, 0),
    ),
    "half a layer": (
        TypeError,
        {"num_layers: expected a positive int, got 1.5"},
        lambda: rnn(lstm, 1.5),
    ),
    "sizes of a stack": (
        ValueError,
        {"hidden_size: expected one or 2 sizes, got 1"},
        lambda: TWO.init(KEY, D, (H,)),
    ),
    "size of a layer": (
        ValueError,
        {"hidden_size[1]: expected a positive int, got 0"},
        lambda: TWO.init(KEY, D, (H, 0)),
    ),
    "size of a layer, none": (
        TypeError,
        {"hidden_size[0]: expected a positive int, got '4'"},
        lambda: TWO.init(KEY, D, ("4", H)),
    ),
    "params of a stack, a layer of another kind": (
        TypeError,
        {"params[1]: expected LSTMParams of the cell 'lstm', got dict"},
        lambda: scan((PARAMS, {}), cell=TWO),
    ),
    "params of one direction": (
        ValueError,
        {
            "params.backward.recurrent_kernel: expected float32[4, 16], got float32[4, 12]",
            "the cell 'lstm' with D = 3",
        },
        lambda: scan(
            (PARAMS, PARAMS._replace(recurrent_kernel=PARAMS.recurrent_kernel[:, :12])),
            cell=bidirectional(lstm),
        ),
    ),
    "params of one direction, another cell": (
        TypeError,
        {"params.backward: expected LSTMParams of the cell 'lstm', got GRUParams"},
        lambda: scan((PARAMS, gru.init(KEY, D, H)), cell=bidirectional(lstm)),
    ),
    "params of one direction, another kind": (
        TypeError,
        {"params.forward: expected LSTMParams of the cell 'lstm', got NoneType"},
        lambda: scan((None, PARAMS), cell=bidirectional(lstm)),
    ),
    "params of a layer within a layer": (
        TypeError,
        {"params[1].backward.input_kernel: expected float32[8, 16], missing"},
        lambda: scan((BOTH_PARAMS[0], BOTH_PARAMS[1]._replace(backward=WITHOUT)), cell=BOTH),
    ),
    "params of a layer with a learned carry": (
        ValueError,
        {
            "its input: expected 3 features (D), which params.cell[1] of the cell 'lstm'",
            "got 4: shape",
        },
        lambda: scan(LEARNED._replace(cell=(PARAMS, PARAMS)), cell=jaxrnn.learned_carry(TWO)),
    ),
    "params of a stack, too few": (
        TypeError,
        {"params: expected a tuple of 2 for 'stack(lstm, lstm)', got 1"},
        lambda: scan(TWO_PARAMS[:1], cell=TWO),
    ),
    "params of a stack, a layer's": (
        ValueError,
        {
            "its input: expected 3 features (D), which params[1] of the cell 'lstm' were made for, "
            "got 4: shape (5, 2, 4)"
        },
        lambda: scan((PARAMS, PARAMS), cell=TWO),
    ),
    "carry of a stack": (
        TypeError,
        {
            "carry[0].h: expected float32[2, 4], missing",
            "carry[1].c: expected float32[2, 4], missing",
            "carry.h: unexpected float32[2, 4]",
            "the carry of the cell 'stack(lstm, lstm)' for batch axes (2,)",
        },
        lambda: scan(TWO_PARAMS, carry=CARRY, cell=TWO),
    ),
    "params of two directions": (
        TypeError,
        {"params: expected a tuple of 2 for 'bidirectional(lstm)', got 3"},
        lambda: scan(cell=bidirectional(lstm)),
    ),
    "activation": (
        ValueError,
        {"activation: expected one of [", "got 'swish!'"},
        lambda: jaxrnn.make_elman(activation="swish!"),
    ),
    "reset of a GRU": (
        ValueError,
        {"reset: expected one of ('after', 'before'), got 'never'"},
        lambda: jaxrnn.make_gru(reset="never"),
    ),
    "update of a GRU": (
        ValueError,
        {"update: expected one of ('keep', 'write'), got 'add'"},
        lambda: jaxrnn.make_gru(update="add"),
    ),
    "initialisers, one per gate": (
        ValueError,
        {"init: expected one initializer per gate (4), got 2"},
        lambda: lstm.init(KEY, D, H, kernel_init=[jaxrnn.initializers.zeros] * 2),
    ),
    "a name that is not there": (
        AttributeError,
        {"module 'jaxrnn' has no attribute 'lstmm'"},
        lambda: jaxrnn.lstmm,
    ),
}


@pytest.mark.parametrize("label", FAULTS)
def test_fault(label):
    error, parts, call = FAULTS[label]
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error
    message = str(caught.value)
    missing = [part for part in parts if part not in message]
    assert not missing, f"{missing} not in {message!r}"


def test_under_jit_the_same():
    """At trace time, before anything runs; lengths are clipped there instead."""
    wrong = jnp.ones((T, B, D + 1))
    for call in (jax.jit(lambda xs: scan(xs=xs)), jax.vmap(lambda x: scan(xs=x), 1)):
        with pytest.raises(ValueError, match=re.escape("xs: expected 3 features (D), which")):
            call(wrong)
    with pytest.raises(TypeError, match="lengths: expected integers, got dtype float32"):
        jax.jit(lambda n: scan(lengths=n))(jnp.ones(B))


def test_lengths_may_be_any_integers():
    want = scan(lengths=[3, 5])[1]
    for dtype in (np.int8, np.uint8, np.int32, np.uint32, np.int64):
        np.testing.assert_array_equal(scan(lengths=np.array([3, 5], dtype))[1], want)
    np.testing.assert_array_equal(scan(xs=XS[:, :0], lengths=[])[1].shape, (T, 0, H))


def test_a_cell_that_changes_the_dtype_of_its_carry():
    """Is no cell: nothing is converted in silence."""

    def update(params, h, z):
        return jnp.tanh(z)  # float32, where h was given in bfloat16

    cell = jaxrnn.elman._replace(update=update)
    params = cell.init(KEY, D, H, dtype=jnp.bfloat16)
    with pytest.raises(TypeError, match="equal types"):
        scan(params, XS.astype(jnp.bfloat16), cell=cell)


@pytest.mark.parametrize("name", some(CELLS, ("lstm_projected", "gru", "lstm_reference")))
def test_every_cell_checks_its_parameters(name):
    """A surplus feature, and a batch that is not the carry's, are told by name."""
    cell, (d, h) = CELLS[name], SIZES.get(name, (D, H))
    params = cell.init(KEY, d, h)
    told = f"xs: expected {d} features (D), which params of the cell {cell.name!r} were made for"
    with pytest.raises(ValueError, match=re.escape(f"{told}, got {d + 1}: shape (5, 2, ")):
        jaxrnn.scan(cell, params, jnp.ones((T, B, d + 1)))
    with pytest.raises(ValueError, match=r"carry.*: expected (\w+)\[2, .*got \1\[3, "):
        jaxrnn.scan(cell, params, jnp.ones((T, B, d)), cell.carry(params, (3,)))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    with pytest.raises(TypeError, match=r"params.*: expected float32.*got bfloat16"):
        jaxrnn.scan(cell, half, jnp.ones((T, B, d)))
    count = len(jax.tree.leaves(params))
    with pytest.raises(TypeError) as caught:
        jaxrnn.scan(cell, half, jnp.ones((T, B, d)))
    assert str(caught.value).count("expected") == count, "every problem at once"


SIZED = {
    **CELLS,
    "stack": TWO,
    "two directions": bidirectional(lstm),
    "both": BOTH,
    "learned_carry": jaxrnn.learned_carry(gru),
    "md_rnn": jaxrnn.grid.make_md_rnn(2),
    "md_lstm": jaxrnn.grid.make_md_lstm(2),
}
NO_SIZES = {0: ValueError, -1: ValueError, 1.5: TypeError, "3": TypeError, True: TypeError}


@pytest.mark.parametrize("argument", ["input_size", "hidden_size"])
@pytest.mark.parametrize("name", SIZED)
def test_every_init_checks_its_sizes(name, argument):
    for value, error in NO_SIZES.items():
        sizes = {"input_size": D, "hidden_size": H} | {argument: value}
        told = f"^{argument}: expected a positive int, got {re.escape(repr(value))}$"
        with pytest.raises(error, match=told):
            SIZED[name].init(KEY, **sizes)


def test_sizes_may_be_any_integers():
    given = lstm.init(KEY, np.int64(D), np.uint8(H))
    jax.tree.map(np.testing.assert_array_equal, given, PARAMS)


def test_a_step_checks_under_transforms_too():
    integers = jnp.ones((B, D), jnp.int32)
    told = "x: expected a floating-point array, got dtype int32"
    for call in (jax.jit(step), jax.vmap(step, (None, 0, 0)), jax.checkpoint(step)):
        with pytest.raises(TypeError, match=told):
            call(PARAMS, CARRY, integers)
    short = jax.tree.map(lambda leaf: leaf[:1], CARRY)
    with pytest.raises(ValueError, match=re.escape("carry.h: expected float32[2, 4], got")):
        jax.jit(jax.grad(lambda p: step(p, short)[1].sum()))(PARAMS)


def test_a_step_that_was_checked_is_the_same_step():
    """Under every transform, on one device of a mesh, and with arrays of numpy."""
    x = jax.random.normal(KEY, (B, D))
    carry = lstm.update(PARAMS, CARRY, lstm.project(PARAMS, x) + lstm.recurrent(PARAMS, CARRY))
    want = carry, carry.h
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, all_ = jax.P("data"), jax.P()
    spread = jax.shard_map(step, mesh=mesh, in_specs=(all_, rows, rows), out_specs=rows)
    for call in (step, jax.jit(step), jax.vmap(step, (None, 0, 0)), jax.jit(spread)):
        for given in ((PARAMS, CARRY, x), jax.tree.map(np.asarray, (PARAMS, CARRY, x))):
            got = call(*given)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, want)
    tangents = jax.jvp(step, (PARAMS, CARRY, x), (PARAMS, CARRY, x))[1]
    assert float(abs(tangents[1]).sum()) > 0


OUTPUTS = {
    "a parameter": lambda params: params.bias,
    "a constant": lambda params: jnp.arange(4.0),
    "a number": lambda params: 2.0,
}


def own_cell(output):
    return jaxrnn.elman._replace(output=lambda params, h, z: output(params, h), name="own")


def losses(cell, params, xs):
    """By `scan` and by the loop that it stands for, a function of last carry and outputs."""

    def of(h, ys):
        return (h**2).sum() + (ys * jnp.arange(1.0, 1 + ys.size).reshape(ys.shape)).sum()

    def plain(params):
        h, ys = cell.carry(params, xs.shape[1:-1]), []
        for x in xs:
            h, y = cell.step(params, h, x)
            ys.append(y)
        return of(h, jnp.stack(ys))

    return lambda params: of(*jaxrnn.scan(cell, params, xs)), plain


@pytest.mark.slow
@pytest.mark.parametrize("batch", [(), (B,)])
@pytest.mark.parametrize("label", OUTPUTS)
def test_a_cell_whose_output_is_no_function_of_its_state(label, batch):

    def whole(params, h):
        return jnp.broadcast_to(OUTPUTS[label](params), h.shape)

    params = jaxrnn.elman.init(KEY, D, 4)._replace(bias=jnp.arange(4.0) / 4 + 1)
    xs = jax.random.normal(KEY, (T, *batch, D))
    by_scan, by_loop = losses(own_cell(whole), params, xs)
    got, want = (quick(jax.value_and_grad(f))(params) for f in (by_scan, by_loop))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, want)


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
@pytest.mark.parametrize("label", OUTPUTS)
def test_an_output_without_the_axes_of_its_state(label):
    """It works without a batch, however many steps there are; with one, that is said."""
    params = jaxrnn.elman.init(KEY, D, 4, dtype=jnp.float64)._replace(bias=jnp.arange(4.0) / 4 + 1)
    bare = own_cell(lambda params, h: OUTPUTS[label](params))
    for time in (4, T):  # as many as features, and not
        by_scan, by_loop = losses(bare, params, jax.random.normal(KEY, (time, D)))
        got, want = (quick(jax.value_and_grad(f))(params) for f in (by_scan, by_loop))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), got, want)
    shape = "float64[]" if label == "a number" else "float64[4]"
    told = f"cell: expected outputs with the batch axes (2,), got {shape} from 'own'"
    with pytest.raises(ValueError, match=re.escape(told)):
        jaxrnn.scan(bare, params, jax.random.normal(KEY, (T, B, D)))


@pytest.mark.parametrize(
    "run",
    [
        lambda start: jaxrnn.generate(
            lstm, PARAMS, XS, steps=2, readout=lambda h: h[..., :D], start=start
        ),
        lambda start: jaxrnn.decode(lstm, PARAMS, XS, key=KEY, start=start),
        lambda start: jaxrnn.truncated(lstm, PARAMS, XS, k1=T, loss=square, start=start),
        lambda start: jaxrnn.truncated_init(lstm, PARAMS, XS, k2=T, start=start),
        lambda start: jaxrnn.rtrl(lstm, PARAMS, XS, loss=square, start=start),
        lambda start: jaxrnn.rtrl_init(lstm, PARAMS, (B,), start=start),
    ],
    ids=["generate", "decode", "truncated", "truncated_init", "rtrl", "rtrl_init"],
)
def test_times_beyond_32_bits(run):
    with pytest.raises(ValueError, match=r"start: expected an int below 2\*\*31 in size, got -42"):
        run(-(42 * 10**9))


def test_the_time_of_a_step_beyond_32_bits():
    step = partial(lstm.step, PARAMS, lstm.carry(PARAMS, (B,)), XS[0], key=KEY)
    with pytest.raises(ValueError, match=r"time: expected an int below 2\*\*31 in size"):
        step(time=2**31)
