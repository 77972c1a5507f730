"""A real browser: the system's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tests.docker.tools import succeeds
from tests.service.support import Discs, disc_bundle, running, wait_for

PATIENCE = 120_000  # milliseconds; a busy machine must not fail a test
expect.set_options(timeout=PATIENCE)
NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Watched:
    """A page, and what went wrong in it."""

    page: Page
    host: str
    errors: list[str] = field(
        default_factory=list
    )  # of the console, of scripts, and of the content security policy
    elsewhere: list[str] = field(default_factory=list)  # requests to other hosts

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._requested)

    def _requested(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != self.host:
            self.elsewhere.append(request.url)

    def check(self) -> None:
        """Fail if anything went wrong, or if another host was asked for anything."""
        assert self.errors == []
        assert self.elsewhere == []


Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a Chromium without a window. The test is skipped where there is none."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Return what opens an address in a page of its own, with Playwright's options of a new context."""
    contexts = []

    def open(url: str, **options: Any) -> Watched:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        watched = Watched(context.new_page(), urlsplit(url).netloc)
        watched.page.goto(url)
        return watched

    yield open
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return the address of a service whose model finds made-up discs."""
    discs = Discs()
    discs.gate.set()
    with running(disc_bundle(discs)) as found:
        wait_for(lambda: succeeds(f"{found}/readyz"))
        yield found
