"""Decoding against plain Python loops, in float64; sampling against probabilities, by counting."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.base import Cell
from tests.reference import KINDS, assert_close, assert_same, loop, quick, random_like, where

pytestmark = pytest.mark.usefixtures("x64", "strict")
slow = pytest.mark.slow

V, D, H, B = 5, 3, 4, 3
CELLS = {"lstm": jaxrnn.lstm, "stack": jaxrnn.stack(jaxrnn.gru, jaxrnn.lstm)}
PROMPT = jnp.asarray([[1, 2, 0], [4, 0, 3], [2, 3, 3]], jnp.int32)
LENGTHS = jnp.asarray([3, 1, 2], jnp.int32)


class Net:
    """A cell with an embedding and a readout, all random, and a random carry."""

    def __init__(self, cell, seed=0, size=V, batch=B):
        shapes = jax.eval_shape(lambda key: cell.init(key, D, H, dtype=float), jax.random.key(0))
        self.cell, self.params = cell, random_like(shapes, seed)
        self.carry = random_like(
            jax.eval_shape(lambda p: cell.carry(p, (batch,)), shapes), seed + 1
        )
        self.compiled = {}
        table, kernel, bias = jnp.zeros((size, D)), jnp.zeros((H, size)), jnp.zeros(size)
        self.table, self.kernel, self.bias = random_like((table, kernel, bias), seed + 2, 2.0)
        self.options = {"embed": self.embed, "readout": self.readout}
        self.step = quick(cell.step)

    def embed(self, token):
        return self.table[token]

    def readout(self, y):
        return y @ self.kernel + self.bias

    def row(self, b):
        return jax.tree.map(lambda leaf: leaf[b], self.carry)

    def advance(self, carry, token):
        """The next carry and the log-probabilities of one row."""
        carry, y = self.step(self.params, carry, self.embed(token))
        return carry, jax.nn.log_softmax(self.readout(y))

    def read(self, prompt, carry):
        """The carry and the last token after a prompt of one row."""
        for token in prompt[:-1]:
            carry, _ = self.advance(carry, token)
        return carry, prompt[-1]


@pytest.fixture(
    params=[pytest.param(n, marks=() if n in KINDS else pytest.mark.slow) for n in CELLS],
    scope="module",
)
def net(request):
    """Every cell among the slow tests, one of each kind among the others."""
    with jax.enable_x64(True):
        return Net(CELLS[request.param])


@pytest.fixture(scope="module")
def lstm():
    with jax.enable_x64(True):
        return Net(jaxrnn.lstm)


def run(net, function, prompt, carry=None, **options):
    """One of the functions under test, compiled, from the carry of the net if None."""
    given = {name: options.pop(name) for name in ("lengths", "key", "start") if name in options}
    how = function, *sorted(options.items())
    if how not in net.compiled:
        net.compiled[how] = quick(
            lambda *args, **given: function(net.cell, *args, **given, **options)
        )
    f = net.compiled[how]
    return f(net.params, prompt, net.carry if carry is None else carry, **given)


# Generation.


def test_greedy_generation_is_the_loop(net):
    got = run(net, jaxrnn.generate, PROMPT, steps=6, lengths=LENGTHS, **net.options)
    for b in range(B):
        carry, fed = net.read(PROMPT[: LENGTHS[b], b], net.row(b))
        for j in range(6):
            carry, log_p = net.advance(carry, fed)
            fed = int(jnp.argmax(log_p))
            assert got.sequence[j, b] == fed, (j, b)
            assert_close(got.log_probs[j, b], log_p[fed], f"log p of step {j}, row {b}")
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b], got.carry), carry, f"carry {b}")
    assert got.lengths.tolist() == [6] * B
    assert got.sequence.dtype == PROMPT.dtype


def test_a_row_ends_and_stays_padded(lstm):
    generate = partial(run, lstm, jaxrnn.generate, PROMPT, lengths=LENGTHS, **lstm.options)
    free = generate(steps=8)
    # A token that some row but not every row says, and not first.
    says = np.asarray(free.sequence)
    ends = [t for t in range(V) if (says == t).any() and (says[0] != t).all()]
    end = min(ends, key=lambda t: (says == t).any(axis=0).sum())
    got = generate(steps=8, end=end, pad=-7)
    assert len(set(got.lengths.tolist())) > 1
    for b in range(B):
        n = next((j + 1 for j in range(8) if says[j, b] == end), 8)
        assert got.lengths[b] == n
        assert got.sequence[:n, b].tolist() == says[:n, b].tolist()
        assert got.sequence[n:, b].tolist() == [-7] * (8 - n)
        assert_same(got.log_probs[:n, b], free.log_probs[:n, b], "log p")
        assert not np.any(got.log_probs[n:, b])
        short = generate(steps=n)
        row = partial(jax.tree.map, lambda leaf, b=b: leaf[b])
        assert_close(row(got.carry), row(short.carry), f"carry {b}")
    assert (generate(steps=8, end=end).sequence[-1] == end).any()


@pytest.mark.parametrize(
    "choose", [pytest.param(None, marks=slow), jaxrnn.sampler(temperature=2.0)]
)
def test_stopping_early_changes_nothing(lstm, choose):
    options = dict(steps=40, end=2, pad=9, choose=choose, key=jax.random.key(3), **lstm.options)
    late = run(lstm, jaxrnn.generate, PROMPT, **options)
    early = run(lstm, jaxrnn.generate, PROMPT, early_stop=True, **options)
    assert_same(early, late, "early_stop")
    if choose is not None:
        assert late.lengths.max() < 40  # there was something to stop for


@pytest.mark.slow
def test_sampling_depends_on_key_time_and_row_only(lstm):
    choose = jaxrnn.sampler(temperature=1.5)
    options = dict(choose=choose, key=jax.random.key(5), **lstm.options)
    generate = partial(run, lstm, jaxrnn.generate, **options)
    whole = generate(PROMPT, steps=7, lengths=LENGTHS)
    assert not np.array_equal(whole.sequence, generate(PROMPT, steps=7).sequence)
    # In two parts, each row at a time of its own.
    part = generate(PROMPT, steps=3, lengths=LENGTHS)
    rest = generate(part.sequence[-1:], part.carry, steps=4, start=LENGTHS - 1 + 3)
    assert_same(part.sequence, whole.sequence[:3], "first part")
    assert_same(rest.sequence, whole.sequence[3:], "second part")
    # Each row as if all prompts were as long as its own, and in a smaller batch.
    for b in range(2):
        alone = generate(PROMPT[: LENGTHS[b]], steps=7)
        assert_same(alone.sequence[:, b], whole.sequence[:, b], f"row {b}")
    fewer = jax.tree.map(lambda leaf: leaf[:2], lstm.carry)
    two = generate(PROMPT[:, :2], fewer, steps=7, lengths=LENGTHS[:2])
    assert_same(two.sequence, whole.sequence[:, :2], "two rows of three")
    other = generate(PROMPT, steps=7, lengths=LENGTHS, key=jax.random.key(6))
    assert not np.array_equal(other.sequence, whole.sequence)


def test_log_probs_are_those_of_the_model_whatever_chose(lstm):
    choose = jaxrnn.sampler(temperature=3.0, top_k=4)
    got = run(
        lstm, jaxrnn.generate, PROMPT, steps=6, choose=choose, key=jax.random.key(1),
        **lstm.options,
    )  # fmt: skip
    said = jnp.concatenate([PROMPT, got.sequence[:-1]])
    _, logits = run(lstm, jaxrnn.decode, said, **lstm.options)
    want = jax.nn.log_softmax(logits[len(PROMPT) - 1 :])
    want = np.take_along_axis(np.asarray(want), np.asarray(got.sequence)[..., None], -1)[..., 0]
    assert_close(got.log_probs, want, "log p")


def test_generated_tokens_have_the_probabilities_of_the_model():
    """10,000 rows from one state: first tokens, and second tokens after each first."""
    rows = 10_000
    net = Net(jaxrnn.gru, batch=1)
    carry = jnp.broadcast_to(net.carry, (rows, H))
    choose = jaxrnn.sampler(temperature=1.3)
    got = quick(partial(jaxrnn.generate, net.cell, steps=2, choose=choose, **net.options))(
        net.params, jnp.full((1, rows), 1), carry, key=jax.random.key(0)
    )
    carry, log_p = net.advance(net.carry[0], 1)
    joint = jax.nn.softmax(log_p / 1.3)[:, None] * jnp.stack(
        [jax.nn.softmax(net.advance(carry, token)[1] / 1.3) for token in range(V)]
    )
    counts = np.zeros((V, V))
    np.add.at(counts, tuple(np.asarray(got.sequence)), 1)
    p, counts = np.ravel(joint), np.ravel(counts)
    rare = rows * p < 10  # too rare for a normal approximation each by itself: one class
    p = np.append(p[~rare], p[rare].sum())
    counts = np.append(counts[~rare], counts[rare].sum())
    assert len(p) > 8
    z = (counts - rows * p) / np.sqrt(rows * p * (1 - p))
    assert np.abs(z).max() < 4  # of at most 26


@pytest.mark.parametrize(
    "cell",
    [jaxrnn.lstm, pytest.param(CELLS["stack"], marks=pytest.mark.slow)],
    ids=["lstm", "stack"],
)
def test_values_are_fed_back_and_differentiated_through(cell):
    net = Net(cell)
    kernel = random_like(jnp.zeros((H, D)), 9)
    prompt = random_like(jnp.zeros((4, B, D)), 10)
    lengths = np.asarray([4, 2, 1])
    weights = random_like(jnp.zeros((5, B, D)), 11)

    def looped(params, kernel, prompt):
        rows = []
        for b in range(B):
            n = int(lengths[b])
            carry, _, _ = loop(cell, params, prompt[: n - 1, b], net.row(b)) if n > 1 else (
                net.row(b), None, None
            )  # fmt: skip
            fed, values = prompt[n - 1, b], []
            for _ in range(5):
                carry, y = cell.step(params, carry, fed)
                fed = y @ kernel
                values.append(fed)
            rows.append(jnp.stack(values))
        return jnp.sum(weights * jnp.stack(rows, 1)), jnp.stack(rows, 1)

    def generated(params, kernel, prompt):
        got = jaxrnn.generate(
            cell, params, prompt, net.carry, steps=5, lengths=lengths, readout=lambda y: y @ kernel
        )
        assert got.log_probs is None
        return jnp.sum(weights * got.sequence), got.sequence

    gradients = [
        quick(jax.grad(f, argnums=(0, 1, 2), has_aux=True))(net.params, kernel, prompt)
        for f in (generated, looped)
    ]
    assert_close(*gradients, "gradients and values", 1e-10)


# Given inputs, own outputs, and both.

INPUTS = jnp.asarray([[1, 2, 0], [4, 0, 3], [2, 3, 3], [0, 1, 4], [3, 3, 1]], jnp.int32)


def test_teacher_forcing_is_the_loop(net):
    carry, logits = run(net, jaxrnn.decode, INPUTS, **net.options)
    want, ys, _ = quick(partial(loop, net.cell))(net.params, net.embed(INPUTS), net.carry)
    assert_close((carry, logits), (want, net.readout(ys)), "decode")


def test_probability_0_is_teacher_forcing_and_1_is_free_running(net):
    key = jax.random.key(2)
    forced = run(net, jaxrnn.decode, INPUTS, **net.options)
    traced = quick(
        lambda p: jaxrnn.decode(
            net.cell, net.params, INPUTS, net.carry, probability=p, key=key, **net.options
        )
    )
    assert_close(traced(0.0), forced, "probability 0")
    for choose in (None, jaxrnn.sampler(temperature=2.0)):
        options = dict(choose=choose, key=key, **net.options)
        _, logits = run(net, jaxrnn.decode, INPUTS, probability=1.0, **options)
        free = run(net, jaxrnn.generate, INPUTS[:1], steps=len(INPUTS), **options)
        own = jnp.concatenate([INPUTS[:1], free.sequence[:-1]])
        _, want = run(net, jaxrnn.decode, own, **net.options)
        assert_close(logits, want, "probability 1")
    _, greedy = run(net, jaxrnn.decode, INPUTS, probability=1.0, **net.options)  # needs no key
    assert_close(greedy, traced(1.0)[1], "greedy")


def successor(size):
    """A network without memory that predicts token + 1, so its outputs tell what it was fed."""
    return Cell(
        name="successor",
        init=lambda *args, **options: {},
        carry=lambda params, batch_shape=(): jnp.zeros((*batch_shape, 1)),
        project=lambda params, x: jnp.roll(x, 1, axis=-1),
        recurrent=lambda params, carry: None,
        update=lambda params, carry, z: carry + z[..., :1],
        output=lambda params, carry, z: z,
    )


def test_scheduled_sampling_feeds_own_tokens_at_the_rate_asked_for():
    size, time, batch = 11, 40, 100
    inputs = np.random.default_rng(0).integers(size, size=(time, batch))
    embed = lambda token: jax.nn.one_hot(token, size)  # noqa: E731
    decode = quick(
        lambda key, probability, inputs, start: jaxrnn.decode(
            successor(size), {}, inputs, embed=embed, probability=probability, key=key, start=start
        )[1]
    )
    outputs = decode(jax.random.key(0), 0.3, inputs, 0)
    fed = (np.argmax(np.asarray(outputs), -1) - 1) % size
    own = (fed[:-1] + 1) % size
    assert np.array_equal(fed[0], inputs[0])
    assert np.all((fed[1:] == inputs[1:]) | (fed[1:] == own))
    tell = inputs[1:] != own
    rate, count = (fed[1:] == own)[tell].mean(), int(tell.sum())
    assert abs(rate - 0.3) < 4 * np.sqrt(0.3 * 0.7 / count)
    # The coins of different rows, times and keys are different; those of a time are its own.
    coins = fed[1:] != inputs[1:]
    assert len({tuple(row) for row in coins.T}) == batch
    assert len({tuple(row) for row in coins}) == time - 1
    late = np.argmax(decode(jax.random.key(0), 0.3, inputs[5:], 5), -1)
    again = np.argmax(outputs[5:], -1)
    same = fed[5] == inputs[5]  # rows that both were given their first input
    assert same.sum() > 50
    assert np.array_equal(late[:, same], again[:, same])
    assert not np.array_equal(decode(jax.random.key(1), 0.3, inputs, 0), outputs)


def test_values_are_differentiated_through_their_feedback(lstm):
    kernel = random_like(jnp.zeros((H, D)), 9)
    inputs, weights = random_like((jnp.zeros((5, B, D)), jnp.zeros((5, B, D))), 10)

    def looped(params, kernel, inputs):
        carry, fed, total = lstm.carry, inputs[0], 0.0
        for t in range(5):
            carry, y = lstm.cell.step(params, carry, fed)
            fed = y @ kernel
            total += jnp.sum(weights[t] * fed)
        return total

    def decoded(params, kernel, inputs):
        readout = lambda y: y @ kernel  # noqa: E731
        _, outputs = jaxrnn.decode(
            lstm.cell, params, inputs, lstm.carry, readout=readout, probability=1.0
        )
        return jnp.sum(weights * outputs)

    grads = [
        quick(jax.grad(f, argnums=(0, 1, 2)))(lstm.params, kernel, inputs)
        for f in (decoded, looped)
    ]
    assert_close(*grads, "gradients", 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("probability", [pytest.param(0.0, marks=slow), 0.5])
def test_padding_reaches_nothing(lstm, probability):
    """A padded batch is its rows run alone, and NaN in the padding changes no bit."""
    kernel = random_like(jnp.zeros((H, D)), 9)
    inputs, weights = random_like((jnp.zeros((5, B, D)), jnp.zeros((5, B, D))), 10)
    lengths = np.asarray([5, 0, 3])
    past = np.arange(5)[:, None] >= lengths

    def decoded(params, table, kernel, inputs, carry, lengths):
        return jaxrnn.decode(
            lstm.cell, params, inputs, carry, lengths=lengths, probability=probability,
            key=jax.random.key(0), embed=lambda x: x @ table, readout=lambda y: y @ kernel + 1,
        )  # fmt: skip

    decode = quick(decoded)
    table = random_like(jnp.zeros((D, D)), 8)
    clean = decode(lstm.params, table, kernel, inputs, lstm.carry, lengths)
    dirty_inputs = jnp.where(past[..., None], jnp.nan, inputs)
    assert_same(decode(lstm.params, table, kernel, dirty_inputs, lstm.carry, lengths), clean, "NaN")
    assert not np.any(clean[1][past])
    short = decode(lstm.params, table, kernel, inputs[:3], lstm.carry, np.asarray([3, 3, 3]))
    row = partial(jax.tree.map, lambda leaf: leaf[2])
    assert_close(clean[1][:3, 2], short[1][:, 2], "row of length 3")
    assert_close(row(clean[0]), row(short[0]), "its carry")
    assert_same(*(jax.tree.map(lambda leaf: leaf[1], c) for c in (clean[0], lstm.carry)), "row 1")

    def total(params, table, kernel, inputs):
        carry, outputs = decoded(params, table, kernel, inputs, lstm.carry, lengths)
        return jnp.sum(weights * outputs) + jnp.sum(carry.h)

    grad = quick(jax.grad(total, argnums=(0, 1, 2, 3)))
    grads = [grad(lstm.params, table, kernel, data) for data in (inputs, dirty_inputs)]
    assert_same(grads[1], grads[0], "gradients")
    assert not np.any(grads[0][3][past])
    assert all(np.any(leaf) for leaf in jax.tree.leaves(grads[0]))


RESET = np.zeros((5, B), bool)
RESET[2, 0] = RESET[0, 1] = RESET[3, 2] = True  # in the middle, at the first step, past a length


@pytest.mark.parametrize("probability", [pytest.param(0.0, marks=slow), 1.0])
def test_a_reset_begins_a_new_sequence(probability):
    """From the cell's own carry, with the input that is given; the loop, and the row alone."""
    cell = jaxrnn.learned_carry(jaxrnn.lstm)
    net, kernel = Net(cell), random_like(jnp.zeros((H, D)), 9)
    inputs, weights = random_like((jnp.zeros((5, B, D)), jnp.zeros((5, B, D))), 10)
    lengths = np.asarray([5, 4, 3])

    def looped(params, kernel, inputs):
        carry, before, outputs = net.carry, jnp.zeros((B, D)), []
        for t in range(5):
            held = where(RESET[t] & (t < lengths), cell.carry(params, (B,)), carry)
            begins = RESET[t] | (t == 0) | (probability == 0)
            new, y = cell.step(params, held, where(jnp.asarray(begins), inputs[t], before))
            before = y @ kernel
            carry = where(t < lengths, new, held)
            outputs.append(where(t < lengths, before, jnp.zeros_like(before)))
        return carry, jnp.stack(outputs)

    def decoded(params, kernel, inputs):
        return jaxrnn.decode(
            cell, params, inputs, net.carry, readout=lambda y: y @ kernel,
            probability=probability, lengths=lengths, reset=RESET,
        )  # fmt: skip

    @partial(quick, static_argnums=0)
    def differentiated(run, *arguments):
        def total(*arguments):
            carry, outputs = run(*arguments)
            return jnp.sum(weights * outputs) + jnp.sum(carry.h * carry.c), (carry, outputs)

        return jax.grad(total, argnums=(0, 1, 2), has_aux=True)(*arguments)

    got, want = (differentiated(run, net.params, kernel, inputs) for run in (decoded, looped))
    assert_close(got, want, "decode", 1e-11)
    assert np.all(got[0][0].initial.h != 0), "the carry that a reset restarts from is learned"
    alone = jaxrnn.decode(
        cell, net.params, inputs[2:, 0], readout=lambda y: y @ kernel, probability=probability
    )
    assert_close(got[1][1][2:, 0], alone[1], "the second sequence of a row, alone")


