"""The gallery: a page for each example, with what a run of it drew and printed.

    python docs/gallery.py sine parallel     # runs these at default size and stores what came
    python docs/gallery.py                   # all of them: half an hour

A page shows the example's docstring, the pictures and the last lines of a stored run with its date,
machine and versions, the whole code, and a link to download it.
"""

import ast
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORED = ROOT / "docs" / "images" / "gallery"
LINES = 30
"""As many of the last lines that a run printed are kept."""


def examples() -> list[Path]:
    """All that can be run, in order of their names."""
    return sorted((ROOT / "examples").glob("[!_]*.py"))


def docstring(path: Path) -> tuple[str, str]:
    """The title of an example and what its docstring goes on to say."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
    title, _, rest = text.partition("\n")
    return title.rstrip("."), rest.strip()


def stored(path: Path) -> dict[str, object]:
    """What is known of an example's last stored run, nothing if there is none."""
    record = STORED / f"{path.stem}.json"
    return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}


def page(path: Path) -> str:
    """An example as a page."""
    title, text = docstring(path)
    # The title is the page's; a bar would be taken for a table's.
    parts = [f"# {title}", text.replace("jaxrnn[", r"jaxrnn\["), "## What it drew"]
    if run := stored(path):
        parts += [
            f"![{title}: {name}](../images/gallery/{name}){{ loading=lazy }}"
            for name in run["pictures"]
        ]
        parts.append(
            f"From `{run['command']}`, {run['date']}, {run['seconds']:.0f} s on {run['cores']} "
            f"cores of {run['cpu']}; {run['versions']}."
        )
        parts += ["What it printed last:", f"```text\n{run['printed']}\n```"]
    else:
        parts.append("No run of it is stored.")
    code = path.read_text(encoding="utf-8")
    name = path.name
    parts += [
        "## Code",
        f'<a href="../{name}" download>Download {name}</a>, or find it in `examples/` of a clone.',
        f"````python\n{code}````",
    ]
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """All examples, with the first picture of each."""
    parts = [
        "# Gallery",
        "Whole jobs, each one file in `examples/` that runs on two CPU cores in minutes. "
        "`python examples/<name>.py` runs one, `--smoke` shows in seconds that it works, and "
        "`--out` says where its pictures go.",
        '<div class="gallery" markdown>',
    ]
    for path in examples():
        title, _ = docstring(path)
        pictures = stored(path).get("pictures", [])
        shown = f'<img src="../images/gallery/{pictures[0]}" alt="">' if pictures else ""
        parts.append(f'<a href="{path.stem}/">{shown}<b>{path.name}</b><span>{title}</span></a>')
    return "\n\n".join([*parts, "</div>"]) + "\n"


def pages() -> dict[str, str]:
    """Every page by its path in the documentation."""
    return {"gallery/index.md": index()} | {
        f"gallery/{path.stem}.md": page(path) for path in examples()
    }


def run(path: Path) -> None:
    """Run an example at its default size; store its pictures and the end of what it printed."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, str(path), "--out", folder]
        environment = {**os.environ, "COLUMNS": "90", "MPLBACKEND": "Agg"}
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"{path.name}: {done.stdout}{done.stderr}")
        STORED.mkdir(parents=True, exist_ok=True)
        for old in stored(path).get("pictures", []):
            (STORED / old).unlink(missing_ok=True)
        names = []
        for picture in sorted(Path(folder).glob("*.png")):
            names.append(f"{path.stem}_{picture.name}")
            with Image.open(picture) as image:  # 256 colours are plenty for lines
                image.convert("RGB").quantize(256).save(STORED / names[-1], optimize=True)
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    lines = done.stdout.replace(folder, "out").rstrip().splitlines()
    record = {
        "command": f"python examples/{path.name}",
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "cores": os.cpu_count(),
        "cpu": cpu,
        "versions": f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxrnn", "optax")),
        "pictures": names,
        "printed": "\n".join(lines[-LINES:]),
    }
    (STORED / f"{path.stem}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{path.name}: {seconds:.0f} s, {len(names)} pictures")


def main() -> None:
    """Run those named, or all."""
    known = {path.stem: path for path in examples()}
    if unknown := set(sys.argv[1:]) - set(known):
        raise SystemExit(f"no example {', '.join(sorted(unknown))}")
    for name in sys.argv[1:] or known:
        run(known[name])


if __name__ == "__main__":
    main()
