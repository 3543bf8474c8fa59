"""Markdown tables of the measurements."""

from _cases import GPU_LIBRARIES, LIBRARIES, SHAPES
from _findings import findings

NAMES = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman"}


def table(head, lines):
    lines = [head, ["---"] * len(head), *lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"


def sizes(shape):
    return ", ".join(map(str, SHAPES[shape])) if shape in SHAPES else shape.replace(",", ", ")


def label(shape):
    return f"{shape} {sizes(shape)}" if shape in SHAPES else sizes(shape)


def libraries(results):
    found = {name for case in results for name in case["rows"]}
    return [name for name in LIBRARIES + GPU_LIBRARIES if name in found]


def times(results, unit="ms"):
    """Medians, and in brackets how many times jaxrnn's."""
    scale, names, lines = {"ms": 1, "µs": 1e3}[unit], libraries(results), []
    for case in results:
        ours, cells = case["rows"].get("jaxrnn", {}).get("ms"), []
        for name in names:
            ms = case["rows"].get(name, {}).get("ms")
            ratio = f" ({ms / ours:.2f})" if ms and ours and name != "jaxrnn" else ""
            cells.append(f"{ms * scale:.3g}{ratio}" if ms else "–")
        lines.append([NAMES[case["cell"]], label(case["shape"]), case["mode"], *cells])
    return table(["cell", "T, B, D, H", "mode", *names], lines)


def temporaries(results):
    names = [name for name in libraries(results) if name != "torch"]
    lines = []
    for case in results:
        found = [case["rows"].get(name, {}).get("temp_bytes") for name in names]
        cells = ["–" if size is None else f"{size / 1e6:.3g}" for size in found]
        lines.append([NAMES[case["cell"]], label(case["shape"]), case["mode"], *cells])
    return table(["cell", "T, B, D, H", "mode", *names], lines)


def details(data):
    """Every contender of every comparison in a line of its own."""
    head = ["cell", "T, B, D, H", "mode", "who", "median ms", "quartiles ms", "runs"]
    head += ["compile s", "temporaries MB", "peak resident MB", "of that before the layer"]
    text = "# Details\n\nA time of mode step is that of one step; of mode compile, that of one "
    text += "compilation. Resident memory is the process's with all that it imported.\n\n"
    for part, content in data.items():
        lines = []
        for case in content["results"]:
            for name, row in case["rows"].items():
                line = [NAMES[case["cell"]], label(case["shape"]), case["mode"], name]
                if "ms" in row:
                    quartiles = f"{row['low_ms']:.4g} – {row['high_ms']:.4g}"
                    line += [f"{row['ms']:.4g}", quartiles, str(row["runs"])]
                else:
                    line += ["–"] * 3
                size = row["temp_bytes"]
                line += [f"{row['compile_s']:.2f}", "–" if size is None else f"{size / 1e6:.3g}"]
                lines.append(
                    [*line, *(f"{row[k] / 1e6:.0f}" for k in ("peak_bytes", "before_bytes"))]
                )
            for name, why in case["left_out"].items():
                line = [NAMES[case["cell"]], label(case["shape"]), case["mode"], name]
                lines.append([*line, f"left out: {why.replace('|', '/')}", *[""] * (len(head) - 5)])
        text += f"## {part}\n\n" + table(head, lines)
    return text.rstrip() + "\n"


def goals(found):
    lines = []
    for one in found:
        sign, aim = ("≥", one.at_least) if one.at_least is not None else ("≤", one.at_most)
        if aim is None:
            continue
        reached = {None: "not measured", True: "yes", False: "**no**"}[one.reached]
        value = "" if one.value is None else f"{one.value:.2f}"
        lines.append([one.text, f"{sign} {aim:.2f}", value, reached])
    return table(["ratio", "goal", "measured", "reached"], lines)


def about(machine):
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = f"load average before {machine['load']:.1f}"
    python = f"Python {machine['python']}, {versions}"
    return (
        f"{machine['cpu']}, {machine['cores']} cores; {python}; float32; {machine['date']}; {load}."
    )


def report(data):
    """All tables but the details, of what was measured so far."""
    text = "# Measurements\n\n"
    described = {part: about(content["machine"]) for part, content in data.items()}
    for words in dict.fromkeys(described.values()):
        parts = ", ".join(part for part, own in described.items() if own == words)
        text += f"{parts}: {words}\n\n"
    results = {part: content["results"] for part, content in data.items()}
    if "layers" in results:
        text += "## Layers\n\nMedian milliseconds, and in brackets the time over jaxrnn's.\n\n"
        text += "![time relative to jaxrnn](layers.png)\n\n" + times(results["layers"])
        text += "Temporaries of the compiled program, MB:\n\n" + temporaries(results["layers"])
    if "step" in results:
        text += "## One step\n\nOf one sequence, the carry fed back, called from Python. "
        text += "Median microseconds.\n\n" + times(results["step"], "µs")
    if "growth" in results:
        text += "## Growth\n\nMedian milliseconds.\n\n![time by T, B and H](growth.png)\n\n"
        text += times(results["growth"])
    found = findings(data)
    if "properties" in results:
        text += "## Properties\n\n"
        measured = [one for one in found if one.topic == "properties" and one.value is not None]
        lines = [[one.text, f"{one.value:.2f}", one.detail] for one in measured]
        text += table(["ratio", "measured", "of"], lines)
    text += "## Goals\n\n" + goals(found)
    return text.rstrip() + "\n"
