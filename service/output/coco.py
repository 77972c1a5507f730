"""Format `coco`: a COCO results list, ready for `loadRes`."""

from __future__ import annotations

from service.output import instances, rle
from service.output.format import Format, Found
from service.output.limits import Allowance
from service.output.text import Text, array_text, object_text

_KEYS = ("category_id", "bbox", "score", "segmentation")


def encode(found: Found, left: Allowance) -> Text:
    """Return an entry of a results list for each instance."""
    listed = instances.entries(found, left, rle.mask)
    return array_text(
        object_text({"image_id": found.image_id} | {key: entry[key] for key in _KEYS}) for entry in listed
    )


FORMAT = Format(
    "a COCO results list, ready for `loadRes`, and nothing else", {"instance": encode}, enveloped=False
)
