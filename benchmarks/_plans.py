"""What each part of the benchmark compares."""

from typing import NamedTuple

from _cases import GPU_LIBRARIES, LIBRARIES, SHAPES, has
from _harness import GPU

BOTH = ("forward", "gradient")
WAYS = ["jaxrnn", "vmap", "lengths", "mask", "reset", "generic"]
BASE = (256, 32, 64, 128)  # of the growth curves
LENGTHS = (100, 1000)  # at which compiling is timed
LONGER = (4, 8)  # times T, for the growth of temporaries: chunks of one size


class Comparison(NamedTuple):
    """Contenders that take turns; strangers are another function, so their numbers differ."""

    cell: str
    shape: str
    mode: str
    names: list[str]
    strangers: tuple[str, ...] = ()
    timed: bool = True


def join(sizes):
    return ",".join(map(str, sizes))


def longer(sizes, times):
    return join((sizes[0] * times, *sizes[1:]))


def peers(cell, shape, mode, libraries=None):
    """All that have the layer, ours first, and of those the wanted ones."""
    known = LIBRARIES + (GPU_LIBRARIES if GPU else [])
    names = [name for name in known if has(name, cell, shape, mode)]
    return [name for name in names if not libraries or name in ("jaxrnn", *libraries)]


def layers(quick, libraries):
    cases = [("lstm", "sine"), ("gru", "mid")]
    if quick:
        libraries = libraries or ["torch", "linen", "scan"]
    else:
        full = ("sine", "mid", "big", "stream", "long", "ragged", "bidirectional")
        cases = [("lstm", shape) for shape in full]
        cases += [(cell, shape) for cell in ("gru", "elman") for shape in ("sine", "mid")]
    return [
        Comparison(*case, mode, peers(*case, mode, libraries)) for case in cases for mode in BOTH
    ]


def step(quick, libraries):
    cells = ["lstm"] if quick else ["lstm", "gru", "elman"]
    return [Comparison(c, "step", "step", peers(c, "step", "step", libraries)) for c in cells]


def growth(quick, libraries):
    """The base, and a quarter and four times each of T, B and H."""
    points = [BASE]
    for axis in () if quick else (0, 1, 3):
        for factor in (1 / 4, 4):
            sizes = list(BASE)
            sizes[axis] = int(sizes[axis] * factor)
            points.append(tuple(sizes))
    names = libraries or ["torch", "linen", "haiku"]
    return [
        Comparison("lstm", join(sizes), "gradient", peers("lstm", "", "gradient", names))
        for sizes in points
    ]


def properties(quick, libraries):
    """Ours against itself, and against the one other that a figure is about."""

    def ours(shape, mode, names, strangers=()):
        return Comparison("lstm", shape, mode, names, strangers)

    if quick:
        return [ours("mid", "gradient", WAYS)]
    plans = [ours("mid", mode, [*WAYS, "both"], ("both",)) for mode in BOTH]
    plans += [ours("sine", mode, WAYS) for mode in BOTH]
    plans += [ours("mid", mode, ["two", "wavefront"]) for mode in BOTH]
    if not GPU:
        shared = ["jaxrnn", "sharded", "torch"]
        plans += [ours(shape, mode, shared) for shape in ("even", "mid") for mode in BOTH]
    plans += [ours(join((t, *BASE[1:])), "compile", ["jaxrnn", "scan"]) for t in LENGTHS]
    for shape in ("sine", "mid"):
        sizes = SHAPES[shape]
        plans.append(Comparison("lstm", shape, "gradient", ["jaxrnn", "linen"], timed=False))
        plans += [
            Comparison("lstm", longer(sizes, times), "vjp", ["jaxrnn"], timed=False)
            for times in LONGER
        ]
    return plans


def smoke(plans):
    """The same contenders at a tiny shape, each comparison once."""
    small = []
    for plan in plans:
        special = next((word for word in ("ragged", "bidirectional") if word in plan.shape), "")
        shape = "step" if plan.mode == "step" else f"tiny {special}".strip()
        if plan._replace(shape=shape) not in small:
            small.append(plan._replace(shape=shape))
    return small


PARTS = {"layers": layers, "properties": properties, "step": step, "growth": growth}
