"""Recurrent layers, side by side with other libraries and with ourselves.

    python benchmarks/layers.py                          # all
    python benchmarks/layers.py --quick                  # a little of each
    python benchmarks/layers.py --only step growth       # some parts, the others' files stay
    python benchmarks/layers.py --only layers --cells gru --shapes mid
    python benchmarks/layers.py --only report            # tables and charts from the files

Parts: `layers`, whole sequences in every library; `properties`, jaxrnn against itself; `step`, one
step of a stream; `growth`, time by T, B and H. Each contender is a process with the same weights;
those of one comparison take turns, after their numbers were found equal. Writes to --out a JSON
file for each part, and from all that are there layers.md (tables and goals), details.md and two
charts.
"""

import argparse
import json
import sys
from pathlib import Path

from _cases import LIBRARIES
from _harness import compare, machine
from _plans import PARTS, smoke


def arguments():
    text, _, epilog = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few comparisons of each part")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, to see that it runs")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "report"], metavar="PART")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, metavar="LIBRARY")
    parser.add_argument("--cells", nargs="+", metavar="CELL", help="lstm, gru, elman")
    parser.add_argument("--shapes", nargs="+", metavar="SHAPE", help="as in _cases.py")
    parser.add_argument("--modes", nargs="+", metavar="MODE", help="forward, gradient, …")
    parser.add_argument("--seconds", type=float, help="of measuring for each comparison")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    if args.seconds is None:
        args.seconds = 0.1 if args.smoke else 3 if args.quick else 6
    return args


def chosen(args, part):
    plans = PARTS[part](args.quick or args.smoke, args.libraries)
    for option, field in (("cells", "cell"), ("shapes", "shape"), ("modes", "mode")):
        wanted = getattr(args, option)
        plans = [plan for plan in plans if not wanted or getattr(plan, field) in wanted]
    return smoke(plans) if args.smoke else plans


def measure(args, part, about):
    """Run a part, and write its file after every comparison; the number left out."""
    path, done = args.out / f"{part}.json", []
    for plan in chosen(args, part):
        seconds = args.seconds if plan.timed else 0
        case = plan[:4]
        done.append(compare(*case, seconds, strangers=plan.strangers))
        timed = [f"{name} {row['ms']:.3g}" for name, row in done[-1]["rows"].items() if "ms" in row]
        print(f"{' '.join(plan[:3])}, ms: {', '.join(timed) or 'not timed'}", flush=True)
        path.write_text(json.dumps({"machine": about, "results": done}, indent=1) + "\n")
    return sum(len(case["left_out"]) for case in done)


def write(out):
    """The tables and charts of all parts whose files are there."""
    import _charts
    import _report

    files = {part: out / f"{part}.json" for part in PARTS}
    data = {part: json.loads(path.read_text()) for part, path in files.items() if path.exists()}
    (out / "layers.md").write_text(_report.report(data))
    (out / "details.md").write_text(_report.details(data))
    if "layers" in data:
        _charts.relative(data["layers"]["results"], out / "layers.png")
    if "growth" in data:
        _charts.growth(data["growth"]["results"], out / "growth.png")
    print(f"wrote {out / 'layers.md'}")


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    parts = args.only or list(PARTS)
    about = machine()
    left_out = sum(measure(args, part, about) for part in parts if part != "report")
    write(args.out)
    sys.exit(f"{left_out} contenders were left out: see details.md" if left_out else 0)


if __name__ == "__main__":
    main()
