"""Which cell? The large LSTM study, at a size for two cores, for every recurrence there is.

Greff et al. (2015), "LSTM: A Search Space Odyssey", arXiv:1503.04069, compared eight variants of
the LSTM, each with one thing left out or added. Here they and every other cell of `jaxrnn.CELLS`
are compared at an equal number of parameters, on seven small tasks (`_odyssey_tasks.py`). A cell
gets as many units as the budget buys, and is trained from several seeds at several learning rates,
all at once under `jax.vmap`; the rate with the best mean validation score counts.

    python examples/odyssey.py                            # a dozen cells, three tasks
    python examples/odyssey.py --cells all --tasks all    # everything: hours
    python examples/odyssey.py --cells linear gru         # a family, and one more
    python examples/odyssey.py --results benchmarks/results/odyssey.json    # draw what is stored

Every result is a file as soon as there is one, and the same command goes on where it stopped. Of
the times, medians while --jobs networks and whatever else are running, believe the order of
magnitude.

On two cores of an AMD EPYC (2026-12-01, jax 0.10.2) the first command took 4 min 27 s. Of the whole
study 106 of 525 pairs are measured: 58 cells, most of them at adding and parity, the dozen at
digits too. They are in benchmarks/results/odyssey.json, and docs/which_cell.md says what came of
them. In the adding task an LSTM's error is 0.09, a GRU's 0.02, an Elman network's 0.40, where
answering 1 has 0.41. A cell whose state is a matrix takes minutes for a task, and so did LTC and
UnICORNN.

The digits and the vowels are read from packages that ship them: pip install 'jaxrnn[data]'
"""

import argparse
import contextlib
import json
import os
import platform
import time
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import jax
import numpy as np
from _odyssey_networks import count, measure, sized, state_size
from _odyssey_plots import draw_scores, draw_times, draw_variants
from _odyssey_tasks import TASKS

import jaxrnn

BUDGET, STEPS, CHECKS, SEEDS, RATES = 3000, 400, 8, 3, [3e-3, 1e-2, 3e-2]
DOZEN = [
    *("elman", "lstm", "lstm_peephole", "lstm_nig", "lstm_nfg", "lstm_nog"),
    *("lstm_niaf", "lstm_noaf", "lstm_cifg", "lstm_fgr", "gru", "min_gru"),
]
FIRST = ["digits", "parity", "adding"]


def family(name):
    """Of a cell in the registry: by the module or folder of `jaxrnn.cells` that it is from."""
    found = type(jaxrnn.CELLS[name].spec).__module__.split(".")[2]
    ladder = {"lstm": "LSTM", "lstm_reference": "LSTM", "ladder": "LSTM"}
    return ({"elman": "Elman", "gru": "GRU"} | ladder).get(found, found)


def chosen(names):
    """Names of cells, of families, or "all" -> names of cells, in the registry's order."""
    known = {*jaxrnn.CELLS, *map(family, jaxrnn.CELLS), "all"}
    if unknown := set(names) - known:
        raise SystemExit(f"--cells: no cell or family {', '.join(sorted(unknown))}")
    return [name for name in jaxrnn.CELLS if {name, family(name), "all"} & set(names)]


