"""The example that the page opens with: everything is there without a request."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from bench.page.record import PICTURE, RECORDED
from model.masks import rle
from tests.page.conftest import Open
from tests.page.pictures import module, move, on_canvas, pixels

LINES: list[Any] = [json.loads(line) for line in RECORDED.read_text().splitlines()]
(INSTANCE,) = LINES[-1]["instances"]
SIZE = LINES[-1]["width"], LINES[-1]["height"]


def sentence(side: int) -> str:
    points = sum(level["points"] for level in INSTANCE["explain"]["levels"] if level["side"] <= side)
    percent = math.floor(1000 * points / side**2 + 0.5) / 10  # halves are rounded up
    return f"{points:,} of {side**2:,} points evaluated: {percent if percent < 100 else 100} %"


def test_it_is_segmented_without_a_request_and_sharpens_with_the_control(url: str, open_page: Open) -> None:
    opened = open_page(f"{url}/")
    page, posts = opened.page, []
    page.on("request", lambda asked: posts.append(asked.url) if asked.method == "POST" else None)
    expect(page.get_by_test_id("instance")).to_have_text("person0.93 · 896²")
    expect(page.locator("#status")).to_have_text(
        "This answer was recorded: the example is shown without a request."
    )
    page.locator("#show-points").uncheck()
    drawn = {}
    for side in (28, 56, 112, 224, 448, 896):
        move(page, str(side))
        expect(page.get_by_test_id("points")).to_have_text(sentence(side))
        expect(page.get_by_test_id("resolution")).to_have_attribute("aria-valuetext", f"{side} × {side}")
        drawn[side] = pixels(page.locator("#picture")).astype(int)
    moved = [np.abs(drawn[side] - drawn[896]).sum() for side in (28, 56, 112, 224)]
    assert moved == sorted(moved, reverse=True) and moved[-1] > 0
    expect(page.get_by_test_id("curl")).to_contain_text("segment?resolution=896")
    assert posts == []
    opened.check()


def test_the_evaluated_points_are_drawn_where_they_are(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/", reduced_motion="reduce").page
    move(page, "112")
    expect(page.get_by_test_id("points")).to_have_text(sentence(112))
    with_points = pixels(page.locator("#picture")).astype(int)
    page.locator("#show-points").uncheck()
    differs = np.abs(with_points - pixels(page.locator("#picture"))).max(2) > 0
    (level,) = [each for each in INSTANCE["explain"]["levels"] if each["side"] == 112]
    cells = np.frombuffer(base64.b64decode(level["cells"]), "<u4")
    left, top, width, height = INSTANCE["bbox"]
    box = page.locator("#picture").bounding_box()
    assert box is not None
    for cell in cells[:: len(cells) // 20].tolist():
        x = left + (cell % 112 + 0.5) / 112 * width
        y = top + (cell // 112 + 0.5) / 112 * height
        at_x, at_y = on_canvas(page, x, y, SIZE)
        column, row = round(at_x - box["x"]), round(at_y - box["y"])
        assert differs[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3].any()


def test_masks_and_points_are_decoded_as_the_service_writes_them(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    mask = INSTANCE["segmentation"]
    counts = rle.decompress(mask["counts"])
    assert module(page, "data/rle.js", "m.runLengths(a[0])", mask["counts"]) == counts.tolist()
    part = module(page, "data/rle.js", "(c => ({...c, cells: [...c.cells]}))(m.crop(a[0]))", mask)
    whole = np.zeros((SIZE[1], SIZE[0]), bool)
    shape = part["height"], part["width"]
    rows, columns = slice(part["top"], part["top"] + shape[0]), slice(part["left"], part["left"] + shape[1])
    whole[rows, columns] = np.reshape(part["cells"], shape)
    assert (whole == rle.decode(counts, *SIZE)).all()
    for level in INSTANCE["explain"]["levels"][1:]:
        expected = np.frombuffer(base64.b64decode(level["cells"]), "<u4").tolist()
        assert module(page, "data/points.js", "[...m.cells(a[0])]", level) == expected


def ring(x: float, y: float) -> list[tuple[float, float]]:
    return [(x - 0.5, y), (x, y - 0.5), (x, y + 0.5), (x + 0.5, y)]


@pytest.mark.parametrize(
    ("cells", "rings"),
    [
        ([[1]], [ring(0.5, 0.5)]),
        ([[1, 0], [0, 1]], [ring(0.5, 0.5), ring(1.5, 1.5)]),  # a corner does not connect
    ],
)
def test_outlines_of_small_masks(cells: Any, rings: Any, url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    values = [value for row in cells for value in row]
    found = module(page, "data/contour.js", "m.outlines(...a)", values, len(cells[0]), len(cells))
    assert sorted(sorted(zip(line[::2], line[1::2], strict=True)) for line in found) == rings


def test_an_object_is_named_and_isolated_and_cut_out(url: str, open_page: Open) -> None:
    opened = open_page(f"{url}/")
    page = opened.page
    expect(page.get_by_test_id("instance")).to_be_visible()
    inside = on_canvas(page, 200, 350, SIZE)
    page.mouse.move(*inside)
    expect(page.locator("#tag")).to_have_text("person · 0.93")
    expect(page.get_by_test_id("cutout")).to_be_hidden()
    page.mouse.click(*inside)
    expect(page.get_by_test_id("instance")).to_have_attribute("aria-pressed", "true")
    with page.expect_download() as download:
        page.get_by_test_id("cutout").click()
    assert download.value.suggested_filename == "astronaut-cutout.png"
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("instance")).to_have_attribute("aria-pressed", "false")
    opened.check()


def test_the_cut_out_is_the_picture_inside_the_mask(url: str, open_page: Open, tmp_path: Any) -> None:
    page = open_page(f"{url}/").page
    with page.expect_download() as download:
        page.get_by_test_id("cutout-all").click()
    download.value.save_as(tmp_path / "cutout.png")
    with Image.open(tmp_path / "cutout.png") as image, Image.open(PICTURE) as original:
        assert image.mode == "RGBA" and image.size == SIZE
        found, own = np.array(image).astype(int), np.array(original).astype(int)
    mask = rle.decode(rle.decompress(INSTANCE["segmentation"]["counts"]), *SIZE)
    assert ((found[..., 3] > 127) != mask).mean() < 0.005
    assert np.abs(found[..., :3] - own)[found[..., 3] == 255].max() <= 3


def test_the_loupe_shows_both_masks_and_moves_along_the_outline(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/").page
    expect(page.locator("#loupe-coarse")).to_contain_text("coarse, 7 × 7")
    before = pixels(page.locator("#loupe"))
    page.get_by_label("Place along the outline").press("End")
    after = pixels(page.locator("#loupe"))
    assert (before != after).any()
    move(page, "28")
    expect(page.locator("#loupe-fine")).to_contain_text("rendered, 28 × 28")
    assert (pixels(page.locator("#loupe")) != after).any()
