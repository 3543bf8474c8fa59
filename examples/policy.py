"""An actor with a memory: a T-maze by policy gradient, with and without a recurrent state.

A cue at the entrance says left or right, a corridor of 4 to 12 steps says nothing, and at the
junction at its end the right turn is worth 1 and the wrong one -1. Three actions: forward, left,
right; to turn before the junction, or to go on at it, is to stay in place for -0.1. Whoever sees
only the present cannot know where to turn, and is right half the time.

The same code trains both: a GRU, and the GRU with its state cleared before every step, which is a
feed-forward network. Each acts step by step (`cell.step` in a `lax.scan`) in 64 mazes at once, in
rollouts of 65 steps; a maze that is finished is followed by the next one in the same row, where
the state starts anew, at different times in different rows. `jaxrnn.scan` then goes through the
same rollout with the same `reset`, and advantage actor-critic (A2C, with generalised advantages)
takes a step along its gradient. All of it is one jitted function, mapped over seeds.

    python examples/policy.py

Seeds 0 to 4, 300 updates each, right turns in new mazes afterwards, actions still drawn at random:

    corridors of        recurrent                               feed-forward
     4 to 12 steps      99.9 to 100.0 %, mean 100.0             49.3 to 51.2 %, mean 50.0
    13 to 24, unseen    99.9 to 100.0 %, mean 100.0             47.4 to 50.9 %, mean 49.0
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from matplotlib.figure import Figure

import jaxrnn

CORRIDOR, LONGER = (4, 12), (13, 24)  # steps, at least and at most; in training, and in a test
FORWARD, LEFT, RIGHT = range(3)
ROWS, STEPS, HIDDEN, UPDATES, SEEDS = 64, 64, 32, 300, 5
DISCOUNT, TRACE, ENTROPY, RATE = 0.97, 0.95, 0.01, 5e-3
NET = jaxrnn.gru


class Maze(NamedTuple):
    """Where an agent is: its place from 0, the junction's place, and the turn that is right."""

    place: jax.Array
    junction: jax.Array
    turn: jax.Array


def new_maze(key, corridor):
    k1, k2 = jax.random.split(key)
    junction = jax.random.randint(k1, (), corridor[0], corridor[1] + 1)
    return Maze(jnp.int32(0), junction, jax.random.randint(k2, (), LEFT, RIGHT + 1))


def observe(maze):
    """Four flags: cued to the left, cued to the right, in the corridor, at the junction."""
    cued, arrived = maze.place == 0, maze.place == maze.junction
    flags = [cued & (maze.turn == LEFT), cued & (maze.turn == RIGHT), ~cued & ~arrived, arrived]
    return jnp.stack(flags).astype(jnp.float32)


def move(maze, action):
    """-> the maze, the reward, whether this was the turn that ends it."""
    ended = (maze.place == maze.junction) & (action != FORWARD)
    advanced = (maze.place < maze.junction) & (action == FORWARD)
    reward = jnp.where(ended, jnp.where(action == maze.turn, 1.0, -1.0), -0.1 * ~advanced)
    return maze._replace(place=maze.place + advanced), reward, ended


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "rnn": NET.init(k1, 4, HIDDEN),
        "actor": 0.01 * jax.random.normal(k2, (HIDDEN, 3)),
        "critic": 0.01 * jax.random.normal(k3, (HIDDEN,)),
    }


class Rollout(NamedTuple):
    """What happened, (T, B) each, and what was seen, (T, B, 4)."""

    seen: jax.Array
    reset: jax.Array
    action: jax.Array
    reward: jax.Array
    ended: jax.Array


def act(params, key, *, memory, corridor=CORRIDOR, steps=STEPS + 1):
    """Go through mazes for some steps, each row from the entrance of its first."""
    entrances = jax.vmap(partial(new_maze, corridor=corridor))

    def step(state, key):
        carry, maze, begins = state
        k1, k2 = jax.random.split(key)
        seen = jax.vmap(observe)(maze)
        reset = begins | ~memory
        carry, y = NET.step(params["rnn"], carry, seen, reset=reset)
        action = jax.random.categorical(k1, y @ params["actor"])
        maze, reward, ended = jax.vmap(move)(maze, action)
        others = entrances(jax.random.split(k2, ROWS))
        maze = jax.tree.map(lambda new, old: jnp.where(ended, new, old), others, maze)
        return (carry, maze, ended), Rollout(seen, reset, action, reward, ended)

    k1, k2 = jax.random.split(key)
    carry = NET.carry(params["rnn"], (ROWS,))
    state = carry, entrances(jax.random.split(k1, ROWS)), jnp.ones(ROWS, bool)
    return lax.scan(step, state, jax.random.split(k2, steps))[1]


