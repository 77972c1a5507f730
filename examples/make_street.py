"""A made-up street for trying the model `street` out: no photograph, so nobody is in it.

python examples/make_street.py --out examples/street.jpg

The scene is drawn at three times the size and averaged down. The same options give the same picture.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 960, 720  # the shape of CamVid's pictures, which the model was trained on
SCALE = 3  # how much larger it is drawn
HORIZON, VANISHING = 0.46, (0.5, 0.46)  # shares of the height and of both sides

Colour = tuple[int, int, int]
Point = tuple[float, float]  # shares of width and height


class Canvas:
    """A picture that is drawn in shares of its width and height."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE))
        self._pen = ImageDraw.Draw(self.image)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self._pen.polygon([self._pixel(point) for point in points], fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour) -> None:
        """Fill an ellipse around a point."""
        corners = [self._pixel((x - radius_x, y - radius_y)), self._pixel((x + radius_x, y + radius_y))]
        self._pen.ellipse(corners, fill=colour)

    def _pixel(self, point: Point) -> tuple[float, float]:
        return point[0] * WIDTH * SCALE, point[1] * HEIGHT * SCALE


def towards(point: Point, share: float) -> Point:
    """Return a point moved towards the vanishing point by a share of the way."""
    x, y = VANISHING
    return point[0] + (x - point[0]) * share, point[1] + (y - point[1]) * share


def ground(canvas: Canvas) -> None:
    """Draw sky, road with its markings, and pavements."""
    for row in range(60):
        y = HORIZON * row / 60
        shade = row / 60
        colour = (round(150 + 60 * shade), round(180 + 40 * shade), round(215 + 20 * shade))
        canvas.box(0, y, 1, y + 0.02, colour)
    canvas.box(0, HORIZON, 1, 1, (112, 110, 112))
    for side in (0.0, 1.0):
        outer, inner = (side - 1.5 * (0.5 - side) * 2, 1.0), (side + 0.06 * (0.5 - side) * 2, 1.0)
        canvas.polygon([outer, inner, towards(inner, 0.97), towards(outer, 0.97)], (163, 156, 150))
        kerb = (inner[0] + 0.012 * (0.5 - side) * 2, 1.0)
        canvas.polygon([inner, kerb, towards(kerb, 0.97), towards(inner, 0.97)], (190, 188, 184))
    for n in range(9):
        near, far = 1 - 0.8**n, 1 - 0.8 ** (n + 0.45)
        left, right = (0.49, 1.0), (0.51, 1.0)
        canvas.polygon(
            [towards(left, near), towards(right, near), towards(right, far), towards(left, far)],
            (225, 225, 220),
        )


