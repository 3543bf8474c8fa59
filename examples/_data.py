"""Where the examples find their data: in files that other packages ship, and nowhere else."""

import importlib.util
from pathlib import Path


def bundled(package, path):
    """The file of an installed package, which is not imported; ends the script without it."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations or [] if spec else []
    for folder in folders:
        if (file := Path(folder, path)).is_file():
            return file
    what = f"has no {path}" if folders else "is not installed"
    raise SystemExit(f"{package} {what}: pip install 'jaxrnn[data]' brings the data")
