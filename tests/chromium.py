"""The dashboard in a real browser: the installed Chromium, and pages on which whatever goes wrong is noted."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, Response, sync_playwright

from requirements_check import needs

WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_A_MAIL = ("because the document's frame is sandboxed", 'Content Security Policy directive: "img-src data:"')
"""What the browser tells where somebody's mail may run nothing, `SHIFTS` too, and load nothing."""

SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    const moved = one.sources.map((source) => source.node?.id || source.node?.className || source.node?.nodeName);
    const ours = one.sources.some((source) => source.node); // what moves inside a player is the browser's
    if (ours && !one.hadRecentInput) shifts.push({ value: one.value, moved });
  }
}).observe({ type: "layout-shift", buffered: true });
"""
PAINTED = """() => new Promise((done) => requestAnimationFrame(() =>
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(shifts))))))"""
"""What moved until the next picture was painted."""

TOO_WIDE = """() => {
  const most = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= most) return [];
  const wide = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > most + 1);
  return wide.map((one) => one.outerHTML.slice(0, 120));
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed browser; a test is skipped, or fails, where there is none."""
    path = needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


class Watched:
    """A page in a browser, and whatever goes wrong on it: a script's error, a broken policy, a request elsewhere.

    Args:
        context: whose cookies it has.
        base: the address of the dashboard.

    Attributes:
        base: that address.
        wrong: what went wrong, and was not expected.
    """

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.wrong: list[str] = []
        self.base, self._expected = base, set(OF_A_MAIL)
        context.add_init_script(SHIFTS)
        self.page: Page = context.new_page()
        self.page.on("console", lambda told: told.type == "error" and self._note(told.text))
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("dialog", self._refuse)
        self.page.on("request", self._check)
        self.page.on("requestfailed", self._fails)

    def _refuse(self, dialog: Dialog) -> None:
        self._note(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _check(self, request: Request) -> None:
        if not request.url.startswith((f"{self.base}/", "data:", "about:", "cid:")):  # the last leads nowhere at all
            self._note(f"it asked {request.url}")

    def _fails(self, request: Request) -> None:
        if request.failure not in {"net::ERR_ABORTED", "csp"}:  # a page that was left; what the console tells, too
            self._note(f"{request.url}: {request.failure}")

    def _note(self, text: str) -> None:
        if not any(one in text for one in self._expected):
            self.wrong.append(f"{self.page.url}: {text}")

    def expects(self, what: int | str) -> None:
        """Let it be right, on this page, that an answer has this status, or that the browser tells this as an error."""
        self._expected.add(f"status of {what}" if isinstance(what, int) else what)

    def goes(self, path: str, status: int = 200) -> Response:
        """Load a page."""
        self._expected = {*OF_A_MAIL, f"status of {status}"}
        answer = self.page.goto(path)
        assert answer.status == status, (path, answer.status)
        return answer

    def moved(self) -> list[dict[str, Any]]:
        """What has moved by itself since the page was loaded."""
        return self.page.evaluate(PAINTED)

    def too_wide(self) -> list[str]:
        """What reaches out of the window, where the page must be scrolled sideways for it."""
        return self.page.evaluate(TOO_WIDE)

    def inaccessible(self) -> list[tuple[str, str, list[str]]]:
        """What axe finds against WCAG 2.2 AA and good practice: the rule, its words, and where."""
        options = {"resultTypes": ["violations"], "iframes": False, "runOnly": RULES}
        found = Axe().run(self.page, options=options).response["violations"]
        return [(one["id"], one["help"], [node["html"][:200] for node in one["nodes"][:5]]) for one in found]

    def shoot(self, name: str, *, whole: bool = True) -> None:
        """Write a small picture of the page, or of the window, into the folder that SCREENSHOTS may name."""
        if folder := os.environ.get("SCREENSHOTS"):
            taken = Image.open(io.BytesIO(self.page.screenshot(full_page=whole))).convert("RGB")
            taken.quantize(128).save(Path(folder) / f"{name}.png", optimize=True)
