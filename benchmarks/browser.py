"""Measure what the dashboard takes of a browser while ten tasks a second arrive.

make bench-browser                       # some minutes; writes docs/browser-benchmarks.md; needs Chromium
make bench-browser ARGUMENTS=--quick     # to try it out; writes nothing
"""

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
from api_rates import Installation, installation
from playwright.sync_api import Page

from chromium import WIDE, chromium
from config.settings import PROJECT_ROOT
from csai_client import CsaiClient

PAGE = PROJECT_ROOT / "docs" / "browser-benchmarks.md"
PAGES = {"overview": "/", "tasks": "/tasks", "queues": "/queues"}
TASKS_A_SECOND, MOST_SHARE = 10, 5.0
SETTLE_SECONDS, WHOLE_SECONDS, QUICK_SECONDS = 6.0, 60.0, 12.0
NAME, PASSWORD = "bench", "correct horse battery"
ADD_USER = f"""
from services import users
from services.access import at_terminal
users.add(at_terminal(), "{NAME}", "viewer", "{PASSWORD}")
print("{{}}")
"""


@contextmanager
def arriving(service: Installation) -> Iterator[list[int]]:
    """Submit ten tasks a second meanwhile; gives a list that grows by each."""
    stopped, arrived = threading.Event(), list[int]()

    def submit() -> None:
        began = time.monotonic()
        with CsaiClient(f"http://127.0.0.1:{service.port}", service.key) as client:
            while not stopped.wait(max(0.0, began + len(arrived) / TASKS_A_SECOND - time.monotonic())):
                client.analyze_sentiment(f"Number {len(arrived)} is a text of some length, which is good.")
                arrived.append(1)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield arrived
    finally:
        stopped.set()
        thread.join()


def spent() -> float:
    """Return the processor time that the browser's processes have used so far."""
    seconds = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:2]) if process.name().startswith("chrom") else 0.0
    return seconds


def watched(page: Page, path: str, seconds: float) -> tuple[float, int]:
    """Look at a page for so long; returns the per cent of a core that it took, and how often it looked again."""
    page.goto(path)
    page.wait_for_timeout(1000 * SETTLE_SECONDS)
    looks = list[str]()
    page.on("request", lambda asked: looks.append(asked.url))
    before, began = spent(), time.monotonic()
    page.wait_for_timeout(1000 * seconds)
    return 100 * (spent() - before) / (time.monotonic() - began), len(looks)


def measured(seconds: float) -> dict[str, tuple[float, int, float]]:
    """Return of each page what the browser took, how often it looked again, and how many tasks a second arrived."""
    found = dict[str, tuple[float, int, float]]()
    with installation() as service, chromium() as browser:
        service.processes.run([sys.executable, "-c", ADD_USER], 60)
        for name, path in PAGES.items():
            with browser.new_context(base_url=f"http://127.0.0.1:{service.port}", viewport=WIDE) as context:
                page = context.new_page()
                page.goto("/login")
                page.fill("[name=name]", NAME)
                page.fill("[name=password]", PASSWORD)
                page.click("button[type=submit]")
                began = time.monotonic()
                with arriving(service) as arrived:
                    share, looks = watched(page, path, seconds)
                    found[name] = share, looks, len(arrived) / (time.monotonic() - began)
    return found


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    seconds = QUICK_SECONDS if quick else WHOLE_SECONDS
    lines = [
        "# What the dashboard takes of a browser",
        "",
        f"All processes of Chromium together, without a window, while {TASKS_A_SECOND} tasks a second arrive;",
        f"{seconds:.0f} s a page, which looks again by itself. Repeat it by `make bench-browser`.",
        "",
        "| page | of a core | asked | requests meanwhile | tasks a second |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {share:.1f} % | {MOST_SHARE:.0f} % | {looks} | {rate:.1f} |"
            for name, (share, looks, rate) in measured(seconds).items()
        ),
        "",
    ]
    page = "\n".join(lines)
    print(page)
    if not quick:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
