"""Tiny COCO data sets for the tests of training data and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle_codec

from model.data.coco import CocoDataset, load_coco

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]  # not in the order of their ids


def rectangle(x: float, y: float, w: float, h: float) -> list[list[float]]:
    """Return a rectangle as a COCO polygon."""
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def bitmap(x: int, y: int, w: int, h: int, size: tuple[int, int] = (60, 80)) -> np.ndarray[Any, Any]:
    """Return a mask of a rectangle, 0 and 1, of a size (height, width)."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[y : y + h, x : x + w] = 1
    return mask


def compressed(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return a mask as a compressed COCO RLE."""
    rle = rle_codec.encode(np.asfortranarray(mask))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def uncompressed(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return a mask as an uncompressed COCO RLE."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    edges = np.flatnonzero(np.diff(flat.astype(int)))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def annotation(identity: int, image: int, box: list[float], **more: Any) -> dict[str, Any]:
    """Return an annotation of category 3, with changes."""
    plain = {"id": identity, "image_id": image, "category_id": 3, "bbox": box, "iscrowd": 0}
    return plain | {"area": box[2] * box[3]} | more


def coco(annotations: list[dict[str, Any]], images: int = 2, **more: Any) -> dict[str, Any]:
    """Return a data set of images 1 … n, 80×60 each, "1.png" and so on."""
    listed = [{"id": i, "file_name": f"{i}.png", "width": 80, "height": 60} for i in range(1, images + 1)]
    return {"images": listed, "annotations": annotations, "categories": CATEGORIES} | more


def write(folder: Path, data: Any, *, pictures: bool = True) -> Path:
    """Write the annotation file into `folder`, with a picture of noise for every image."""
    folder.mkdir(exist_ok=True)
    if pictures:
        rng = np.random.default_rng(0)
        for image in data["images"]:
            noise = rng.integers(0, 256, (image["height"], image["width"], 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / image["file_name"])
    file = folder / "annotations.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


def load(folder: Path, data: Any) -> CocoDataset:
    """Write a data set and load it."""
    return load_coco(write(folder, data), folder)