def test_a_reset_may_go_to_another_carry(lstm):
    again = random_like(lstm.carry, 5)
    inputs = random_like(jnp.zeros((5, B, D)), 10)
    decode = partial(jaxrnn.decode, lstm.cell, lstm.params, inputs, lstm.carry)
    flags = {"reset": RESET, "reset_carry": again}
    _, ys = jaxrnn.scan(lstm.cell, lstm.params, inputs, lstm.carry, **flags)
    assert_close(decode(**flags)[1], ys, "as a scan")
    nothing = lambda key, y: jnp.zeros(D)  # noqa: E731
    step = quick(lambda p: decode(**flags, probability=p, key=jax.random.key(0), choose=nothing)[1])
    assert_close(step(0.0), ys, "step by step")  # traced: not known to be 0
    for probability in (0.0, 1.0):
        with pytest.raises(ValueError, match="reset_carry: expected it only with reset"):
            decode(reset_carry=again, probability=probability, choose=nothing)


@pytest.mark.slow
def test_dropout_of_the_cell_is_that_of_scan():
    net = Net(jaxrnn.stack(jaxrnn.elman, jaxrnn.elman, dropout=0.5))
    key = jax.random.key(7)
    _, want = jaxrnn.scan(
        net.cell, net.params, net.embed(INPUTS), net.carry, key=key, start=jnp.asarray(11)
    )
    decode = lambda probability: jaxrnn.decode(  # noqa: E731
        net.cell, net.params, INPUTS, net.carry, embed=net.embed, key=key, start=11,
        probability=probability, choose=lambda key, y: jnp.asarray(0),
    )[1]  # fmt: skip
    assert_close(decode(0.0), want, "as a scan")
    assert_close(quick(decode)(0.0), want, "step by step")  # traced: not known to be 0


