"""The table of formats in which answers come. A new format is a module in this folder and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from service.output import coco, polygon, rle, rle_list, window
from service.output.format import Format
from service.output.pictures import cutout, label_map
from service.output.tools import cvat, geojson, hugging_face, label_studio, label_studio_polygon, yolo

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "rle": rle.FORMAT,
        "rle_list": rle_list.FORMAT,
        "polygon": polygon.FORMAT,
        "coco": coco.FORMAT,
        "png": label_map.FORMAT,
        "cutout": cutout.FORMAT,
        "yolo": yolo.FORMAT,
        "geojson": geojson.FORMAT,
        "label_studio": label_studio.FORMAT,
        "label_studio_polygon": label_studio_polygon.FORMAT,
        "cvat": cvat.FORMAT,
        "hugging_face": hugging_face.FORMAT,
    }
)
DEFAULT = "rle"
WINDOW = "window"  # what a window of a kept picture is called where tasks are named
LABEL_WINDOW = "label_window"  # and one of a label map
WINDOW_FORMATS: Mapping[str, Format] = MappingProxyType({"png": window.PNG, "rle": window.RLE})


def names(task: str) -> tuple[str, ...]:
    """Return the names of the formats that can hold results of this task."""
    return tuple(name for name, format in FORMATS.items() if task in format.tasks)


def described() -> str:
    """Return all formats with their descriptions, in one sentence, for OpenAPI and help texts."""
    return "; ".join(
        f"`{name}`: {format.description} ({' and '.join(format.tasks)} models)"
        for name, format in FORMATS.items()
    )
