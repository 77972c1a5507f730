"""Zooming into the picture: what is enlarged, and the edge that the service renders for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Page, Request, expect

from tests.docker.tools import succeeds
from tests.page.conftest import Open
from tests.page.pictures import module, on_canvas, pixels, upload
from tests.parity.goldens import FOLDER
from tests.service.support import running, tiny_bundle, wait_for

COFFEE = (FOLDER / "coffee.png").read_bytes()
SIZE = 600, 400
EXAMPLE = 512, 512


@pytest.fixture(scope="module")
def tiny() -> Iterator[str]:
    """Return the address of a service with an untrained network that has a point head."""
    with running(tiny_bundle()) as found:
        wait_for(lambda: succeeds(f"{found}/readyz"))
        yield found


def asked(page: Page) -> list[Request]:
    """Return the requests for windows and masks that the page makes from now on."""
    found: list[Request] = []
    page.on("request", lambda request: found.append(request) if request.method == "POST" else None)
    return found


def query(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


def isolate_first(page: Page) -> None:
    """Segment the coffee, and isolate its first object."""
    expect(page.locator("#model")).to_have_value("tiny")
    page.locator("#score").fill("0.05")
    page.locator("#score").press("Tab")
    upload(page, COFFEE, "coffee.png")
    expect(page.get_by_test_id("curl")).to_contain_text("coffee.png")
    expect(page.locator("#status")).to_contain_text("finished in")
    page.get_by_test_id("instance").first.click()


def test_the_wheel_enlarges_what_is_under_the_pointer(url: str, open_page: Open) -> None:
    opened = open_page(f"{url}/", reduced_motion="reduce")
    page, posts = opened.page, asked(opened.page)
    expect(page.get_by_test_id("instance")).to_be_visible()
    page.mouse.move(*on_canvas(page, 100, 300, EXAMPLE))
    expect(page.locator("#tag")).to_be_visible()  # the object under the pointer is drawn with a wider edge
    before = pixels(page.locator("#picture")).astype(int)
    page.mouse.wheel(0, -555)
    expect(page.get_by_test_id("zoom")).to_have_text("4×")
    assert np.abs(pixels(page.locator("#picture")).astype(int) - before).mean() > 5
    page.mouse.wheel(0, -9999)
    expect(page.get_by_test_id("zoom")).to_have_text("32×")
    page.mouse.wheel(0, 9999)
    expect(page.get_by_test_id("zoom")).to_have_text("1×")
    wait_for(lambda: np.array_equal(pixels(page.locator("#picture")), before))
    assert posts == []  # the recorded example has no features: zoom shows what is there
    opened.check()


def test_keys_and_buttons_enlarge_the_middle(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    expect(page.get_by_test_id("instance")).to_be_visible()
    zoom = page.get_by_test_id("zoom")
    page.locator("body").press("+")
    expect(zoom).to_have_text("1.5×")
    page.get_by_role("button", name="Enlarge the picture").click()
    expect(zoom).to_have_text("2.3×")
    seen = pixels(page.locator("#picture"))
    page.locator("body").press("ArrowRight")
    assert not np.array_equal(pixels(page.locator("#picture")), seen)
    page.locator("body").press("-")
    page.get_by_role("button", name="Show more of the picture").click()
    expect(zoom).to_have_text("1×")
    page.locator("body").press("+")
    page.locator("body").press("0")
    expect(zoom).to_have_text("1×")
    page.locator("#classes").press("+")  # which is typing
    expect(zoom).to_have_text("1×")


def test_a_place_stays_under_the_pointer(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    canvas, picture = {"width": 800, "height": 600}, {"width": 512, "height": 384}
    call = (
        "(() => { const v = new m.Viewport();"
        "const at = (f, [x, y]) => [(x - f.left) / f.scale, (y - f.top) / f.scale];"
        "const before = at(v.frame(...a), [200, 450]); v.enlarge(7, [200, 450], ...a); const f = v.frame(...a);"
        "const after = at(f, [200, 450]); v.move(-1e6, 1e6, ...a); const g = v.frame(...a);"
        "return { before, after, zoom: v.zoom, corner: [g.left + 512 * g.scale, g.top] }; })()"
    )
    found: Any = module(page, "view/viewport.js", call, canvas, picture)
    np.testing.assert_allclose(found["after"], found["before"])
    np.testing.assert_allclose(found["corner"], [800, 0])  # it cannot be moved off the canvas
    assert found["zoom"] == 7


def test_the_edge_of_an_isolated_object_is_rendered_for_what_is_seen(tiny: str, open_page: Open) -> None:
    opened = open_page(f"{tiny}/")
    page = opened.page
    isolate_first(page)
    canvas = page.locator("#picture")
    expect(canvas).to_have_attribute("data-edge", "")
    page.locator("#show-points").uncheck()
    posts = asked(page)
    page.locator("body").press("+")
    expect(canvas).to_have_attribute("data-edge", "rendered")
    for _ in range(4):
        page.locator("body").press("+")
    expect(page.get_by_test_id("zoom")).to_have_text("7.6×")
    wait_for(lambda: page.evaluate("1") and len(posts) >= 2 and posts[-1].response() is not None)
    last = query(posts[-1])
    x0, y0, x1, y1 = map(float, last["window"].split(","))
    assert all(urlsplit(each.url).path == "/render" for each in posts)
    assert 0 <= x0 < x1 <= SIZE[0] and 0 <= y0 < y1 <= SIZE[1]
    assert int(last["width"]) > x1 - x0 and last["instance"] == "0"
    page.get_by_role("button", name="Show all").click()
    expect(canvas).to_have_attribute("data-edge", "")
    opened.check()


def drag_box(page: Page) -> None:
    page.mouse.move(*on_canvas(page, 100, 100, SIZE))
    page.mouse.down()
    page.mouse.move(*on_canvas(page, 400, 300, SIZE), steps=3)
    page.mouse.up()


def test_a_box_of_a_kept_picture_is_segmented_without_the_picture(tiny: str, open_page: Open) -> None:
    opened = open_page(f"{tiny}/")
    page = opened.page
    isolate_first(page)
    posts = asked(page)
    drag_box(page)
    expect(page.get_by_test_id("instance")).to_have_count(1)
    expect(page.locator("#status")).to_contain_text("1 object, finished in")
    (sent,) = posts
    assert "content-type" not in sent.headers and query(sent)["kept"] and query(sent)["keep"] == "120"
    expect(page.get_by_test_id("curl")).not_to_contain_text("kept")  # that a program would not have
    page.locator("#clear-box").click()  # the whole picture again, which has to be sent
    expect(page.locator("#status")).to_contain_text("objects, finished in")
    assert posts[1].headers["content-type"] == "image/png" and "kept" not in query(posts[1])
    opened.check()


def test_a_picture_that_is_kept_no_longer_is_sent_again(tiny: str, open_page: Open) -> None:
    page = open_page(f"{tiny}/").page
    isolate_first(page)
    problem = '{"type": "/problems/not-kept", "title": "The picture is not kept", "status": 404}'
    page.route("**/segment?*kept=*", lambda route: route.fulfill(status=404, body=problem))
    posts = asked(page)
    drag_box(page)
    expect(page.locator("#status")).to_contain_text("1 object, finished in")
    assert ["kept" in query(each) for each in posts] == [True, False]


def test_a_chosen_resolution_is_enlarged_as_it_is(tiny: str, open_page: Open) -> None:
    page = open_page(f"{tiny}/").page
    isolate_first(page)
    page.get_by_test_id("resolution").press("Home")
    posts = asked(page)
    page.locator("body").press("+")
    expect(page.get_by_test_id("zoom")).to_have_text("1.5×")
    page.wait_for_timeout(400)
    assert [urlsplit(each.url).path for each in posts if "/render" in each.url] == []


def test_what_is_kept_no_longer_is_said(tiny: str, open_page: Open) -> None:
    page = open_page(f"{tiny}/").page
    isolate_first(page)
    problem = (
        '{"type": "/problems/not-kept", "title": "The picture is not kept", "status": 404, "detail": "gone"}'
    )
    page.route("**/render*", lambda route: route.fulfill(status=404, body=problem))
    page.locator("body").press("+")
    expect(page.locator("#status")).to_contain_text("keeps this picture no longer")
    expect(page.get_by_test_id("error")).to_be_hidden()
    expect(page.locator("#picture")).to_have_attribute("data-edge", "")


def test_only_a_model_that_can_is_asked_to_keep(url: str, tiny: str, open_page: Open) -> None:
    for address, kept in ((url, None), (tiny, "120")):
        page = open_page(f"{address}/").page
        expect(page.locator("#model")).not_to_be_empty()
        posts = asked(page)
        upload(page, COFFEE, "coffee.png")
        wait_for(lambda posts=posts, page=page: page.evaluate("1") and posts)
        assert query(posts[0]).get("keep") == kept
        expect(page.get_by_test_id("curl")).not_to_contain_text("keep")
