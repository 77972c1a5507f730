"""Format `png`: a label map as a picture with a palette."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, cast

from model.masks.overlay import palette_image
from service.output.format import Format, Found

if TYPE_CHECKING:
    from model.predict.label_map import LabelMap


def encode(found: Found, abandoned: threading.Event) -> bytes:
    """Return a PNG file of the label map, in the size that was asked for."""
    label_map = cast("LabelMap", found.result)
    file = io.BytesIO()
    picture = palette_image(label_map.labels(*label_map.asked), found.palette)
    # Level 3 takes half the time of the usual 6; label maps are small either way.
    picture.save(file, "PNG", compress_level=3)
    return file.getvalue()


FORMAT = Format(
    "the label map as a PNG file with a colour for each class, and nothing else",
    {"semantic": encode},
    media_type="image/png",
    suffix=".png",
    enveloped=False,
)