def success(rollout):
    """The share of mazes ended by the turn that was right."""
    return jnp.sum(rollout.reward == 1) / jnp.maximum(jnp.sum(rollout.ended), 1)


def advantages(values, reward, ended):
    """A_t = d_t + g l A_{t+1}, where d_t = r_t + g V_{t+1} - V_t, and 0 after an end.

    values (T + 1, B), reward and ended (T, B) -> (T, B); Schulman et al. 2016, arXiv:1506.02438.
    """
    going = DISCOUNT * ~ended
    errors = reward + going * values[1:] - values[:-1]

    def back(after, step):
        error, going = step
        return (now := error + TRACE * going * after), now

    return lax.scan(back, jnp.zeros_like(values[0]), (errors, going), reverse=True)[1]


def loss(params, rollout):
    _, ys = jaxrnn.scan(NET, params["rnn"], rollout.seen, reset=rollout.reset)
    values = ys @ params["critic"]
    # The last step is there for its value only.
    action, reward, ended = (leaf[:-1] for leaf in rollout[2:])
    gained = lax.stop_gradient(advantages(values, reward, ended))
    log_p = jax.nn.log_softmax(ys[:-1] @ params["actor"])
    taken = jnp.take_along_axis(log_p, action[..., None], axis=-1)[..., 0]
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
    errors = values[:-1] - lax.stop_gradient(gained + values[:-1])
    return jnp.mean(0.5 * errors**2 - gained * taken - ENTROPY * entropy)


@partial(jax.jit, static_argnames="updates")
@partial(jax.vmap, in_axes=(0, 0, None))
def train(seed, memory, updates):
    """-> success in every update's rollout; afterwards in new mazes, and in longer ones (2,)."""
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(RATE))
    k1, k2, k3 = jax.random.split(jax.random.key(seed), 3)
    params = init(k1)

    def update(state, key):
        params, opt_state = state
        rollout = act(params, key, memory=memory)
        grads = jax.grad(loss)(params, rollout)
        changes, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, changes), opt_state), success(rollout)

    state, course = lax.scan(
        update, (params, optimizer.init(params)), jax.random.split(k2, updates)
    )
    test = partial(act, state[0], k3, memory=memory, steps=500)
    corridors = jnp.array([CORRIDOR, LONGER])
    return course, lax.map(lambda corridor: success(test(corridor=corridor)), corridors)


def draw(path, courses):
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for color, (name, course) in zip(("C0", "C3"), courses.items(), strict=True):
        updates = np.arange(1, course.shape[1] + 1)
        axes.plot(updates, 100 * course.T, color, lw=0.6, alpha=0.35)
        axes.plot(updates, 100 * course.mean(0), color, lw=2, label=f"{name}, mean of seeds")
    axes.axhline(50, color="0.4", ls=":", label="chance")
    axes.set(xlabel="update", ylabel="mazes ended by the right turn, %", ylim=(0, 102))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--updates", type=int, help=f"of each actor; {UPDATES}")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="actors of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--out", type=Path, default=Path("out/policy"))
    parser.add_argument("--smoke", action="store_true", help="a few updates, to see that it runs")
    args = parser.parse_args()
    args.updates = args.updates or (3 if args.smoke else UPDATES)

    kinds = {"recurrent": True, "feed-forward": False}
    seeds = jnp.tile(args.seed + jnp.arange(args.seeds), 2)
    memory = jnp.repeat(jnp.array(list(kinds.values())), args.seeds)
    began = time.perf_counter()
    measured = jax.device_get(train(seeds, memory, args.updates))
    courses, tests = (leaf.reshape(2, args.seeds, -1) for leaf in measured)
    print(f"{time.perf_counter() - began:.0f} s; right turns afterwards, %, of each seed")
    for name, test in zip(kinds, tests, strict=True):
        for (low, high), shares in zip((CORRIDOR, LONGER), test.T, strict=True):
            each = " ".join(f"{100 * share:5.1f}" for share in shares)
            print(
                f"{name:14}corridors of {low:2} to {high}: {each}   mean {100 * shares.mean():.1f}"
            )
    draw(args.out / "success.png", dict(zip(kinds, courses, strict=True)))
    print(f"wrote success.png into {args.out}")


if __name__ == "__main__":
    main()
