"""Formats of a window: the probabilities of one mask as grey levels, or its foreground as run lengths; or labels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from model.masks.runs import runs_of
from service.output import rle, segments
from service.output.format import Format, Found
from service.output.instances import shortest
from service.output.limits import Allowance
from service.output.pictures import label_map
from service.output.text import Text

if TYPE_CHECKING:
    from model.predict.kept.instance import WindowMask

_LEVEL = 3  # takes half the time of the usual 6; probabilities are 0 or 255 nearly everywhere


def _png(found: Found, left: Allowance) -> Text:
    """Return a PNG file whose grey levels are 255 times the probability of the foreground."""
    left.check()
    buffer = io.BytesIO()
    Image.fromarray(cast("WindowMask", found.result).grey).save(buffer, "PNG", compress_level=_LEVEL)
    return Text([buffer.getvalue()])


def _rle(found: Found, left: Allowance) -> Mapping[str, Any]:
    """Return the members of the answer: which window of which instance, and the run lengths of its foreground."""
    left.check()
    mask = cast("WindowMask", found.result)
    category = found.categories[mask.instance.category]
    runs = runs_of(mask.crop)
    return {
        "instance": mask.options.instance,
        "category_id": category.id,
        "category": category.name,
        "score": shortest(mask.instance.score),
        "window": list(mask.options.window),
        "area": runs.area,
        "segmentation": rle.mask(runs, found.width, found.height, left),
        "points": "auto" if mask.options.points is None else mask.options.points,
        "truncated": mask.truncated,
    }


PNG = Format(
    "the probability of each pixel as a PNG file of grey levels, 255 times it; of a label map, a colour for each class",
    {"window": _png, "label_window": label_map.encode},
    media_type="image/png",
    suffix=".png",
    enveloped=False,
)
RLE = Format(
    "COCO run lengths of the window's foreground, compressed; of a label map, of each class",
    {"window": _rle, "label_window": segments.encoder(rle.runs)},
)
