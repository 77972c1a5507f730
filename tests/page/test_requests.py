"""Pictures of one's own: levels as they arrive, settings, boxes, files to keep, and the same request elsewhere."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.docker.tools import succeeds
from tests.page.conftest import Open
from tests.page.pictures import move, on_canvas, upload
from tests.parity.goldens import FOLDER
from tests.service.label_maps import street
from tests.service.support import encoded, picture, running, tiny_bundle, wait_for

COFFEE = FOLDER / "coffee.png"
SIZE = 120, 80  # of the grey picture
WATCH = """() => {
  window.seen = [];
  const canvas = document.getElementById("picture");
  new MutationObserver(() => {
    const now = canvas.dataset.drawn.split(",").map(Number);
    if (canvas.dataset.drawn && window.seen.at(-1) !== Math.max(...now)) window.seen.push(Math.max(...now));
  }).observe(canvas, { attributeFilter: ["data-drawn"] });
}"""


@pytest.fixture(scope="module")
def networks() -> Iterator[str]:
    """Return the address of a service with an untrained network that has a point head, and with one of label maps."""
    with running(tiny_bundle(), street()) as found:
        wait_for(lambda: succeeds(f"{found}/readyz"))
        yield found


def settled(page: Page) -> None:
    """Wait until the answer is whole."""
    expect(page.locator("#status")).to_contain_text("finished in")


def test_masks_sharpen_level_by_level(networks: str, open_page: Open) -> None:
    opened = open_page(f"{networks}/")
    page = opened.page
    expect(page.locator("#model")).to_have_value("tiny")
    page.locator("#score").fill("0.05")
    with page.expect_request_finished(lambda asked: asked.method == "POST"):
        page.locator("#score").press("Tab")  # the example is segmented with it
    move(page, "896")
    expect(page.get_by_test_id("instance").first).to_have_attribute("data-side", "896")
    settled(page)
    page.evaluate(WATCH)
    upload(page, COFFEE.read_bytes(), "coffee.png")
    expect(page.get_by_test_id("curl")).to_contain_text("coffee.png")
    settled(page)
    seen = page.evaluate("window.seen")
    if seen[0] == 896:  # the example, once more
        del seen[0]
    assert seen == sorted(seen) and seen[0] < 896 and seen[-1] == 896
    expect(page.get_by_test_id("points")).to_contain_text("points evaluated")
    expect(page.get_by_test_id("timings")).to_contain_text("first mask")
    opened.check()


def test_what_is_not_at_hand_is_asked_for(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    upload(page)
    settled(page)
    with page.expect_request(lambda asked: "resolution=448" in asked.url and asked.method == "POST"):
        move(page, "448")
    expect(page.get_by_test_id("instance")).to_have_count(2)


def test_objects_are_listed_and_a_dragged_box_is_segmented(url: str, open_page: Open) -> None:
    opened = open_page(f"{url}/")
    page = opened.page
    upload(page)
    settled(page)
    expect(page.get_by_test_id("instance")).to_have_text(["disc0.90 · 28²", "ring0.60 · 28²"])
    start, end = on_canvas(page, 30, 10, SIZE), on_canvas(page, 90, 70, SIZE)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=3)
    page.mouse.up()
    expect(page.get_by_test_id("instance")).to_have_text(["disc0.80 · 28²"])
    typed = [float(page.locator(f"#{name}").input_value()) for name in ("x0", "y0", "x1", "y1")]
    assert np.allclose(typed, (30, 10, 90, 70), atol=1)
    page.locator("#clear-box").click()
    expect(page.get_by_test_id("instance")).to_have_count(2)
    opened.check()


def test_settings_are_those_of_the_request(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    upload(page)
    settled(page)
    page.locator("#score").fill("0.7")
    page.locator("#score").press("Tab")
    expect(page.get_by_test_id("instance")).to_have_text(["disc0.90 · 28²"])
    page.locator("#classes").fill("ring")
    page.locator("#level-points").fill("900")
    page.locator("#score").fill("0.5")
    page.locator("#score").press("Enter")
    expect(page.get_by_test_id("instance")).to_have_text(["ring0.60 · 28²"])
    expect(page.get_by_test_id("curl")).to_contain_text("segment?points=900&classes=ring'")
    expect(page.get_by_test_id("python")).to_contain_text('segment("grey.png", points=900, classes=["ring"])')


def test_curl_and_python_do_the_same(url: str, open_page: Open, tmp_path: Path) -> None:
    page = open_page(f"{url}/").page
    name = "it's grey; @new.png"
    (tmp_path / name).write_bytes(encoded(picture()))
    upload(page, name=name)
    settled(page)
    page.locator("#x0").fill("10")
    page.locator("#y0").fill("10")
    page.locator("#x1").fill("60.5")
    page.locator("#y1").fill("70")
    page.get_by_role("button", name="Segment", exact=True).click()
    expect(page.get_by_test_id("instance")).to_have_text(["disc0.80 · 28²"])
    with page.expect_download() as download:
        page.get_by_test_id("json").click()
    shown = json.loads(Path(download.value.path()).read_text())
    command = page.get_by_test_id("curl").inner_text()
    said = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert json.loads(said.stdout)["instances"] == shown["instances"] and len(shown["instances"]) == 1
    program = page.get_by_test_id("python").inner_text().replace('segment("', f'segment("{tmp_path}/')
    scope: dict[str, object] = {}
    exec(program, scope)
    assert [instance.score for instance in scope["found"].instances] == [shown["instances"][0]["score"]]  # type: ignore[attr-defined]


def test_the_texts_are_copied(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/", permissions=["clipboard-read", "clipboard-write"]).page
    page.get_by_role("button", name="Copy curl").click()
    expect(page.locator("#status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.get_by_test_id("curl").inner_text()


def test_label_maps_of_a_semantic_model(networks: str, open_page: Open, tmp_path: Path) -> None:
    opened = open_page(f"{networks}/")
    page = opened.page
    expect(page.locator("#model option")).to_have_count(2)
    upload(page)
    settled(page)
    page.locator("#model").select_option("street")
    expect(page.get_by_test_id("curl")).to_contain_text("model=street")
    settled(page)
    expect(page.get_by_test_id("instance").first).to_be_visible()
    expect(page.locator("#score")).to_be_hidden()
    with page.expect_download() as download:
        page.get_by_test_id("label-map").click()
    download.value.save_as(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        assert image.mode == "P" and image.size == SIZE
    opened.check()


def test_the_service_cuts_out(url: str, open_page: Open, tmp_path: Path) -> None:
    """All objects in the picture's size, and one of them cropped."""
    opened = open_page(f"{url}/")
    page = opened.page
    upload(page)
    settled(page)
    with (
        page.expect_request(lambda asked: "format=cutout" in asked.url and "crop" not in asked.url),
        page.expect_download() as download,
    ):
        page.get_by_test_id("cutout-all").click()
    download.value.save_as(tmp_path / "all.png")
    page.get_by_test_id("instance").nth(1).click()
    with (
        page.expect_request(lambda asked: "format=cutout&instance=1&crop=true" in asked.url),
        page.expect_download() as download,
    ):
        page.get_by_test_id("cutout").click()
    assert download.value.suggested_filename == "grey-cutout.png"
    download.value.save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "all.png") as every, Image.open(tmp_path / "one.png") as one:
        assert (every.mode, every.size) == ("RGBA", SIZE)
        assert one.mode == "RGBA" and one.size < SIZE
    expect(page.locator("#status")).to_have_text("The cut-out is saved.")
    opened.check()


def test_pictures_are_dropped_and_pasted(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    for kind in ("drop", "paste"):
        page.evaluate(
            """async ([kind, name]) => {
              const canvas = document.createElement("canvas");
              const pen = canvas.getContext("2d");
              pen.fillStyle = "#777";
              pen.fillRect(0, 0, 300, 150);
              const blob = await new Promise((resolve) => canvas.toBlob(resolve));
              const data = new DataTransfer();
              data.items.add(new File([blob], name, { type: "image/png" }));
              const given = { bubbles: true, cancelable: true };
              dispatchEvent(kind === "drop" ? new DragEvent("drop", { ...given, dataTransfer: data })
                                            : new ClipboardEvent("paste", { ...given, clipboardData: data }));
            }""",
            [kind, f"{kind}ped.png"],
        )
        expect(page.get_by_test_id("curl")).to_contain_text(f"{kind}ped.png")
        expect(page.get_by_test_id("instance")).to_have_count(2)