@pytest.mark.slow
def test_encoder_and_decoder_train_together():
    """Gradients of the whole, through the carry handed over, are those of the loop."""
    net = Net(jaxrnn.gru)
    encoder = random_like(net.params, 20)
    lengths = jnp.asarray([5, 2, 0])
    source = random_like(jnp.zeros((5, B, D)), 21)
    one_hot = jax.nn.one_hot(jnp.roll(INPUTS, -1, axis=0), V, dtype=float)

    def value(logits):
        return -jnp.sum(one_hot * jax.nn.log_softmax(logits))

    def built(encoder, params, table, source):
        carry, _ = jaxrnn.scan(net.cell, encoder, source, lengths=lengths)
        embed = lambda token: table[token]  # noqa: E731
        _, logits = jaxrnn.decode(net.cell, params, INPUTS, carry, embed=embed, readout=net.readout)
        return value(logits)

    def looped(encoder, params, table, source):
        valid = np.arange(5)[:, None] < np.asarray(lengths)
        zeros = net.cell.carry(encoder, (B,))
        carry, _, _ = loop(net.cell, encoder, source, zeros, valid)
        _, ys, _ = loop(net.cell, params, table[INPUTS], carry)
        return value(net.readout(ys))

    arguments = encoder, net.params, net.table, source
    grads = [quick(jax.grad(f, argnums=(0, 1, 2, 3)))(*arguments) for f in (built, looped)]
    assert_close(*grads, "gradients", 1e-11)


