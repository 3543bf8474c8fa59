"""What MkDocs runs while it builds: the cells' page lists every module of cells by itself."""

from pathlib import Path
from typing import Any

CELLS = Path(__file__).parents[1] / "jaxrnn" / "cells"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Append a reference to each module below `jaxrnn/cells/`, so that a new cell needs no page."""
    if page.file.src_uri != "api/cells.md":
        return markdown
    paths = (path.relative_to(CELLS).with_suffix("") for path in CELLS.rglob("[!_]*.py"))
    modules = sorted(".".join(path.parts) for path in paths)
    return markdown + "".join(f"\n::: jaxrnn.cells.{name}\n" for name in modules)
