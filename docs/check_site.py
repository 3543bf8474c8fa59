"""Open every page of the built site in a browser, and ask its search what newcomers ask.

    python docs/check_site.py site             # every page at two widths, light and dark
    python docs/check_site.py site --search    # only the questions in docs/questions.json
    python docs/check_site.py site --shots DIR # keeps a picture of each

Fails if a page logs an error, asks for something that is not there, or is wider than the window,
or if a question does not find its page among the first three hits. Needs Chromium, its driver and
selenium (`make site-check` installs the last).
"""

import argparse
import functools
import http.server
import json
import shutil
import sys
import threading
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

WIDTHS, SCHEMES, HITS = (1400, 400), {"light": "default", "dark": "slate"}, 3
QUESTIONS = Path(__file__).parent / "questions.json"
WIDE = """
const wide = [...document.querySelectorAll('.md-content *')].filter(e => {
  const box = e.getBoundingClientRect();
  if (!box.width || box.right <= innerWidth + 1) return false;
  for (let p = e.parentElement; p; p = p.parentElement)
    if (getComputedStyle(p).overflowX !== 'visible' &&
        p.getBoundingClientRect().right <= innerWidth + 1)
      return false;
  return true;
});
if (document.documentElement.scrollWidth > innerWidth) wide.push(document.documentElement);
return wide.slice(0, 3).map(
    e => e.tagName + '.' + e.className + ' ' + Math.round(e.getBoundingClientRect().right));
"""
BROKEN = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src);"
RESULTS = """
return [...document.querySelectorAll('.md-search-result__item')].map(
    item => item.querySelector('a').getAttribute('href'));
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def serve(folder: Path) -> str:
    """Serve a folder from a thread; its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def browser() -> webdriver.Chrome:
    """Headless Chromium that keeps to itself, the one on the PATH."""
    options = webdriver.ChromeOptions()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    driver = shutil.which("chromedriver")
    if chromium and driver:  # or selenium would look for them on the network
        options.binary_location = chromium
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver) if driver else None
    return webdriver.Chrome(options=options, service=service)


def look(address: str, pages: list[str], shots: Path | None) -> list[str]:
    """What is wrong with the pages."""
    faults = []
    for scheme in SCHEMES:
        driver = browser()  # a new one, since the theme remembers the first choice
        feature = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        for width in WIDTHS:
            size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            for page in pages:
                driver.get(address + page)
                where = f"{page or 'index'} ({width}, {scheme})"
                shown = driver.execute_script("return document.body.dataset.mdColorScheme")
                if shown != SCHEMES[scheme]:
                    faults.append(f"{where}: expected the scheme {SCHEMES[scheme]}, got {shown}")
                faults += [f"{where}: too wide: {what}" for what in driver.execute_script(WIDE)]
                faults += [f"{where}: no picture: {what}" for what in driver.execute_script(BROKEN)]
                faults += [
                    f"{where}: {entry['message']}"
                    for entry in driver.get_log("browser")
                    if entry["level"] in ("SEVERE", "WARNING")
                ]
                if shots:
                    height = driver.execute_script("return document.documentElement.scrollHeight")
                    tall = size | {"height": min(height, 12000)}
                    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", tall)
                    name = f"{page.strip('/').replace('/', '_') or 'index'}_{width}_{scheme}.png"
                    driver.save_screenshot(str(shots / name))
                    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.quit()
    return faults


def ask(address: str) -> list[str]:
    """Which questions do not find their page; prints what each finds."""
    driver = browser()
    size = {"width": 1400, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    faults = []
    for question, wanted in json.loads(QUESTIONS.read_text(encoding="utf-8")).items():
        driver.get(f"{address}?q={question.replace(' ', '+')}")
        driver.find_element(By.CSS_SELECTOR, ".md-search__input").click()
        hits: list[str] = []
        for _ in range(50):
            time.sleep(0.1)
            hits = [
                hit.split("?")[0].removeprefix(address) for hit in driver.execute_script(RESULTS)
            ]
            if hits:
                break
        found = [hit.removeprefix("../").removeprefix("./") for hit in hits[:HITS]]
        right = any(hit.startswith(page) for hit in found for page in wanted)
        print(f"{'  ' if right else '! '}{question:32} {', '.join(found) or 'nothing'}")
        if not right:
            faults.append(f"{question!r}: expected {' or '.join(wanted)}, found {found}")
    driver.quit()
    return faults


def main() -> None:
    """Look, ask, and exit with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--search", action="store_true", help="only the questions")
    parser.add_argument("--only", default="", help="only pages whose path begins so")
    parser.add_argument("--shots", type=Path, help="a folder for pictures of the pages")
    args = parser.parse_args()
    pages = sorted(
        path.parent.relative_to(args.site).as_posix().removeprefix(".") + "/"
        for path in args.site.rglob("index.html")
    )
    pages = ["" if page == "/" else page for page in pages if page.startswith(args.only)]
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    address = serve(args.site)
    faults = [] if args.search else look(address, pages, args.shots)
    faults += [] if args.only else ask(address)
    print("\n".join(faults))
    if faults:
        sys.exit(f"{len(faults)} faults")
    print(f"{len(pages)} pages, {len(WIDTHS)} widths, light and dark: no fault")


if __name__ == "__main__":
    main()
