"""The page /docs in a browser: it shows the service's operations, and needs no other host."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.page.conftest import Open


def test_the_documentation_shows_the_operations(url: str, open_page: Open) -> None:
    opened = open_page(f"{url}/docs")
    expect(opened.page.locator("#operations-masks-segment")).to_be_visible()
    opened.page.locator("#operations-masks-segment button.opblock-summary-control").click()
    expect(opened.page.get_by_text("Least score of a detection").first).to_be_visible()
    opened.check()
