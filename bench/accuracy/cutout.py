"""`python -m bench.accuracy.cutout`: the edge of a cut-out on three backgrounds, beside the mask with a hard edge.

Above, from the left: the photo, and its cut-out on white, black and magenta. Below: the photo's own pixels where alpha
is at least a half, on the same backgrounds.
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from service.cli.files import ImageFile
from service.cli.offline import offline
from service.execution import open_bundles
from service.http.query.parameters import SegmentQuery
from service.settings import read_settings

ROOT = Path(__file__).parents[2]
BACKGROUNDS = ((255, 255, 255), (0, 0, 0), (255, 0, 255))
EDGE = (145, 55, 225, 145)  # hair and neck, of the astronaut
ZOOM = 3


def cut_out(bundle: Path, image: Path) -> NDArray[np.uint8]:
    """Return the cut-out of an image: RGBA [height, width, 4]."""

    async def answer() -> bytes:
        settings, query = read_settings(), SegmentQuery.model_validate({"format": "cutout"})
        (opened,) = open_bundles(settings, [bundle])
        async with offline(opened, settings, query) as engine:
            return await engine.answer(ImageFile(image, 0))

    with Image.open(io.BytesIO(asyncio.run(answer()))) as picture:
        return np.array(picture)


def composed(colours: NDArray[np.uint8], alpha: NDArray[np.float64]) -> list[NDArray[np.uint8]]:
    """Return colours [h, w, 3] on each of the backgrounds."""
    share = alpha[..., None]
    return [(share * colours + (1 - share) * np.array(back)).round().astype(np.uint8) for back in BACKGROUNDS]


def main(
    out: Annotated[Path, typer.Option(help="File to write.")] = ROOT / "docs/images/cutout.png",
    bundle: Annotated[Path, typer.Option(help="Folder of an exported model.")] = ROOT / "bundles/people",
    image: Annotated[Path, typer.Option(help="A photo.")] = ROOT / "examples/astronaut.jpg",
    edge: Annotated[tuple[int, int, int, int], typer.Option(help="The part to show: x0 y0 x1 y1.")] = EDGE,
) -> None:
    """Make the picture."""
    cut = cut_out(bundle, image)
    with Image.open(image) as opened:
        photo = np.array(opened.convert("RGB"))
    x0, y0, x1, y1 = edge
    part = np.s_[y0:y1, x0:x1]
    photo, cut = photo[part], cut[part]
    soft = composed(cut[..., :3], cut[..., 3] / 255)
    hard = composed(photo, (cut[..., 3] >= 128).astype(float))
    rows = [np.hstack([photo, *soft]), np.hstack([photo, *hard])]
    picture = Image.fromarray(np.vstack(rows))
    size = picture.width * ZOOM, picture.height * ZOOM
    picture.resize(size, Image.Resampling.NEAREST).save(out, optimize=True)


if __name__ == "__main__":
    typer.run(main)
