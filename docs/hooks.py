"""What MkDocs runs while it builds: the page of the cells lists all that there are."""

import sys
from pathlib import Path
from typing import Any

CELLS = Path(__file__).parents[1] / "jaxrnn" / "cells"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put the table of cells where its mark is, and a reference to each module behind it."""
    if page.file.src_uri != "api/cells.md":
        return markdown
    sys.path.insert(0, str(Path(__file__).parent))
    import zoo

    paths = (path.relative_to(CELLS).with_suffix("") for path in CELLS.rglob("[!_]*.py"))
    modules = sorted(".".join(path.parts) for path in paths)
    references = "".join(f"\n::: jaxrnn.cells.{name}\n" for name in modules)
    return markdown.replace("<!-- zoo -->", zoo.page()) + references
