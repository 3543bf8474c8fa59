"""The figures that matter, worked out from the measurements, and what we aim at for each."""

from typing import NamedTuple

from _cases import PEERS, SHAPES
from _plans import BASE, BOTH, LENGTHS, LONGER, WAYS, join, longer


class Finding(NamedTuple):
    """A ratio; `detail` says of what, with numbers."""

    topic: str
    text: str
    value: float | None = None
    detail: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self):
        if self.value is None:
            return None
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.value <= self.at_most


def rows(data, part, cell, shape, mode, *names):
    """The rows of the comparison in which all names took part."""
    for case in data.get(part, {}).get("results", []):
        here = case["rows"]
        same = (case["cell"], case["shape"], case["mode"]) == (cell, shape, mode)
        if same and all(name in here for name in names):
            return here
    return None


def quotient(found, over, under, key="ms"):
    """``(value, detail)`` of one row's figure over another's."""
    if not found or found[over].get(key) is None or not found[under].get(key):
        return {}
    unit, scale = {"ms": ("ms", 1), "temp_bytes": ("MB", 1e-6)}[key]
    one, other = (found[name][key] * scale for name in (over, under))
    return {
        "value": found[over][key] / found[under][key],
        "detail": f"{over} {one:.3g} {unit}, {under} {other:.3g} {unit}",
    }


def fastest(found):
    timed = [name for name in PEERS if found and "ms" in found.get(name, {})]
    return min(timed, key=lambda name: found[name]["ms"], default=None)


def against_peers(data):
    aims = {
        "gradient": {"sine": 1.8, "mid": 1.4, "big": 1.3, "stream": 1.2},
        "forward": {"sine": 1.0, "mid": 1.2, "big": 1.1, "stream": 1.2},
    }
    for mode, shapes in aims.items():
        for shape, aim in shapes.items():
            found = rows(data, "layers", "lstm", shape, mode, "jaxrnn")
            peer = fastest(found)
            figures = quotient(found, peer, "jaxrnn") if peer else {}
            there = ", ".join(name for name in PEERS if not found or name in found)
            text = f"LSTM {shape}, {mode}: times as fast as the fastest of {there}"
            yield Finding("layers", text, **figures, at_least=aim)


def against_torch(data):
    aims = {("lstm", "gradient"): {"sine": 1.3, "mid": 0.9, "big": 0.9}}
    aims["lstm", "forward"] = {"sine": 0.9, "mid": 0.85, "big": 0.85, "stream": 0.85, "long": 0.85}
    for cell in ("gru", "elman"):
        for mode in BOTH:
            aims[cell, mode] = {"sine": 1.5, "mid": 1.5}
    names = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman"}
    for (cell, mode), shapes in aims.items():
        for shape, aim in shapes.items():
            found = rows(data, "layers", cell, shape, mode, "jaxrnn", "torch")
            text = f"{names[cell]} {shape}, {mode}: times as fast as torch"
            yield Finding("layers", text, **quotient(found, "torch", "jaxrnn"), at_least=aim)


def against_itself(data):
    words = {
        "vmap": "`vmap` over the batch, over the batch given whole",
        "lengths": "`lengths`, over none",
        "mask": "`mask`, over none",
        "reset": "`reset`, over none",
        "generic": "a user's cell with the LSTM's equations, over `jaxrnn.lstm`",
    }
    for shape in ("sine", "mid"):
        for mode in BOTH:
            found = rows(data, "properties", "lstm", shape, mode, *WAYS)
            for way, text in words.items():
                aim = 1.3 if way == "generic" else 1.15
                figures = quotient(found, way, "jaxrnn")
                yield Finding("properties", f"{shape}, {mode}: {text}", **figures, at_most=aim)
    for mode in BOTH:
        found = rows(data, "properties", "lstm", "mid", mode, "jaxrnn", "both")
        text = f"mid, {mode}: both directions over one"
        yield Finding("properties", text, **quotient(found, "both", "jaxrnn"), at_most=1.3)
        found = rows(data, "properties", "lstm", "mid", mode, "two", "wavefront")
        text = f"mid, {mode}: two layers as a wavefront: times as fast as one after the other"
        figures = quotient(found, "two", "wavefront")
        yield Finding("properties", text, **figures, at_least=1.15)


def sharded(data):
    aims = {("even", "forward"): 1.7, ("even", "gradient"): 2.0}
    for shape in ("even", "mid"):
        for mode in BOTH:
            found = rows(data, "properties", "lstm", shape, mode, "jaxrnn", "sharded", "torch")
            name = "sine, 98 rows" if shape == "even" else shape
            text = f"{name}, {mode}: batch on two CPU devices: times as fast as "
            figures = quotient(found, "torch", "sharded")
            aim = aims.get((shape, mode))
            yield Finding("properties", text + "torch on both cores", **figures, at_least=aim)
            figures = quotient(found, "jaxrnn", "sharded")
            yield Finding("properties", text + "on one device", **figures)


def memory(data):
    for shape in ("sine", "mid"):
        sizes = SHAPES[shape]
        found = rows(data, "properties", "lstm", shape, "gradient", "jaxrnn", "linen")
        figures = quotient(found, "jaxrnn", "linen", "temp_bytes")
        text = f"{shape}, gradient: temporaries over flax.linen's"
        yield Finding("properties", text, **figures, at_most=1 / 3)
        less, more = (
            rows(data, "properties", "lstm", longer(sizes, times), "vjp", "jaxrnn")
            for times in LONGER
        )
        text = f"{shape}, gradient: temporaries of one more time step over the bytes of a carry"
        figures = {}
        if less and more:
            steps = (LONGER[1] - LONGER[0]) * sizes[0]
            grown = more["jaxrnn"]["temp_bytes"] - less["jaxrnn"]["temp_bytes"]
            carry = 2 * sizes[1] * sizes[3] * 4  # h and c, float32
            detail = f"{grown / steps:.0f} bytes, {carry} bytes"
            figures = {"value": grown / steps / carry, "detail": detail}
        yield Finding("properties", text, **figures, at_most=1.2)


def compiling(data):
    found = []
    for length in LENGTHS:
        shape = join((length, *BASE[1:]))
        found.append(rows(data, "properties", "lstm", shape, "compile", "jaxrnn", "scan"))
        text = f"T = {length}: compiling the gradient, over a plain `lax.scan`"
        figures = quotient(found[-1], "jaxrnn", "scan")
        yield Finding("properties", text, **figures, at_most=1.5)
    short, long = LENGTHS
    text = f"compiling the gradient for T = {long} over T = {short}"
    pair = {f"T={t}": row["jaxrnn"] for t, row in zip(LENGTHS, found, strict=True) if row}
    figures = quotient(pair, f"T={long}", f"T={short}") if len(pair) == 2 else {}
    yield Finding("properties", text, **figures, at_most=1.2)


def findings(data):
    parts = (against_peers, against_torch, sharded, memory, compiling, against_itself)
    return [finding for part in parts for finding in part(data)]