# Choosing.

LOGITS = np.asarray([0.3, 1.7, -0.6, 1.1, 1.1, -2.0])


def expected(temperature=1.0, top_k=None, top_p=None):
    """The probabilities of a sampler, from the definition."""
    p = np.exp(LOGITS / temperature)
    order = np.argsort(-LOGITS, kind="stable")[:top_k]
    kept, mass = [], 0.0
    for v in order:
        if top_p is None or mass < top_p:
            kept.append(v)
        mass += p[v] / p[order].sum()
    out = np.zeros(len(p))
    out[kept] = p[kept] / p[kept].sum()
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"top_k": 3},
        {"top_k": 4, "temperature": 2.0},  # of the two equal logits both are kept
        {"top_k": 2},  # and of them here the first
        {"top_k": 100},
        {"top_p": 0.7},
        {"top_p": 1e-6},
        {"top_p": 1.0},
        {"top_p": 0.6, "temperature": 1.5, "top_k": 4},
    ],
    ids=str,
)
def test_sampler_draws_what_it_should(options):
    n = 20_000
    choose = jaxrnn.sampler(**options)
    draws = jax.vmap(choose, (0, None))(jax.random.split(jax.random.key(0), n), LOGITS)
    counts = np.bincount(draws, minlength=len(LOGITS))
    p = expected(**options)
    assert np.array_equal(counts > 0, p > 0)
    spread = np.sqrt(n * p * (1 - p))
    assert np.all(np.abs(counts - n * p) <= 4 * spread)


def test_a_sampler_takes_leading_axes_and_half_types():
    logits = jnp.asarray(np.stack([LOGITS, -LOGITS]), jnp.bfloat16)
    for choose in (jaxrnn.greedy, jaxrnn.sampler(temperature=0), jaxrnn.sampler(top_k=1)):
        token = choose(jax.random.key(0), logits)
        assert token.tolist() == [1, 5]
        assert token.dtype == jnp.int32
    assert jaxrnn.sampler(top_p=0.9)(jax.random.key(0), logits).shape == (2,)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"temperature": -0.1}, ValueError, "temperature: expected a finite number >= 0"),
        ({"temperature": float("nan")}, ValueError, "temperature"),
        ({"temperature": float("inf")}, ValueError, "temperature"),
        ({"temperature": "hot"}, TypeError, "temperature: expected a number >= 0, got str"),
        ({"top_k": 0}, ValueError, "top_k: expected a positive int, got 0"),
        ({"top_k": 2.5}, TypeError, "top_k"),
        ({"top_k": 0, "temperature": 0}, ValueError, "top_k"),
        ({"top_p": 0.0}, ValueError, r"top_p: expected a probability in \(0, 1\], got 0.0"),
        ({"top_p": 1.01}, ValueError, "top_p"),
        ({"top_p": float("nan")}, ValueError, "top_p"),
    ],
)
def test_a_sampler_refuses_nonsense(options, error, message):
    with pytest.raises(error, match=message):
        jaxrnn.sampler(**options)


def test_a_tiny_temperature_takes_the_best():
    logits = jnp.asarray([[0.0, -1.0, -2.0], [-1.0, 3.0, -np.inf], [1.0, 2.0, 300.0]], jnp.float32)
    for tiny in (1e-30, np.float32(1e-38), 1e-45, 1e-320):
        choose = jaxrnn.sampler(temperature=tiny)
        with jax.debug_nans(True):
            assert choose(jax.random.key(0), logits).tolist() == [0, 1, 2]


# Beam search.