def houses(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a row of houses with windows on both sides, the far ones first."""
    for side in (0, 1):
        edges = [0.0, 0.22, 0.42, 0.58, 0.7, 0.8]
        for near, far in reversed(list(itertools.pairwise(edges))):
            foot = (-0.12 if side == 0 else 1.12, 0.9)
            roof = (foot[0], rng.uniform(-0.5, -0.15))
            red, green, blue = (int(each) for each in rng.integers((120, 95, 80), (185, 150, 130)))
            corners = [towards(roof, near), towards(roof, far), towards(foot, far), towards(foot, near)]
            canvas.polygon(corners, (red, green, blue))
            for storey in range(4):
                for column in range(3):
                    a = near + (far - near) * (column + 0.25) / 3
                    b = near + (far - near) * (column + 0.75) / 3
                    top = roof[1] + (foot[1] - roof[1]) * (0.1 + 0.22 * storey)
                    low = top + (foot[1] - roof[1]) * 0.13
                    pane = [towards((foot[0], y), x) for x, y in ((a, top), (b, top), (b, low), (a, low))]
                    canvas.polygon(pane, (58, 66, 78))


def tree(canvas: Canvas, x: float, foot: float, height: float, rng: np.random.Generator) -> None:
    """Draw a trunk and many leaves."""
    canvas.box(x - 0.02 * height, foot - height, x + 0.02 * height, foot, (74, 60, 48))
    for _ in range(160):
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.3 * height
        shade = rng.uniform(0.6, 1.1)
        canvas.ellipse(
            x + radius * np.cos(angle),
            foot - 0.95 * height + 1.2 * radius * np.sin(angle),
            0.035 * height,
            0.035 * height,
            (int(62 * shade), int(92 * shade), int(46 * shade)),
        )


def car(canvas: Canvas, x: float, foot: float, width: float, colour: Colour) -> None:
    """Draw a car from behind: shadow, wheels, body, window, lights."""
    height = 0.62 * width * WIDTH / HEIGHT
    canvas.ellipse(x, foot, 0.55 * width, 0.09 * height, (58, 56, 58))
    for side in (-1, 1):
        left = x + side * 0.36 * width - 0.09 * width
        canvas.box(left, foot - 0.3 * height, left + 0.18 * width, foot, (24, 24, 26))
    canvas.polygon(
        [
            (x - 0.5 * width, foot - 0.12 * height),
            (x - 0.5 * width, foot - 0.6 * height),
            (x - 0.36 * width, foot - 1.0 * height),
            (x + 0.36 * width, foot - 1.0 * height),
            (x + 0.5 * width, foot - 0.6 * height),
            (x + 0.5 * width, foot - 0.12 * height),
        ],
        colour,
    )
    canvas.polygon(
        [
            (x - 0.38 * width, foot - 0.62 * height),
            (x - 0.31 * width, foot - 0.93 * height),
            (x + 0.31 * width, foot - 0.93 * height),
            (x + 0.38 * width, foot - 0.62 * height),
        ],
        (46, 54, 64),
    )
    for side in (-1, 1):
        middle = x + side * 0.43 * width
        canvas.box(
            middle - 0.05 * width,
            foot - 0.56 * height,
            middle + 0.05 * width,
            foot - 0.42 * height,
            (190, 40, 36),
        )
    canvas.box(
        x - 0.13 * width, foot - 0.34 * height, x + 0.13 * width, foot - 0.24 * height, (225, 222, 200)
    )


def lamp(canvas: Canvas, x: float, foot: float, height: float) -> None:
    """Draw a street lamp."""
    canvas.box(x - 0.004, foot - height, x + 0.004, foot, (70, 74, 76))
    arm = 0.07 if x < 0.5 else -0.07
    canvas.polygon(
        [
            (x, foot - height),
            (x + arm, foot - height - 0.01),
            (x + arm, foot - height + 0.005),
            (x, foot - height + 0.012),
        ],
        (70, 74, 76),
    )


def with_grain(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture in its final size with noise of several sizes, as a camera's has."""
    small = image.resize((WIDTH, HEIGHT), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.6))
    pixels: NDArray[np.float32] = np.asarray(small).astype(np.float32)
    for cells, strength in ((40, 10.0), (160, 7.0), (WIDTH, 4.0)):
        noise = rng.normal(0, strength, (cells * HEIGHT // WIDTH, cells)).astype(np.float32)
        grown = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        pixels += np.asarray(grown)[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def street(seed: int = 0) -> Image.Image:
    """Return the picture."""
    rng, canvas = np.random.default_rng(seed), Canvas()
    ground(canvas)
    houses(canvas, rng)
    for x, foot, height in ((0.36, 0.56, 0.28), (0.68, 0.6, 0.36), (0.14, 0.74, 0.62)):
        tree(canvas, x, foot, height, rng)
    lamp(canvas, 0.27, 0.68, 0.5)
    lamp(canvas, 0.83, 0.78, 0.66)
    car(canvas, 0.44, 0.55, 0.07, (150, 150, 155))
    car(canvas, 0.6, 0.62, 0.13, (52, 74, 118))
    car(canvas, 0.3, 0.78, 0.2, (128, 42, 40))
    return with_grain(canvas.image, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    street(given.seed).save(given.out, quality=90)
    print(given.out)


if __name__ == "__main__":
    main()
