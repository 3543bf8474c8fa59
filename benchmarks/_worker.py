"""One contender in a process of its own: ``python _worker.py TASK``, a `Task` as JSON.

It builds the layer and answers lines: ``ready``; ``compile``, with what that took; ``sample``, with
some outputs; and ``N``, for which it runs N times, with the seconds of each run. `_harness` lets
the processes take turns.
"""

import importlib
import json
import os
import sys
import time

import numpy as np
from _task import STEPS, Task


def build(task):
    if task.devices and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.devices])
    module = importlib.import_module(f"_contenders.{task.contender}")
    if task.contender == "torch":
        return module.Torch(task)
    from _jax import Layer, Step

    return Step(task, module) if task.mode == "step" else Layer(task, module)


def answer(task, contender, word):
    if word == "ready":
        return word
    if word == "sample":
        ys = np.ravel(contender.outputs())
        return ys[np.random.default_rng(2).integers(0, ys.size, 500)].tolist()
    began = time.perf_counter()
    if word == "compile":
        temporaries = contender.compile()
        return {"compile_s": time.perf_counter() - began, "temp_bytes": temporaries}
    seconds = []
    for _ in range(int(word)):
        began = time.perf_counter()
        contender.run()
        seconds.append(time.perf_counter() - began)
    return [s / STEPS for s in seconds] if task.mode == "step" else seconds


def main():
    try:
        task = Task(**json.loads(sys.argv[1]))
        contender = build(task)
        for line in sys.stdin:
            print(json.dumps(answer(task, contender, line.strip())), flush=True)
    except Exception as error:
        print(json.dumps({"error": repr(error)[:300]}), flush=True)


if __name__ == "__main__":
    main()
