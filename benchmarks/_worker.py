"""One contender in a process of its own: ``python _worker.py LIBRARY CELL SHAPE MODE``.

It imports its library, fills the layer with the common weights and says so. For the line
``compile`` it compiles, warms up and prints a line of facts; for each line ``N`` it runs N times
and prints the seconds of each run. `_harness` lets the processes take turns.
"""

import json
import resource
import sys
import time

from _cases import Task
from _contenders import common, find


def prepare(task):
    if task.library == "sharded":
        import jax

        jax.config.update("jax_num_cpu_devices", 2)
    setup = common.setup(task)
    module = find(task.library)
    if task.library == "torch":
        return module.prepare(task, setup)
    if task.mode == "step":
        return common.Steps(module.step(task, setup))
    return common.Sequence(module.layer(task, setup), task.mode, setup.lengths)


def peak():
    """The most memory that was resident so far, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main(*words):
    contender = prepare(Task(*words))
    before = peak()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        if line.strip() == "compile":
            answer = contender.compile()
            contender.run()
            answer["check"] = contender.check()
            answer |= {"before_bytes": before, "peak_bytes": peak()}
        else:
            answer = []
            for _ in range(int(line)):
                began = time.perf_counter()
                contender.run()
                answer.append((time.perf_counter() - began) / contender.repeats)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
