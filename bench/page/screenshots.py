"""`python -m bench.page.screenshots URL`: pictures of the page of a service with the models people and street."""

from __future__ import annotations

import io
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from bench.page.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUT = Path("docs/images/page")
MOST_BYTES = 200_000
COLOURS = (256, 160, 96, 64)  # of the palette, tried in this order until the file is at most MOST_BYTES
KEPT = 24  # of them, exactly as they are in the browser
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
DARK = {"color_scheme": "dark"}
PROBLEM = '{"type": "/problems/busy", "title": "The service is busy", "status": 429, "detail": "%s"}'


def _example(page: Page) -> None:
    page.wait_for_selector("[data-testid=instance]")


def _coarse(page: Page) -> None:
    _example(page)
    page.get_by_test_id("resolution").press("Home")


def _isolated(page: Page) -> None:
    _example(page)
    page.get_by_test_id("instance").click()
    page.get_by_test_id("resolution").press("Home")
    for _ in range(3):
        page.get_by_test_id("resolution").press("ArrowRight")


def _zoom(page: Page) -> None:
    """An edge of the isolated object, which the service renders for what is seen."""
    page.wait_for_selector("#model option[value=people]", state="attached")
    _upload(page, Path("examples/astronaut.jpg"))
    page.get_by_test_id("instance").first.click()
    page.locator("#show-points").uncheck()
    box = page.locator("#picture").bounding_box()
    assert box is not None
    scale = min(box["width"], box["height"]) / 512
    left, top = box["x"] + (box["width"] - 512 * scale) / 2, box["y"] + (box["height"] - 512 * scale) / 2
    page.mouse.move(left + 272 * scale, top + 190 * scale)
    page.mouse.wheel(0, -921)  # 10 times
    page.locator("#picture[data-edge=rendered]").wait_for()
    page.mouse.move(0, 0)


def _street(page: Page) -> None:
    page.wait_for_selector("#model option[value=street]", state="attached")
    page.locator("#model").select_option("street")
    _upload(page, Path("examples/street.jpg"))


def _nothing(page: Page) -> None:
    page.wait_for_selector("#model option[value=people]", state="attached")
    page.locator("#score").fill("0.99")
    _upload(page, Path("examples/grace_hopper.jpg"))


def _error(page: Page) -> None:
    _example(page)
    page.locator("#classes").fill("unicorn")
    page.get_by_role("button", name="Segment", exact=True).click()
    page.get_by_test_id("error").wait_for()


def _busy(page: Page) -> None:
    _example(page)
    _refuse(page, 429, "the queue is full; try again in 7 s", {"retry-after": "7"})
    page.get_by_role("button", name="Segment", exact=True).click()
    page.locator("#countdown").wait_for()


def _key(page: Page) -> None:
    _example(page)
    page.locator("#key-form").evaluate("form => { form.hidden = false }")


def _upload(page: Page, path: Path) -> None:
    page.get_by_test_id("file").set_input_files(path)
    page.get_by_text(f"@{path.name}").wait_for()
    page.locator("#progress").wait_for(state="hidden")


def _refuse(page: Page, status: int, detail: str, headers: Mapping[str, str]) -> None:
    """Let requests be refused as a busy service does, without making one busy."""
    told = {"content-type": "application/problem+json", **headers}
    page.route("**/segment*", lambda route: route.fulfill(status=status, body=PROBLEM % detail, headers=told))


SHOTS: Mapping[str, tuple[Mapping[str, Any], Callable[[Page], None]]] = {
    "example": (DESKTOP, _example),
    "dark": (DESKTOP | DARK, _example),
    "coarse": (DESKTOP, _coarse),
    "isolated": (DESKTOP, _isolated),
    "zoom": (DESKTOP, _zoom),
    "street": (DESKTOP, _street),
    "nothing": (DESKTOP, _nothing),
    "error": (DESKTOP, _error),
    "busy": (DESKTOP, _busy),
    "key": (DESKTOP, _key),
    "phone": (PHONE, _example),
    "phone_dark": (PHONE | DARK, _isolated),
}


def _small(shot: Image.Image, colours: int) -> bytes:
    """Return a PNG of few colours: the most frequent ones, which are those of the page, are kept as they are."""
    counted = sorted(shot.getcolors(shot.width * shot.height) or [], reverse=True)[:KEPT]
    kept = [channel for _, colour in counted if isinstance(colour, tuple) for channel in colour]
    others = shot.quantize(colours - KEPT, Image.Quantize.MEDIANCUT, kmeans=2).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*kept, *others[: 3 * (colours - KEPT)]])
    buffer = io.BytesIO()
    shot.quantize(palette=palette, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def take(url: str, out: Path, states: Sequence[str] = tuple(SHOTS)) -> None:
    """Write a picture of each of these states into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name in states:
            options, reach = SHOTS[name]
            context = browser.new_context(**options, reduced_motion="reduce")
            page = context.new_page()
            page.goto(url)
            reach(page)
            with Image.open(io.BytesIO(page.screenshot())) as image:
                shot = image.convert("RGB")
            sizes = (_small(shot, colours) for colours in COLOURS)
            content = next(found for found in sizes if len(found) < MOST_BYTES)
            (out / f"{name}.png").write_bytes(content)
            print(f"{out / name}.png: {len(content):,} bytes")
            context.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description="Take pictures of the page's states.")
    parser.add_argument("url", help="address of a running service with the models people and street")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--state", choices=SHOTS, action="append", help="this one alone; may be repeated")
    given = parser.parse_args(arguments)
    take(given.url, given.out, given.state or tuple(SHOTS))


if __name__ == "__main__":
    main()