def hypotheses(net, prompt, carry, steps, end, alpha):
    """All there are, best first: (score, log P, tokens)."""
    found = []

    def extend(carry, fed, tokens, log_prob):
        carry, log_p = net.advance(carry, fed)
        for v, lp in enumerate(np.asarray(log_p)):
            new, total = [*tokens, v], log_prob + lp
            if v == end or len(new) == steps:
                found.append((total / ((5 + len(new)) / 6) ** alpha, total, new))
            else:
                extend(carry, v, new, total)

    extend(*net.read(prompt, carry), [], 0.0)
    return sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("alpha", "end"), [(1.7, 2), *(pytest.param(*p, marks=slow) for p in ((0.0, 2), (0.0, None)))]
)
def test_a_wide_beam_is_an_exhaustive_search(alpha, end):
    size, steps = 3, 3
    net = Net(jaxrnn.lstm, size=size, batch=2)
    prompt, lengths = jnp.asarray([[0, 1], [1, 0]]), jnp.asarray([2, 1])
    want = [
        hypotheses(net, prompt[: lengths[b], b], net.row(b), steps, end, alpha) for b in range(2)
    ]
    count = len(want[0])
    assert count == (15 if end == 2 else 27)
    beams = count + 2
    pad = {} if end is None else {"pad": 7}
    got = run(
        net, jaxrnn.beam_search, prompt, steps=steps, beams=beams, length_penalty=alpha, end=end,
        lengths=lengths, **pad, **net.options,
    )  # fmt: skip
    for b in range(2):
        for k, (score, log_prob, tokens) in enumerate(want[b]):
            n = len(tokens)
            assert got.sequence[k, :, b].tolist() == tokens + [7] * (steps - n), (k, b)
            assert got.lengths[k, b] == n
            assert_close(got.scores[k, b], score, f"score {k}, {b}")
            assert_close(got.log_probs[k, b], log_prob, f"log P {k}, {b}")
            carry, _ = net.read(
                jnp.concatenate([prompt[: lengths[b], b], jnp.asarray(tokens)]), net.row(b)
            )
            mine = jax.tree.map(lambda leaf, k=k, b=b: leaf[k, b], got.carry)
            assert_close(mine, carry, f"carry {k}, {b}")
    assert np.all(got.scores[count:] == -np.inf)


@pytest.mark.parametrize("alpha", [pytest.param(0.0, marks=slow), 1.0])
def test_one_beam_is_greedy(net, alpha):
    options = dict(steps=8, end=3, pad=-1, lengths=LENGTHS, **net.options)
    greedy = run(net, jaxrnn.generate, PROMPT, **options)
    beam = run(net, jaxrnn.beam_search, PROMPT, beams=1, length_penalty=alpha, **options)
    assert_same(beam.sequence[0], greedy.sequence, "tokens")
    assert_same(beam.lengths[0], greedy.lengths, "lengths")
    assert_close(beam.log_probs[0], greedy.log_probs.sum(0), "log P")
    assert_close(jax.tree.map(lambda leaf: leaf[0], beam.carry), greedy.carry, "carry")


def bigrams(tables):
    """A network that says for each row what its own table says after each token."""
    embed = lambda token: jax.nn.one_hot(token, tables.shape[-1], dtype=tables.dtype)  # noqa: E731
    rows = np.arange(len(tables))
    readout = lambda y: tables[rows, jnp.argmax(y, axis=-1)]  # noqa: E731
    return {"embed": embed, "readout": readout}


def echo():
    """A cell that gives back its input."""
    return successor(1)._replace(project=lambda params, x: x)


def searched(log_p, steps, K, alpha, end):
    """The definition, in plain Python: the K best, each ``(score, log P, tokens)``."""
    live, ended = [(0.0, [])], []
    rank = lambda log_prob, tokens: log_prob / ((5 + len(tokens)) / 6) ** alpha  # noqa: E731
    for _ in range(steps):
        longer = [
            (log_prob + lp, [*tokens, v])
            for log_prob, tokens in live
            for v, lp in enumerate(log_p[tokens[-1] if tokens else 0])
        ]
        longer.sort(key=lambda each: -each[0])
        ended += [each for each in longer if each[1][-1] == end]
        live = [each for each in longer if each[1][-1] != end][:K]
    every = [(rank(*each), *each) for each in ended + live]
    return sorted(every, key=lambda each: -each[0])[:K]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("K", "alpha"),
    [(2, 0.0), pytest.param(2, 0.9, marks=slow), pytest.param(3, 0.0, marks=slow), (3, 0.9)],
)
def test_a_beam_keeps_apart_what_has_ended(K, alpha):
    """60 random cases of each kind; and stopping early changes nothing."""
    size, steps, end, cases = 4, 5, 2, 60
    tables = 2 * np.random.default_rng(K).normal(size=(cases, size, size))
    tables[..., end] -= 1  # ends are rare enough to be pushed out
    prompt = jnp.zeros((1, cases), jnp.uint8)

    @partial(quick, static_argnums=1)
    def search(tables, early_stop):
        return jaxrnn.beam_search(
            echo(), {}, prompt, steps=steps, beams=K, end=end, pad=9, early_stop=early_stop,
            length_penalty=np.float32(alpha), **bigrams(tables),
        )  # fmt: skip

    got, alpha = search(tables, False), float(np.float32(alpha))
    for b, log_p in enumerate(np.asarray(jax.nn.log_softmax(tables))):
        for k, (score, log_prob, tokens) in enumerate(searched(log_p, steps, K, alpha, end)):
            assert got.sequence[k, :, b].tolist() == tokens + [9] * (steps - len(tokens)), (b, k)
            assert got.lengths[k, b] == len(tokens)
            assert_close(got.scores[k, b], score, f"score {b}, {k}")
            assert_close(got.log_probs[k, b], log_prob, f"log P {b}, {k}")
    assert_same(search(tables, True), got, "early stop")


@pytest.mark.slow
@pytest.mark.parametrize("beams", [pytest.param(1, marks=slow), 3])
def test_a_beam_of_nothing_is_minus_infinity(beams):
    """All tokens masked, from the beginning or after the first; never NaN, even in gradients."""
    tables = np.random.default_rng(0).normal(size=(3, 4, 4))
    tables[0, 0] = -np.inf
    tables[1, 1:] = -np.inf
    prompt, options = jnp.zeros((1, 3), int), bigrams(jnp.asarray(tables))
    for end in (None, 3):
        got = quick(
            partial(
                jaxrnn.beam_search, echo(), steps=3, beams=beams, end=end, length_penalty=0.5,
                **options,
            )
        )({}, prompt)  # fmt: skip
        assert not np.any(np.isnan(got.scores))
        assert np.all(got.scores[:, 0] == -np.inf)
        assert np.all(got.lengths[:, 0] == 0)
        assert np.isfinite(got.scores[0, 2])
    log_probs = jaxrnn.generate(echo(), {}, prompt, steps=2, **options).log_probs
    assert np.all(log_probs[:, 0] == -np.inf)
    assert np.isfinite(log_probs[0, 1])
    grads = jax.grad(
        lambda t: jaxrnn.generate(echo(), {}, prompt, steps=1, **bigrams(t)).log_probs[0, 2]
    )(jnp.asarray(tables))
    assert np.all(np.isfinite(grads))


# The last valid step.


