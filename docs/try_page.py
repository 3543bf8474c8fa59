"""Run the blocks of one page and write it as HTML with its figures, without building the site.

python docs/try_page.py docs/learn/loop.md
"""

import contextlib
import io
import sys
import time
from pathlib import Path

import markdown
from hooks import FENCE, ROOT

STYLE = (ROOT / "docs" / "style" / "figures.css").read_text(encoding="utf-8")


def main() -> None:
    """Run, print what was printed, write `out/try/<page>.html`."""
    path = Path(sys.argv[1])
    namespace: dict[str, object] = {"__name__": "page"}
    start = time.perf_counter()

    def run(match) -> str:
        head, code = match["head"].strip(), match["code"]
        if head not in ("python", "python figure", "python markdown"):
            return match[0]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(path), "exec"), namespace)
        output = printed.getvalue()
        if head != "python":
            return output
        print(output, end="")
        return f"```python\n{code}```\n\n```text\n{output}```\n" if output else match[0]

    text = FENCE.sub(run, path.read_text(encoding="utf-8"))
    body = markdown.markdown(text, extensions=["extra", "admonition", "toc", "pymdownx.details"])
    target = ROOT / "out" / "try" / f"{path.stem}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    page = '<!doctype html><meta charset="utf-8"><body class="md-typeset">'
    width = "body { max-width: 44rem; margin: auto; font-family: sans-serif }"
    target.write_text(f"{page}<style>{STYLE} {width}</style>{body}", encoding="utf-8")
    print(f"{time.perf_counter() - start:.1f} s, {target}")


if __name__ == "__main__":
    main()
