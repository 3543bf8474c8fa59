"""What MkDocs runs while it builds.

Every Python block of a page is run, in order and in one namespace a page, by markdown-exec, and
what it prints stands below it. An error in one is a warning of the build, which is strict.

    ```python                     shown, run, its output below
    ```python figure              run, its output is HTML; the code is folded away
    ```python markdown            run, its output is Markdown; the code is not shown
    ```python title="PyTorch"     shown only: tests run what belongs to another library

In prose, the name of something documented, such as `jaxrnn.scan`, is a link.
"""

import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
CELLS = ROOT / "jaxrnn" / "cells"

FENCE = re.compile(r"^(?P<fence>```+)(?P<head>[^\n`]*)\n(?P<code>.*?)^(?P=fence)$\n?", re.M | re.S)
NAME = re.compile(r"(?<![\[`\w])(?P<ticks>`{1,2})(?P<name>jaxrnn(?:\.\w+)+)(?P=ticks)(?![\]`])")
NOTHING = re.compile(
    r'<div class="(?:language-text )?highlight"><pre><span></span><code>\s*</code></pre></div>'
)
ZOO = re.compile(r"<!-- zoo: (\w+) -->")
SECONDS: dict[str, float] = {}


def linked(text: str) -> str:
    """Prose whose names of the library are links, where the documentation has them."""
    return NAME.sub(
        r'<autoref optional identifier="\g<name>"><code>\g<name></code></autoref>', text
    )


def block(match: re.Match[str], session: str) -> str:
    """A fence as markdown-exec takes it."""
    head, code = match["head"].strip(), match["code"]
    if head == "python":
        options = f'exec="1" session="{session}" source="above" result="text"'
        return f"{match['fence']}python {options}\n{code}{match['fence']}\n"
    if head == "python figure":
        source = "".join(f"    {line}".rstrip() + "\n" for line in code.splitlines())
        folded = f'??? quote "Code of the figure"\n\n    ```python\n{source}    ```\n'
        return f'```python exec="1" html="1" session="{session}"\n{code}```\n\n{folded}'
    if head == "python markdown":
        return f'```python exec="1" session="{session}"\n{code}```\n'
    return match[0]


def prepared(markdown: str, session: str) -> str:
    """A page with its blocks to run and its names to link."""
    parts, end = [], 0
    for match in FENCE.finditer(markdown):
        parts += [linked(markdown[end : match.start()]), block(match, session)]
        end = match.end()
    return "".join([*parts, linked(markdown[end:])])


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Let pages `import figures`, and list the pages of the gallery."""
    sys.path.insert(0, str(DOCS))
    import gallery

    config.nav = [
        {"Gallery": list(gallery.pages())} if "Gallery" in item else item for item in config.nav
    ]
    return config


def on_files(files: Files, *, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages that are made from something else."""
    import gallery

    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "changelog.md", content=changes))
    for path, content in gallery.pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Let every block run; put the tables of cells where their marks are."""
    import zoo

    path = page.file.src_uri
    SECONDS[path] = time.perf_counter()
    markdown = markdown.replace("<!-- zoo -->", zoo.page() if "<!-- zoo -->" in markdown else "")
    markdown = ZOO.sub(lambda match: zoo.family_page(match[1]), markdown)
    return markdown if path.startswith("gallery/") else prepared(markdown, path)


def on_page_content(html: str, *, page: Page, **_: Any) -> str:
    """Leave out the output of blocks that have none."""
    SECONDS[page.file.src_uri] = time.perf_counter() - SECONDS[page.file.src_uri]
    return NOTHING.sub("", html)


def on_post_build(*, config: MkDocsConfig, **_: Any) -> None:
    """Put the examples where their pages link to, and say which pages take long."""
    for path in (ROOT / "examples").glob("*.py"):
        shutil.copy(path, Path(config.site_dir) / "gallery" / path.name)
    slowest = sorted(SECONDS.items(), key=lambda item: -item[1])[:8]
    print("slowest pages:", ", ".join(f"{path} {seconds:.0f} s" for path, seconds in slowest))