def test_last():
    ys = random_like(jnp.zeros((4, 3, 2)), 0)
    initial = random_like(jnp.zeros((3, 2)), 1)
    lengths = np.asarray([4, 0, 2])
    want = np.stack([ys[3, 0], initial[1], ys[1, 2]])
    dirty = jnp.where((np.arange(4)[:, None] >= lengths)[..., None], jnp.nan, ys)
    assert_same(jax.jit(jaxrnn.last)(dirty, lengths, initial=initial), want, "last")
    assert_same(jaxrnn.last(ys, lengths)[1], np.zeros(2), "zeros")
    assert_same(jaxrnn.last(ys), ys[-1], "no lengths")
    assert_same(jaxrnn.last(ys[:0], initial=initial), initial, "no steps")
    assert_same(jaxrnn.last(ys[:, 0], jnp.asarray(3)), ys[2, 0], "no batch")
    grads = jax.grad(lambda ys: jnp.sum(initial * jaxrnn.last(ys, lengths)))(dirty)
    assert_same(grads, np.zeros_like(ys) + np.where(
        (np.arange(4)[:, None] == lengths - 1)[..., None], initial, 0), "gradient")  # fmt: skip


def test_last_is_the_carry_of_scan(lstm):
    xs = random_like(jnp.zeros((4, B, D)), 3)
    lengths = np.asarray([4, 0, 2])
    carry, ys = jaxrnn.scan(lstm.cell, lstm.params, xs, lstm.carry, lengths=lengths)
    assert_same(jaxrnn.last(ys, lengths, initial=lstm.carry.h), carry.h, "last")


@pytest.mark.parametrize("lengths", [None, np.asarray([4, 0, 2])])
def test_last_of_a_row_with_gaps(lengths):
    """The newest step that is valid, whatever is behind it; from `initial` where there is none."""
    ys, initial = random_like((jnp.zeros((4, 3, 2)), jnp.zeros((3, 2))), 0)
    mask = np.asarray([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], bool)
    want = [ys[1, 0], ys[2, 1], ys[3, 2]]
    if lengths is not None:
        want = [ys[1, 0], initial[1], initial[2]]
    valid = mask & (np.arange(4)[:, None] < (4 if lengths is None else lengths))
    dirty = jnp.where(valid[..., None], ys, jnp.nan)
    got, grads = jax.value_and_grad(
        lambda ys: jnp.sum(initial * jaxrnn.last(ys, lengths, mask, initial=initial))
    )(dirty)
    assert_close(got, jnp.sum(initial * jnp.stack(want)), "last")
    assert not np.any(grads[~valid])
    xs = random_like(jnp.zeros((4, 3, 2)), 1)
    params = jaxrnn.elman.init(jax.random.key(0), 2, 2, dtype=float)
    carry, ys = jaxrnn.scan(jaxrnn.elman, params, xs, initial, lengths=lengths, mask=mask)
    assert_same(jaxrnn.last(ys, lengths, mask, initial=initial), carry, "the carry of scan")


def test_last_of_two_directions_is_half_read():
    """As its docstring says: what both have read of the whole is in the carry."""
    layer = jaxrnn.bidirectional(jaxrnn.gru)
    shapes = jax.eval_shape(lambda key: layer.init(key, D, H, dtype=float), jax.random.key(0))
    params, lengths = random_like(shapes, 2), np.asarray([4, 1, 2])
    xs = random_like(jnp.zeros((4, B, D)), 3)
    carry, ys = quick(partial(jaxrnn.scan, layer))(params, xs, lengths=lengths)
    ahead, back = jnp.split(jaxrnn.last(ys, lengths), 2, axis=-1)
    assert_close(ahead, carry.forward, "forward")
    ends = xs[lengths - 1, np.arange(B)]
    start = jaxrnn.gru.carry(params.backward, (B,))
    assert_close(back, jaxrnn.gru.step(params.backward, start, ends)[1], "backward, one step")
    assert np.abs(back - carry.backward)[0].max() > 1e-3


def test_last_refuses_nonsense():
    ys = jnp.zeros((4, 3, 2))
    with pytest.raises(TypeError, match="mask: expected booleans"):
        jaxrnn.last(ys, mask=jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=r"mask: expected shape \(4, 3\)"):
        jaxrnn.last(ys, mask=jnp.ones((3, 4), bool))
    with pytest.raises(ValueError, match="ys: expected"):
        jaxrnn.last(ys[0, 0])


# Any batch axes, transformations, and bad input.


@pytest.mark.slow
def test_no_batch_axis_and_two(lstm):
    generate = partial(run, lstm, jaxrnn.generate, steps=4, **lstm.options)
    search = partial(run, lstm, jaxrnn.beam_search, steps=4, beams=2, **lstm.options)
    want, found = generate(PROMPT), search(PROMPT)
    one = generate(PROMPT[:, 1], lstm.row(1))
    assert_same(one.sequence, want.sequence[:, 1], "no batch axis")
    one = search(PROMPT[:, 1], lstm.row(1))
    assert_same(one.sequence, found.sequence[:, :, 1], "no batch axis")
    two = generate(PROMPT[:, :, None], jax.tree.map(lambda leaf: leaf[:, None], lstm.carry))
    assert_same(two.sequence[:, :, 0], want.sequence, "two batch axes")
    rows = quick(
        jax.vmap(
            lambda prompt, carry: jaxrnn.beam_search(
                lstm.cell, lstm.params, prompt, carry, steps=4, beams=2, **lstm.options
            ),
            (1, 0),
        )
    )(PROMPT, lstm.carry)
    assert_same(jnp.moveaxis(rows.sequence, 0, -1), found.sequence, "vmap")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps: expected a positive int, got 0"),
        ({"prompt": PROMPT[:0]}, ValueError, "prompt: expected at least one step"),
        ({"lengths": np.asarray([3, 0, 1])}, ValueError, "lengths: expected values in 1..3"),
        ({"lengths": np.asarray([3, 4, 1])}, ValueError, "lengths"),
        ({"pad": 0}, ValueError, "pad: expected it only with a token `end`"),
        ({"early_stop": True}, ValueError, "early_stop: expected it only with"),
        ({"choose": jaxrnn.sampler()}, ValueError, "key: expected a PRNG key to sample with"),
        ({"readout": lambda y: y[..., None]}, ValueError, r"choose\(readout\(y\)\)"),
        ({"embed": lambda token: token}, TypeError, "embed: expected a function"),
        ({"prompt": PROMPT > 1}, TypeError, "prompt: expected integers or floats"),
        (
            {"cell": jaxrnn.bidirectional(jaxrnn.lstm)},
            TypeError,
            "cell: expected a Cell, or a Layer",
        ),
        ({"prompt": np.ones((2, B, D)), "embed": lambda x: x, "end": 1}, ValueError, "end: "),
        ({"end": V}, ValueError, r"end: expected a token in 0\.\.4, .* got 5"),
        ({"end": -1}, ValueError, "end: expected a token"),
        ({"end": True}, TypeError, "end: expected a token, an int, got True"),
        ({"end": 1, "pad": 1 << 40}, ValueError, "pad: expected a token in .* what int32 holds"),
        ({"end": 1, "pad": 0.5}, TypeError, "pad: expected a token"),
        (
            {"inputs": np.zeros((2, B, 1)), "embed": lambda token, known: known + jnp.zeros(D)},
            ValueError,
            r"inputs: expected leading axes \(4, 3\) \(P - 1 \+ steps",
        ),
    ],
)
def test_generate_refuses_nonsense(lstm, change, error, message):
    options = {"cell": lstm.cell, "prompt": PROMPT, "steps": 2, **lstm.options} | change
    cell, prompt = options.pop("cell"), options.pop("prompt")
    with pytest.raises(error, match=message):
        jaxrnn.generate(cell, lstm.params, prompt, lstm.carry, **options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"beams": 0}, ValueError, "beams: expected a positive int, got 0"),
        ({"length_penalty": -1.0}, ValueError, "length_penalty: expected a number >= 0, got -1.0"),
        ({"length_penalty": "long"}, TypeError, "length_penalty: expected a number >= 0, got str"),
        ({"early_stop": True}, ValueError, "early_stop"),
    ],
)
def test_beam_search_refuses_nonsense(lstm, change, error, message):
    options = {"steps": 2, "beams": 2, **lstm.options} | change
    with pytest.raises(error, match=message):
        jaxrnn.beam_search(lstm.cell, lstm.params, PROMPT, lstm.carry, **options)


