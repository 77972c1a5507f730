"""The page for everybody: by keyboard, for screen readers, on phones, in the dark, below a path."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.docker.test_prefix import NGINX
from tests.docker.tools import free_port, process, succeeds, tool
from tests.page.conftest import Open
from tests.page.pictures import module, upload
from tests.service.support import wait_for

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
TOLD = "proxy_set_header X-Forwarded-Prefix /vision;"
SERIOUS = ("serious", "critical")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_finds_nothing_serious(
    size: dict[str, int], scheme: str, url: str, open_page: Open
) -> None:
    opened = open_page(f"{url}/", viewport=size, color_scheme=scheme)
    page = opened.page
    page.get_by_test_id("instance").click()
    page.locator("#key-form").evaluate("form => { form.hidden = false }")
    page.locator("#classes").fill("unicorn")
    page.get_by_role("button", name="Segment", exact=True).click()
    expect(page.get_by_test_id("error")).to_be_visible()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in SERIOUS] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(16, 19, 24)"
    assert dark == (scheme == "dark")
    assert opened.elsewhere == []


def test_the_keyboard_alone_is_enough(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    expect(page.get_by_test_id("instance")).to_be_visible()
    reached: list[str] = []
    name = "(e => e.id || e.dataset.testid || e.tagName)(document.activeElement)"
    page.keyboard.press("Tab")
    while (now := page.evaluate(name)) != "BODY" and len(reached) < 60:
        reached.append(now)
        page.keyboard.press("Tab")
    needed = "A resolution show-points file instance loupe-place model score classes level-points x0 y0 x1 y1 save-json"
    assert set(needed.split()) <= set(reached)
    page.get_by_test_id("instance").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("cutout")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("cutout")).to_be_hidden()
    page.get_by_test_id("resolution").press("Home")
    expect(page.get_by_test_id("points")).to_have_text("784 of 784 points evaluated: 100 %")


def test_it_works_below_a_path_of_a_proxy(url: str, open_page: Open, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(folder=tmp_path, port=port, upstream=f"{url}/", forwarded=TOLD))
    with process([tool("nginx", "Debian's nginx"), "-p", str(tmp_path), "-c", str(config)], tmp_path / "log"):
        below = f"http://127.0.0.1:{port}/vision"
        wait_for(lambda: succeeds(f"{below}/readyz"))
        opened = open_page(f"{below}/")
        page = opened.page
        upload(page)
        expect(page.get_by_test_id("instance")).to_have_count(2)
        expect(page.get_by_test_id("curl")).to_contain_text(f"'{below}/segment'")
        address = module(page, "data/snippets.js", "m.address('segment', {})")
        assert address == f"{below}/segment"
        page.get_by_role("link", name="API docs").click()
        expect(page).to_have_url(f"{below}/docs")
        opened.check()
