"""What tests of the page do to its canvases and sliders."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page

from tests.service.support import encoded, picture


def upload(page: Page, content: bytes | None = None, name: str = "grey.png") -> None:
    """Pick a picture, grey unless given, as a user does."""
    body = encoded(picture()) if content is None else content
    page.get_by_test_id("file").set_input_files({"name": name, "mimeType": "image/png", "buffer": body})


def pixels(canvas: Locator) -> NDArray[np.uint8]:
    """Return the pixels of a canvas."""
    url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as image:
        return np.array(image)


def module(page: Page, name: str, call: str, *arguments: Any) -> Any:
    """Return what an expression of JavaScript says, in which `m` is a module of the page and `a` the arguments."""
    program = f"async ([address, a]) => {{ const m = await import(address); return {call}; }}"
    address = page.evaluate("name => new URL(`page/script/${name}`, document.baseURI).href", name)
    return page.evaluate(program, [address, list(arguments)])


def move(page: Page, resolution: str) -> None:
    """Move the control of the resolution with the keyboard."""
    control = page.get_by_test_id("resolution")
    control.press("Home")
    for _ in range(["28", "56", "112", "224", "448", "896", "native"].index(resolution)):
        control.press("ArrowRight")


def on_canvas(page: Page, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """Return where a pixel of a picture of this size is in the window."""
    box = page.locator("#picture").bounding_box()
    assert box is not None
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left = box["x"] + (box["width"] - scale * size[0]) / 2
    top = box["y"] + (box["height"] - scale * size[1]) / 2
    return left + x * scale, top + y * scale
