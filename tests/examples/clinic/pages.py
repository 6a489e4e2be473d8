"""The clinic's pages in Chromium, as a person sees them, and what is asked of each."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.serving import make_server

from examples.clinic.seed import PASSWORD
from tests.examples.clinic.browsing import Clinic

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
SERIOUS = ("serious", "critical")
# Pages that nobody is shut out from, as far as axe knows: it takes a second for each.
_examined: set[object] = set()
# What reaches beyond the window's sides and cannot be scrolled to within a frame of its own.
OUTSIDE = """() => [...document.querySelectorAll('a, button, input, select, textarea, h1, h2, p, dd, li')]
  .filter(one => !one.closest('.scroll, .skip, .unseen') && one.checkVisibility())
  .filter(one => {
    const box = one.getBoundingClientRect();
    return box.width && (box.left < -1 || box.right > innerWidth + 1) && !one.classList.contains('skip');
  })
  .map(one => one.outerHTML.slice(0, 120))"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def chromium(path: str) -> "Iterator[Browser]":
    """Debian's Chromium. It runs as root in containers, so it has no sandbox of its own."""
    from playwright.sync_api import sync_playwright  # not installed beside an older SQLAlchemy

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Served:
    """The clinic and its customers' portal on loopback, until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.clinic = Clinic(folder)
        self._servers = [make_server("127.0.0.1", 0, app, threaded=True) for app in self._apps()]
        self.url, self.portal = (f"http://127.0.0.1:{one.server_port}" for one in self._servers)
        self.clinic.app.config["PORTAL"] = self.clinic.storage.announcements.portal = f"{self.portal}/"
        for one in self._servers:
            threading.Thread(target=one.serve_forever, daemon=True).start()

    def _apps(self) -> tuple[Any, Any]:
        return self.clinic.app, self.clinic.portal

    def close(self) -> None:
        for one in self._servers:
            one.shutdown()
            one.server_close()
        self.clinic.close()


class Person:
    """Somebody before a screen; whatever goes wrong in their browser is noted."""

    def __init__(
        self, browser: "Browser", served: Served, size: dict[str, int], scheme: Any = "light"
    ) -> None:
        self.served = served
        self.scheme = scheme
        self._context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        self.page: Page = self._context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda said: self._note(said.type, said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._check(request.url))

    def _note(self, kind: str, text: str) -> None:
        # A refusal is a status that the browser reports as well.
        if kind == "error" and "the server responded with a status of 4" not in text:
            self.wrong.append(text)

    def _check(self, url: str) -> None:
        if not url.startswith((self.served.url, self.served.portal)):
            self.wrong.append(f"asked {url}")

    def go(self, path: str) -> None:
        """Open a page and look at it."""
        self.page.goto(path if path.startswith("http") else f"{self.served.url}{path}")
        self.look()

    def look(self) -> None:
        """Check what is on the screen: nothing cut off, nobody shut out, nothing from elsewhere.

        A page that has news loads itself again; it is looked at once more then.
        """
        from playwright.sync_api import Error

        try:
            self._look()
        except Error as error:
            if "context was destroyed" not in str(error):
                raise
            self.page.wait_for_load_state()
            self._look()

    def _look(self) -> None:
        where = self.page.url
        assert self.page.evaluate(WIDER) <= 0, f"{where} is wider than the window"
        assert self.page.evaluate(OUTSIDE) == [], where
        assert self.wrong == [], where
        # A page is the same for everybody, but for what was done just now.
        kind = (
            re.sub(r"\d+|\?.*", "", where),
            self.scheme,
            self.page.locator("[role=status], .problem").count(),
        )
        if kind not in _examined:
            self._examine(where)
            _examined.add(kind)

    def _examine(self, where: str) -> None:
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        serious = [
            (one["id"], [node["html"] for node in one["nodes"]]) for one in found if one["impact"] in SERIOUS
        ]
        assert serious == [], where
        assert self.wrong == [], where

    def sign_in(self, email: str) -> None:
        self.go("/sign-in")
        self.page.get_by_role("link", name=email).click()
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Sign in")

    def press(self, name: str) -> None:
        """Press a button and look at the page that follows."""
        self.page.get_by_role("button", name=name).first.click()
        self.page.wait_for_load_state()
        self.look()

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).first.click()
        self.page.wait_for_load_state()
        self.look()

    @property
    def text(self) -> str:
        return self.page.locator("main").inner_text()

    def close(self) -> None:
        self._context.close()