FUNCTIONS = {
    "generate": partial(jaxrnn.generate, steps=2),
    "decode": partial(jaxrnn.decode, probability=0.5, key=jax.random.key(0)),
    "beam_search": partial(jaxrnn.beam_search, steps=2, beams=2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_dtype_of_tokens_holds_them_all(name):
    """An error that says what to do, where it does not; `pad` and `end` alike."""
    function, like = FUNCTIONS[name], jax.ShapeDtypeStruct
    tables = lambda size: like((2, size, size), jnp.float64)  # noqa: E731

    def run(size, dtype, **options):
        f = lambda tables, tokens: function(echo(), {}, tokens, **bigrams(tables), **options)  # noqa: E731
        return jax.eval_shape(f, tables(size), like((3, 2), dtype))

    for size, dtype, last in ((300, "uint8", 255), (129, "int8", 127), (40_000, "int16", 32_767)):
        message = rf"expected a dtype that holds the tokens 0\.\.{size - 1} .* got {dtype}, which "
        with pytest.raises(ValueError, match=message + rf"ends at {last}; use .*astype\(jax.numpy"):
            run(size, dtype)
    for size, dtype in ((256, "uint8"), (128, "int8"), (5, "int16")):
        run(size, dtype)
    if name != "decode":
        for dtype, pad in (("uint8", -1), ("uint8", 256), ("int8", 128)):
            with pytest.raises(ValueError, match=rf"pad: expected a token .* {dtype} holds, got"):
                run(5, dtype, end=1, pad=pad)
        with pytest.raises(ValueError, match=r"end: expected a token in 0\.\.4"):
            run(5, "uint8", end=5)


def test_what_was_read_out_is_kept_if_asked(lstm):
    options = dict(steps=6, end=2, lengths=LENGTHS, **lstm.options)
    plain = run(lstm, jaxrnn.generate, PROMPT, **options)
    assert plain.outputs is None
    got = run(lstm, jaxrnn.generate, PROMPT, return_outputs=True, early_stop=True, **options)
    assert_same(got._replace(outputs=None), plain, "the rest")
    valid = np.arange(6)[:, None] < np.asarray(got.lengths)
    assert np.array_equal(np.argmax(got.outputs, -1)[valid], got.sequence[valid])
    log_p = jax.nn.log_softmax(got.outputs)
    assert_close(np.max(log_p, -1)[valid], np.asarray(got.log_probs)[valid], "log p")
    assert not np.any(np.asarray(got.outputs)[~valid])


@pytest.mark.parametrize(
    "lengths", [pytest.param(None, marks=slow), LENGTHS], ids=["whole", "lengths"]
)
def test_what_is_known_beforehand_goes_in_with_what_is_fed(lstm, lengths):
    """Of each row at its own time; also with one beam, and where a teacher feeds the same."""
    steps, known = 4, {"price": random_like(jnp.zeros((len(PROMPT) + 3, B)), 12)}
    embed = lambda token, at: lstm.table[token] + at["price"][..., None]  # noqa: E731
    options = {"embed": embed, "readout": lstm.readout}
    generate = partial(jaxrnn.generate, lstm.cell, lstm.params, steps=steps, **options)
    got = quick(generate)(PROMPT, lstm.carry, inputs=known, lengths=lengths)
    for b in range(B):
        n = len(PROMPT) if lengths is None else int(lengths[b])
        carry, said = lstm.row(b), PROMPT[:n, b].tolist()
        for t in range(n - 1 + steps):
            x = embed(said[t], {"price": known["price"][t, b]})
            carry, y = lstm.step(lstm.params, carry, x)
            if t >= n - 1:
                said.append(int(jnp.argmax(lstm.readout(y))))
        assert got.sequence[:, b].tolist() == said[n:], b
    beam = partial(jaxrnn.beam_search, lstm.cell, lstm.params, steps=steps, beams=1, **options)
    beam = quick(beam)(PROMPT, lstm.carry, inputs=known, lengths=lengths)
    assert_same(beam.sequence[0], got.sequence, "one beam")
    if lengths is None:
        fed = jnp.concatenate([PROMPT, got.sequence[:-1]])
        key = jax.random.key(0)
        decode = quick(
            lambda p: jaxrnn.decode(
                lstm.cell, lstm.params, fed, lstm.carry, known=known, probability=p, key=key,
                **options,
            )[1]
        )  # fmt: skip
        assert_same(np.argmax(decode(0.0)[2:], -1), got.sequence, "a teacher")


# Functions that close over something.


def attended(cell, params, memory, prompt, steps):
    """Values generated with attention to a memory that embed and readout close over."""
    attend = lambda q: jax.nn.softmax(q @ memory.T) @ memory  # noqa: E731
    readout = lambda y: jnp.tanh(y[..., :D] + attend(y[..., :D]))  # noqa: E731
    got = jaxrnn.generate(
        cell, params, prompt, steps=steps, embed=lambda x: x + attend(x), readout=readout
    )
    _, ys = jaxrnn.decode(
        cell, params, prompt, probability=1.0, embed=lambda x: x + attend(x), readout=readout
    )
    return jnp.sum(got.sequence**3) + jnp.sum(ys**2)


def attended_loop(cell, params, memory, prompt, steps):
    attend = lambda q: jax.nn.softmax(q @ memory.T) @ memory  # noqa: E731

    def body(state, _):
        carry, x = state
        carry, y = cell.step(params, carry, x + attend(x))
        new = jnp.tanh(y[..., :D] + attend(y[..., :D]))
        return (carry, new), new

    first = cell.carry(params, prompt.shape[1:-1]), prompt[0]
    values = jax.lax.scan(body, first, None, length=steps)[1]
    return jnp.sum(values**3) + jnp.sum(values[:1] ** 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [*(pytest.param(how, marks=slow) for how in ("grad", "jit")), "vmap", "scan"]
)
def test_what_is_closed_over_is_differentiated(lstm, how):
    memory, prompt = random_like((jnp.zeros((2, 4, D)), jnp.zeros((1, B, D))), 3)

    def through(f):
        loss = lambda memory: f(lstm.cell, lstm.params, memory, prompt, 3)  # noqa: E731
        if how == "grad":
            return jax.grad(lambda m: loss(m[0]))(memory)
        if how == "jit":
            return quick(jax.grad(lambda m: loss(m[0])))(memory)
        if how == "vmap":
            return quick(jax.vmap(jax.grad(loss)))(memory)
        total = lambda memory: jax.lax.scan(  # noqa: E731
            lambda held, m: (held + loss(m * (1 + held)), None), 0.1, memory
        )[0]
        return quick(jax.grad(total))(memory)

    got = through(attended)
    assert_close(got, through(attended_loop), how, 1e-11)
    assert np.any(np.asarray(got) != 0)


@pytest.fixture
def compiled():
    """How often something was compiled since it was asked."""
    count = [0]

    def listen(event, duration_secs, **_):
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    def since():
        before, count[0] = count[0], 0
        return before

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield since
    jax.monitoring.unregister_event_duration_listener(listen)


def called(name):
    """A function that makes all of its closures anew at every call."""
    cell, params = jaxrnn.elman, jaxrnn.elman.init(jax.random.key(0), V, V, dtype=float)
    xs, tokens, key = jnp.ones((4, 2, V)), jnp.zeros((2, 2), jnp.int32), jax.random.key(0)
    loss = lambda params, y, target: jnp.sum(y**2, -1)  # noqa: E731
    learn = {"truncated": partial(jaxrnn.truncated, k1=2), "rtrl": jaxrnn.rtrl}
    learn["snap1"] = partial(jaxrnn.rtrl, influence=jaxrnn.snap1)
    learn["uoro"] = partial(jaxrnn.rtrl, influence=jaxrnn.uoro, key=key)
    say = {name: partial(FUNCTIONS[name]) for name in FUNCTIONS}
    say["ends"] = partial(jaxrnn.generate, steps=4, end=1, early_stop=True)

    def call(gain):
        if name in say:
            table = gain * jnp.eye(V)
            embed = lambda token: jnp.take(table, token, axis=0)  # noqa: E731
            return say[name](cell, params, tokens, embed=embed, readout=lambda y: jax.nn.relu(y))
        weighed = lambda params, y, target: gain * loss(params, y, target)  # noqa: E731
        return learn[name](cell, params, xs, loss=weighed)

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("decode", "beam_search", "ends", "truncated", "rtrl"),
        *(pytest.param(name, marks=slow) for name in ("generate", "snap1", "uoro")),
    ],
)
def test_compiled_once_and_never_stale(name, compiled):
    """Outside of jit, with new closures every time, over other values every time."""
    call, gains = called(name), [jnp.asarray(g) for g in (1.0, 2.0, 1.0)]
    first = call(gains[0])
    compiled()
    second, third = call(gains[1]), call(gains[2])
    assert compiled() <= 2  # of which one may be jnp's own, of the gain
    call(gains[1])
    assert compiled() == 0
    assert_same(third, first, "the same again")
    assert any(
        np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True)
        if jnp.issubdtype(a.dtype, jnp.floating)
    )  # fmt: skip