def one(asked):
    """What there is to know about a cell at a task, with these settings; written to a file."""
    name, task_name, settings, path = asked
    task = TASKS[task_name]()
    network = sized(jaxrnn.CELLS[name], task.inputs, task.outputs, settings["budget"])
    options = {key: settings[key] for key in ("steps", "checks", "seeds", "rates")}
    measured = measure(network, task, **options)
    jax.clear_caches()
    result = {
        "cell": name,
        "task": task_name,
        "settings": settings,
        "hidden": network.hidden,
        "embedded": network.embedded,
        "parameters": count(network),
        "state": state_size(network),
        **measured,
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.replace(path)  # whole or not at all
    return result


def stored(path, settings):
    """The result in the file, None if there is none of these settings."""
    result = json.loads(path.read_text()) if path.is_file() else None
    return result if result and result["settings"] == settings else None


def run(names, task_names, settings, folder, jobs=1, train=True):
    """Does what is not done yet, if it may; all results asked for, in order of task and cell."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [(name, task_name) for task_name in task_names for name in names]
    paths = {pair: folder / f"{pair[1]}-{pair[0]}.json" for pair in pairs}
    left = [(*pair, settings, paths[pair]) for pair in pairs if not stored(paths[pair], settings)]
    left = left if train else []
    with contextlib.ExitStack() as stack:
        work = map
        if min(jobs, len(left)) > 1:
            work = stack.enter_context(get_context("spawn").Pool(jobs)).imap_unordered
        for result in work(one, left):
            told = "{task:10}{cell:28}".format(**result) + "{:8.3f} ± {:.3f}".format(*over(result))
            print(f"{told}{result['seconds']:8.0f} s", flush=True)
    return [found for pair in pairs if (found := stored(paths[pair], settings))]


def over(result):
    """Mean and standard deviation over seeds, on the test set."""
    return np.mean(result["test"]), np.std(result["test"], ddof=len(result["test"]) > 1)


def table(results):
    """Lines of a Markdown table: a row for each cell, a column for each task.

    Times are medians over tasks, units and state are the first task's, the horizon is one task's.
    """
    by = {(result["cell"], result["task"]): result for result in results}
    task_names = list(dict.fromkeys(task_name for _, task_name in by))
    reached = "adding" if "adding" in task_names else task_names[0]
    tasks = {name: TASKS[name]() for name in task_names}
    reach = f"horizon of {len(tasks[reached].test.xs)} ({reached})"
    heads = ["family", *task_names, "units", "state", "ns forward", "ns update", reach]
    yield f"| cell | {' | '.join(heads)} |"
    yield f"| --- | --- |{' ---: |' * (len(heads) - 1)}"
    ignorant = [shown(task, task.baseline) for task in tasks.values()]
    yield f"| *{' | '.join(['nothing learned* | ', *ignorant])} |{' |' * 5}"
    for name in (name for name in jaxrnn.CELLS if name in {cell for cell, _ in by}):
        of = {task_name: by.get((name, task_name)) for task_name in task_names}
        scores = [shown(tasks[key], *over(told)) if told else "" for key, told in of.items()]
        there = [told for told in of.values() if told]
        sizes = [f"{there[0][key]}" for key in ("hidden", "state")]
        times = [
            f"{np.median([told[key] for told in there]):.0f}" for key in ("forward_ns", "update_ns")
        ]
        horizon = f"{np.mean(of[reached]['horizon']):.0f}" if of[reached] else ""
        yield f"| `{name}` | {' | '.join([family(name), *scores, *sizes, *times, horizon])} |"


def shown(task, mean, spread=None):
    """A score: an accuracy in per cent, an error as it is."""
    scale, digits = (100, 1) if task.classes else (1, 3)
    text = f"{scale * mean:.{digits}f}"
    return text if spread is None else f"{text} ± {scale * spread:.{digits}f}"


def packed(results):
    """What the table and the pictures need of them, in four digits."""
    left_out = {"settings", "valid", "curve"}

    def short(value):
        if isinstance(value, list):
            return list(map(short, value))
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return [{k: short(v) for k, v in one.items() if k not in left_out} for one in results]


def described(task):
    """What is needed to read its scores: accuracies or errors, and what ignorance gets."""
    return {"classes": bool(task.classes), "baseline": task.baseline, "ignorant": task.ignorant}


def machine():
    """Where and with what this ran."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    packages = ("jax", "jaxlib", "jaxrnn", "numpy", "optax")
    versions = {name: version(name) for name in packages}
    about = {"cpu": cpu, "cores": os.cpu_count(), "device": jax.devices()[0].device_kind}
    return (
        about | {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version()} | versions
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", help="names, families or all; a dozen")
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS, "all"], help=" ".join(FIRST))
    parser.add_argument("--budget", type=int, default=BUDGET, help="parameters of a network")
    parser.add_argument("--steps", type=int, help=f"updates of each network; {STEPS}")
    parser.add_argument("--seeds", type=int, help=f"networks for each rate; {SEEDS}")
    parser.add_argument("--rates", nargs="+", type=float, help="learning rates to choose from")
    parser.add_argument("--jobs", type=int, help="how many are trained at a time; 2")
    parser.add_argument("--results", type=Path, help="an odyssey.json: draw that, train nothing")
    parser.add_argument("--stored", action="store_true", help="train nothing: what --out holds")
    parser.add_argument("--out", type=Path, default=Path("out/odyssey"))
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args()
    names = chosen(args.cells or (["lstm", "lstm_peephole"] if args.smoke else DOZEN))
    task_names = args.tasks or (["parity"] if args.smoke else FIRST)
    settings = {
        "budget": args.budget,
        "steps": args.steps or (4 if args.smoke else STEPS),
        "checks": 2 if args.smoke else CHECKS,
        "seeds": args.seeds or (2 if args.smoke else SEEDS),
        "rates": args.rates or (RATES[:2] if args.smoke else RATES),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    if args.results:
        results = json.loads(args.results.read_text())["results"]
    else:
        jobs = args.jobs or (1 if args.smoke else 2)
        task_names = list(TASKS) if "all" in task_names else task_names
        results = run(names, task_names, settings, args.out / "each", jobs, not args.stored)
        about = {name: described(TASKS[name]()) for name in task_names}
        whole = {"machine": machine(), "settings": settings, "tasks": about}
        whole["results"] = packed(results)
        lines = ",\n".join(json.dumps(result) for result in whole.pop("results"))
        text = f'{json.dumps(whole, indent=1)[:-2]},\n "results": [\n{lines}\n]}}\n'
        (args.out / "odyssey.json").write_text(text)

    print("\n".join(table(results)))
    tasks = {name: TASKS[name]() for name in dict.fromkeys(r["task"] for r in results)}
    families = {name: family(name) for name in jaxrnn.CELLS}
    draw_scores(args.out / "scores.png", results, tasks, families)
    draw_times(args.out / "times.png", results, tasks, families)
    draw_variants(args.out / "variants.png", results, tasks)
    print(f"wrote results and pictures into {args.out}")


if __name__ == "__main__":
    main()
