"""Fail if a public name is missing from the built documentation.

Reads the inventory that the build leaves (`objects.inv`: one line for each
documented object) and looks for every name in the `__all__` of jaxrnn and of
the modules that it exports. An object without a docstring is not in the
inventory; a name that is merely a shorter one for another may instead be
mentioned, as `name`, in the text of a page in docs/reference/.

Usage: python docs/check_api.py site/objects.inv
"""

import re
import sys
import zlib
from pathlib import Path
from types import ModuleType

import jaxrnn


def documented(inventory: Path) -> set[str]:
    """Names of the objects that the inventory lists, without their modules."""
    # Four lines of header, then a compressed "name domain:role priority uri title" each.
    *_, body = inventory.read_bytes().split(b"\n", 4)
    entries = [line.split()[:2] for line in zlib.decompress(body).decode().splitlines()]
    return {name.rpartition(".")[2] for name, role in entries if role != "py:module"}


def mentioned(folder: Path) -> set[str]:
    """Names that stand alone between backticks in the pages of a folder."""
    pages = [path.read_text(encoding="utf-8") for path in folder.glob("*.md")]
    return set(re.findall(r"`(\w+)`", "\n".join(pages)))


def public() -> dict[str, set[str]]:
    """The names that jaxrnn and each module that it exports export, modules left out."""
    exported = {name: getattr(jaxrnn, name) for name in jaxrnn.__all__}
    modules = [jaxrnn, *(value for value in exported.values() if isinstance(value, ModuleType))]
    return {
        module.__name__: {
            name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)
        }
        for module in modules
    }


def main() -> None:
    """Compare the two and exit with 1 if anything is missing."""
    known = documented(Path(sys.argv[1])) | mentioned(Path(__file__).parent / "reference")
    names = public()
    missing = [f"{m}.{name}" for m in names for name in sorted(names[m] - known)]
    if missing:
        sys.exit("no docstring, or on no page of docs/reference/:\n  " + "\n  ".join(missing))
    print(f"all {sum(map(len, names.values()))} public names are in the documentation")


if __name__ == "__main__":
    main()