@pytest.mark.slow
def test_modules_made_inside_are_refused():
    nn = pytest.importorskip("flax.linen")
    params = jaxrnn.gru.init(jax.random.key(0), V, V, dtype=float)

    class Decoder(nn.Module):
        inside: str
        probability: float

        @nn.compact
        def __call__(self, tokens):
            make = {
                "embed": lambda: nn.Embed(V, V, dtype=float, param_dtype=float),
                "readout": lambda: nn.Dense(V, dtype=float, param_dtype=float),
            }
            made = {name: new() for name, new in make.items() if name != self.inside}
            options = {
                name: made.get(name, lambda x, new=new: new()(x)) for name, new in make.items()
            }
            return jaxrnn.decode(
                jaxrnn.gru, params, tokens, probability=self.probability, key=jax.random.key(1),
                **options,
            )[1]  # fmt: skip

    for probability in (0.0, 1.0):
        good = Decoder("", probability)
        variables = good.init(jax.random.key(0), INPUTS)
        assert good.apply(variables, INPUTS).shape == (5, B, V)
        for inside in ("embed", "readout"):
            message = f"{inside}: expected a function that makes no modules"
            with pytest.raises(TypeError, match=message):
                Decoder(inside, probability).init(jax.random.key(0), INPUTS)


def test_decode_and_beam_search_refuse_nonsense(lstm):
    decode = partial(jaxrnn.decode, lstm.cell, lstm.params, INPUTS, lstm.carry, **lstm.options)
    with pytest.raises(ValueError, match=r"probability: expected a number in \[0, 1\], got 1.5"):
        decode(probability=1.5)
    with pytest.raises(ValueError, match="key: expected a PRNG key to draw who is fed"):
        decode(probability=0.5)
    with pytest.raises(TypeError, match="prompt: expected integers"):
        jaxrnn.beam_search(lstm.cell, lstm.params, jnp.ones((1, B, D)), steps=2, beams=2)


@pytest.mark.slow
def test_dtypes():
    """What is fed back keeps its dtype; log-probabilities are float32 for the half types."""
    init = lambda key: jaxrnn.lstm.init(key, V, V)  # noqa: E731
    values, weights = {}, random_like(jax.eval_shape(init, jax.random.key(0)), 0, 0.3)
    for dtype in (jnp.float32, jnp.bfloat16):
        params = jax.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), weights)
        embed = lambda token, dtype=dtype: jax.nn.one_hot(token, V, dtype=dtype)  # noqa: E731
        options = {"steps": 3, "embed": embed}
        got = jax.eval_shape(partial(jaxrnn.generate, jaxrnn.lstm, **options), params, PROMPT)
        assert got.log_probs.dtype == jnp.float32
        assert got.carry.h.dtype == dtype
        beams = partial(jaxrnn.beam_search, jaxrnn.lstm, beams=2, **options)
        assert jax.eval_shape(beams, params, PROMPT).scores.dtype == jnp.float32
        prompt = jnp.asarray(np.random.default_rng(0).normal(size=(2, B, V)), dtype)
        got = quick(partial(jaxrnn.generate, jaxrnn.lstm, steps=3))(params, prompt)
        assert got.sequence.dtype == dtype
        values[dtype.__name__] = np.asarray(got.sequence, float)
    np.testing.assert_allclose(values["bfloat16"], values["float32"], atol=0.02)
