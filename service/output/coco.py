"""Format `coco`: a COCO results list, ready for `loadRes`."""

from __future__ import annotations

import threading

from service.output import instances, rle
from service.output.format import Format, Found, Json

_KEYS = ("category_id", "bbox", "score", "segmentation")


def encode(found: Found, abandoned: threading.Event) -> list[Json]:
    """Return an entry of a results list for each instance."""
    listed = instances.entries(found, abandoned, rle.mask)
    return [{"image_id": found.image_id} | {key: entry[key] for key in _KEYS} for entry in listed]


FORMAT = Format(
    "a COCO results list, ready for `loadRes`, and nothing else", {"instance": encode}, enveloped=False
)
