"""Recurrent PPO: balance a pole whose velocities are hidden.

CartPole (Barto, Sutton and Anderson 1983) in jax, of which only the cart's place and the pole's
angle are seen: which way to push depends on how fast they change, so on what was seen before.
Three agents, one code: a GRU; the same GRU with its state restarted before every step, which is a
feed-forward network; and that one with the velocities shown, to see what memory makes up for.

Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), where a network with memory
asks for care:

- 64 poles are balanced at once, in rollouts of 128 steps. The carry is *kept* between rollouts;
  where a pole fell, `reset` says that the next step begins an episode, at different times in
  different rows. An episode begins from a state that is learned (`jaxrnn.learned_carry`).
- `cell.step` acts and `jaxrnn.scan` goes through the rollout again, from the carry that it began
  with and with the same resets, so the ratio of new to old probabilities is 1 before the first
  update. The script prints how far the two are apart.
- A minibatch is some of the rows, each with all its steps.
- An episode cut off after 500 steps would have gone on, so the value of what comes next is added
  to its last reward.

    python examples/ppo.py

AMD EPYC, 2 cores shared with other work, 2026-12-01, jax 0.10.2: seeds 0 to 4 of each agent, all at
once under `jax.vmap`, 101 s of processors. Log-probabilities of acting and of re-evaluation were
2.4e-07 apart at most. Steps of 64 new episodes, pushes drawn at random, means of each seed:

    with memory                       485.5 to 500.0, mean 495.4
    without memory                     48.2 to  52.1, mean  49.5
    without, but velocities shown     500.0 in each

Two observations in succession tell the velocities, so this asks for a short memory only. In the
picture a line is the mean of the seeds and its band reaches from the least to the greatest.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from matplotlib.figure import Figure

import jaxrnn

ROWS, STEPS, HIDDEN, UPDATES, SEEDS = 64, 128, 32, 90, 5
EPOCHS, PARTS = 4, 4  # how often a rollout is gone through, and into how many minibatches it falls
DISCOUNT, TRACE, CLIP, ENTROPY, RATE = 0.99, 0.95, 0.2, 0.005, 3e-3
LIMIT, TICK = 500, 0.02  # steps of an episode at most, and seconds a step
NET = jaxrnn.learned_carry(jaxrnn.gru)


class Cart(NamedTuple):
    """Metres, radians and seconds; the steps since the episode began; (B,) each."""

    place: jax.Array
    speed: jax.Array
    angle: jax.Array
    turning: jax.Array
    age: jax.Array


def new_carts(key):
    numbers = jax.random.uniform(key, (4, ROWS), minval=-0.05, maxval=0.05)
    return Cart(*numbers, age=jnp.zeros(ROWS, jnp.int32))


def move(cart, push):
    """-> the cart after a push to the left (0) or right (1), whether it fell, or was cut off.

    A cart of 1 kg, a pole of 0.1 kg and 1 m, 10 N; a step of Euler's method.
    """
    place, speed, angle, turning, age = cart
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    pressed = (20.0 * push - 10.0 + 0.05 * turning**2 * sin) / 1.1
    spin = (9.8 * sin - cos * pressed) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    drive = pressed - 0.05 * spin * cos / 1.1
    moved = (
        place + TICK * speed,
        speed + TICK * drive,
        angle + TICK * turning,
        turning + TICK * spin,
    )
    cart = Cart(*moved, age + 1)
    fell = (abs(cart.place) > 2.4) | (abs(cart.angle) > np.deg2rad(12))
    return cart, fell, ~fell & (cart.age == LIMIT)


class Kind(NamedTuple):
    """Whether an agent remembers, and whether it sees velocities."""

    memory: Any
    sighted: Any


KINDS = {
    "with memory": Kind(True, False),
    "without memory": Kind(False, False),
    "without, but velocities shown": Kind(False, True),
}


class Agents(NamedTuple):
    """What is kept from rollout to rollout, for each row."""

    carry: Any
    cart: Cart
    begins: jax.Array  # whether the next step is the first of an episode
    length: jax.Array  # of the last episode that ended


class Rollout(NamedTuple):
    """What happened, (T, B) each, and what was seen, (T, B, 4)."""

    seen: jax.Array
    reset: jax.Array
    push: jax.Array
    log_p: jax.Array
    value: jax.Array
    reward: jax.Array
    ended: jax.Array


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "rnn": NET.init(k1, 4, HIDDEN),
        "actor": 0.01 * jax.random.normal(k2, (HIDDEN, 2)),
        "critic": 0.01 * jax.random.normal(k3, (HIDDEN,)),
    }


def start(params, key):
    nobody = jnp.ones(ROWS, bool), jnp.zeros(ROWS, jnp.int32)
    return Agents(NET.carry(params["rnn"], (ROWS,)), new_carts(key), *nobody)


def observe(cart, kind):
    seen = [cart.place / 2.4, cart.angle / 0.2]
    seen += [jnp.where(kind.sighted, rate / 2, 0) for rate in (cart.speed, cart.turning)]
    return jnp.stack(seen, axis=-1)


def heads(params, y):
    """-> log-probabilities of the pushes (..., 2), the value (...)."""
    return jax.nn.log_softmax(y @ params["actor"]), y @ params["critic"]


def look(params, kind, agents):
    """One step of the network -> carry, what it was given, log-probabilities, value."""
    seen, reset = observe(agents.cart, kind), agents.begins | ~kind.memory
    carry, y = NET.step(params["rnn"], agents.carry, seen, reset=reset)
    return carry, (seen, reset), *heads(params, y)


def act(params, kind, agents, key, *, steps=STEPS):
    """Go on for some steps -> agents, `Rollout`, the value of what comes next (B,)."""

    def step(agents, key):
        k1, k2 = jax.random.split(key)
        carry, given, log_p, value = look(params, kind, agents)
        push = jax.random.categorical(k1, log_p)
        cart, fell, cut = move(agents.cart, push)
        going_on = Agents(carry, cart, jnp.zeros(ROWS, bool), agents.length)
        reward = 1 - DISCOUNT + DISCOUNT * cut * look(params, kind, going_on)[-1]
        ended = fell | cut
        length = jnp.where(ended, cart.age, agents.length)
        cart = jax.tree.map(partial(jnp.where, ended), new_carts(k2), cart)
        taken = chosen(log_p, push)
        return Agents(carry, cart, ended, length), Rollout(
            *given, push, taken, value, reward, ended
        )

    agents, rollout = lax.scan(step, agents, jax.random.split(key, steps))
    return agents, rollout, look(params, kind, agents)[-1]


def chosen(log_p, push):
    return jnp.take_along_axis(log_p, push[..., None], axis=-1)[..., 0]


def reevaluate(params, carry, rollout):
    """The rollout again, from the carry that it began with -> what `heads` gives, (T, B, ...)."""
    ys = jaxrnn.scan(NET, params["rnn"], rollout.seen, carry, reset=rollout.reset)[1]
    return heads(params, ys)


def advantages(rollout, after):
    """A_t = d_t + g l A_{t+1}, where d_t = r_t + g V_{t+1} - V_t, and 0 after an end.

    Schulman et al. (2016), arXiv:1506.02438. after (B,) is the value of what comes next.
    """

    def back(state, step):
        following, value_after = state
        reward, value, ended = step
        going = DISCOUNT * ~ended
        now = reward + going * value_after - value + TRACE * going * following
        return (now, value), now

    steps = rollout.reward, rollout.value, rollout.ended
    return lax.scan(back, (jnp.zeros_like(after), after), steps, reverse=True)[1]


def loss(params, carry, rollout, gained):
    log_p, value = reevaluate(params, carry, rollout)
    ratio = jnp.exp(chosen(log_p, rollout.push) - rollout.log_p)
    scaled = (gained - gained.mean()) / (gained.std() + 1e-6)
    clipped = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
    errors = value - (gained + rollout.value)
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
    surrogate = jnp.minimum(ratio * scaled, clipped * scaled)
    return jnp.mean(errors**2 - surrogate - ENTROPY * entropy)


@partial(jax.jit, static_argnames="updates")
@partial(jax.vmap, in_axes=(0, 0, None))
def train(seed, kind, updates):
    """-> the length of episodes after every update, of new ones afterwards, `gap`."""
    rate = optax.linear_schedule(RATE, 0.0, updates * EPOCHS * PARTS)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate))
    k1, k2, k3, k4 = jax.random.split(jax.random.key(seed), 4)
    params = init(k1)

    def update(state, key):
        params, opt_state, agents = state
        k1, k2 = jax.random.split(key)
        carry = agents.carry  # of before the rollout
        agents, rollout, after = act(params, kind, agents, k1)
        gained = advantages(rollout, after)

        def minibatch(state, rows):
            params, opt_state = state
            part = jax.tree.map(lambda leaf: leaf[:, rows], (rollout, gained))
            begun = jax.tree.map(lambda leaf: leaf[rows], carry)
            grads = jax.grad(loss)(params, begun, *part)
            changes, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, changes), opt_state), None

        orders = jax.vmap(lambda key: jax.random.permutation(key, ROWS))
        rows = orders(jax.random.split(k2, EPOCHS)).reshape(EPOCHS * PARTS, ROWS // PARTS)
        (params, opt_state), _ = lax.scan(minibatch, (params, opt_state), rows)
        return (params, opt_state, agents), agents.length.mean()

    state = params, optimizer.init(params), start(params, k2)
    (params, _, agents), course = lax.scan(update, state, jax.random.split(k3, updates))
    return course, test(params, kind, k4), gap(params, kind, agents, k4)


def test(params, kind, key):
    """How long new episodes last, on average."""
    k1, k2 = jax.random.split(key)
    ended = act(params, kind, start(params, k1), k2, steps=LIMIT)[1].ended
    return jnp.mean(1 + jnp.argmax(ended, axis=0))


def gap(params, kind, agents, key):
    """How far log-probabilities of acting and of re-evaluation are apart, at most."""
    _, rollout, _ = act(params, kind, agents, key)
    log_p, _ = reevaluate(params, agents.carry, rollout)
    return jnp.max(abs(chosen(log_p, rollout.push) - rollout.log_p))


def draw(path, courses):
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for color, (name, course) in zip(("C0", "C3", "0.5"), courses.items(), strict=True):
        seen = np.arange(1, course.shape[1] + 1) * ROWS * STEPS / 1000
        axes.plot(seen, course.mean(0), color, lw=2, label=name)
        axes.fill_between(seen, course.min(0), course.max(0), color=color, alpha=0.2, lw=0)
    axes.set(
        xlabel="thousands of steps in the environment", ylabel="steps of an episode, 500 at most"
    )
    axes.set_ylim(0, LIMIT + 10)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--updates", type=int, help=f"of each agent; {UPDATES}")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="agents of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--out", type=Path, default=Path("out/ppo"))
    parser.add_argument("--smoke", action="store_true", help="a few updates, to see that it runs")
    args = parser.parse_args()
    args.updates = args.updates or (2 if args.smoke else UPDATES)

    seeds = jnp.tile(args.seed + jnp.arange(args.seeds), len(KINDS))
    kinds = jax.tree.map(lambda *flags: jnp.repeat(jnp.array(flags), args.seeds), *KINDS.values())
    began = time.perf_counter(), time.process_time()
    measured = jax.device_get(train(seeds, kinds, args.updates))
    courses, tests, gaps = (leaf.reshape(len(KINDS), args.seeds, -1) for leaf in measured)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    print(f"{wall:.0f} s, {cpu:.0f} s of processors; steps of new episodes, of each seed")
    for name, lengths in zip(KINDS, tests[..., 0], strict=True):
        each = " ".join(f"{length:5.1f}" for length in lengths)
        print(f"{name:30}{each}   mean {lengths.mean():.1f}")
    print(f"log-probabilities of acting and of re-evaluation: {gaps.max():.1e} apart at most")
    draw(args.out / "episodes.png", dict(zip(KINDS, courses, strict=True)))
    print(f"wrote episodes.png into {args.out}")


if __name__ == "__main__":
    main()
