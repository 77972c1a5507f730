"""What the page shows when there is nothing to show: loading, nothing found, errors, a busy service, a missing key."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.docker.tools import succeeds
from tests.page.conftest import Open
from tests.page.pictures import upload
from tests.service.support import POISON, Discs, beginning, disc_bundle, encoded, picture, running, wait_for


@pytest.fixture
def open_discs() -> Discs:
    found = Discs()
    found.gate.set()
    return found


def test_nothing_found(url: str, open_page: Open) -> None:
    opened = open_page(f"{url}/")
    upload(opened.page, encoded(picture(brightness=0)))
    expect(opened.page.locator("#objects")).to_contain_text("Nothing found")
    expect(opened.page.get_by_test_id("instance")).to_have_count(0)
    expect(opened.page.get_by_test_id("cutout-all")).to_be_disabled()
    opened.check()


def test_a_problem_is_told_in_the_services_words(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    page.locator("#classes").fill("unicorn")
    page.get_by_role("button", name="Segment", exact=True).click()
    error = page.get_by_test_id("error")
    expect(error).to_contain_text("A parameter is not allowed")
    expect(error).to_contain_text("classes: there is no class 'unicorn'; allowed: disc, ring")
    page.locator("#classes").fill("")
    page.get_by_role("button", name="Segment", exact=True).click()
    expect(error).to_be_hidden()


def test_a_failure_inside_the_service_is_told(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    poisoned = np.full((80, 120, 3), POISON, np.uint8)
    upload(page, encoded(poisoned))
    expect(page.get_by_test_id("error")).to_be_visible()
    upload(page)
    expect(page.get_by_test_id("error")).to_be_hidden()
    expect(page.get_by_test_id("instance")).to_have_count(2)


def test_what_is_no_picture_is_not_sent(url: str, open_page: Open) -> None:
    opened = open_page(f"{url}/")
    upload(opened.page, b"no image", "note.png")
    expect(opened.page.get_by_test_id("error")).to_contain_text("note.png is no picture")
    opened.check()


def test_a_lost_connection_is_told(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    expect(page.get_by_test_id("instance")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("button", name="Segment", exact=True).click()
    expect(page.get_by_test_id("error")).to_contain_text("it cannot be reached")


def test_loading_is_shown_until_there_is_an_answer(open_page: Open) -> None:
    discs = Discs()
    discs.gate.set()
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: succeeds(f"{url}/readyz"))
        page = open_page(f"{url}/").page
        discs.gate.clear()
        upload(page)
        expect(page.locator("#progress")).to_be_visible()
        expect(page.locator("#status")).to_contain_text("Segmenting")
        discs.gate.set()
        expect(page.locator("#progress")).to_be_hidden()
        expect(page.get_by_test_id("instance")).to_have_count(2)


def test_a_busy_service_is_asked_again_when_it_says(open_page: Open, open_discs: Discs) -> None:
    with running(disc_bundle(open_discs), queue_length=1) as url:
        wait_for(lambda: succeeds(f"{url}/readyz"))
        page = open_page(f"{url}/").page
        expect(page.get_by_test_id("instance")).to_be_visible()
        open_discs.gate.clear()
        body = encoded(picture())
        with beginning(url, len(body)) as other:
            other.sendall(body)
            wait_for(lambda: len(open_discs.batches) > 1)  # the other request is inside
            page.clock.install()
            upload(page)
            expect(page.locator("#countdown")).to_contain_text("Again in")
            expect(page.get_by_test_id("error")).to_be_visible()
            open_discs.gate.set()
            assert other.recv(12) == b"HTTP/1.1 200"
        page.clock.run_for(60_000)
        expect(page.get_by_test_id("instance")).to_have_count(2)
        expect(page.get_by_test_id("error")).to_be_hidden()
        expect(page.locator("#countdown")).to_be_hidden()


def test_a_key_is_asked_for_and_sent(open_page: Open, open_discs: Discs) -> None:
    with running(disc_bundle(open_discs), api_keys="secret") as url:
        wait_for(lambda: succeeds(f"{url}/readyz"))
        page = open_page(f"{url}/").page
        expect(page.get_by_test_id("instance")).to_be_visible()  # the example needs none
        upload(page)
        expect(page.get_by_test_id("error")).to_contain_text("an API key is needed")
        expect(page.locator("#key")).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("error")).to_contain_text("the API key is not valid")
        page.locator("#key").fill("secret")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("instance")).to_have_count(2)
        expect(page.get_by_test_id("curl")).to_contain_text('-H "X-API-Key: $API_KEY"')
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert "secret" not in page.locator("main").inner_text()
