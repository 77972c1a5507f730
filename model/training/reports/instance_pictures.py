"""Instance masks beside the truth, as one picture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.data.augment import CompressedRle, View
from model.data.coco import Annotation, CocoDataset, Record, read_image
from model.masks.overlay import Layer, draw
from model.masks.paste import Crop
from model.predict.resize import resized_size

MOST = 8  # images
SCORE = 0.5  # least, of what is drawn
SIDE = 400  # pixels, the longer side of each image
GAP, CAPTION = 6, 22  # pixels


def compare_instances(dataset: CocoDataset, results: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Draw the first images that have instances, two a row: the truth on the left, COCO results on the right.

    Raises DataError if an image cannot be read.
    """
    records = [record for record in dataset.records if record.annotations][:MOST]
    pairs = [_pair(dataset, record, results) for record in records]
    rows = [pairs[i : i + 2] for i in range(0, len(pairs), 2)]
    heights = [max(pair.height for pair in row) + GAP for row in rows]
    step = 2 * SIDE + 5 * GAP
    sheet = Image.new("RGB", (step * len(rows[0]) - 4 * GAP, sum(heights)), "white")
    for row, top in zip(rows, itertools.accumulate(heights, initial=0), strict=False):
        for column, pair in enumerate(row):
            sheet.paste(pair, (column * step, top))
    return sheet


def _pair(dataset: CocoDataset, record: Record, results: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Return truth and results of one image side by side, [SIDE | GAP | SIDE] wide, with captions."""
    height, width = resized_size(record.height, record.width, SIDE, SIDE)
    view = View((0, 0), (record.width, record.height), (max(1, height), max(1, width)))
    pixels = np.asarray(view.image(read_image(record)))
    truth = [Layer(_truth(a, view), dataset.categories[a.category].name) for a in record.annotations]
    names = {category.id: category.name for category in dataset.categories}
    found = [
        Layer(_crop(view.mask(_rle(r["segmentation"]))), f"{names[r['category_id']]} {r['score']:.2f}")
        for r in results
        if r["image_id"] == record.image_id and r["score"] >= SCORE
    ]
    pair = Image.new("RGB", (2 * SIDE + GAP, pixels.shape[0] + CAPTION), "white")
    pen, font = ImageDraw.Draw(pair), ImageFont.load_default(14)
    halves = {f"truth: {record.path.name}": truth, f"predicted, score {SCORE} and above": found}
    for left, (caption, layers) in zip((0, SIDE + GAP), halves.items(), strict=True):
        pen.text((left + 2, 2), caption, "black", font)
        pair.paste(draw(pixels, layers), (left, CAPTION))
    return pair


def _truth(annotation: Annotation, view: View) -> Crop:
    """Return an instance's mask, or the outline of its box where there is none."""
    if annotation.shape is not None:
        return _crop(view.mask(annotation.shape))
    x0, y0, x1, y1 = view.boxes(np.array([annotation.box]))[0].round().astype(int)
    frame = np.zeros(view.size, np.uint8)
    frame[y0:y1, x0:x1] = 1
    frame[y0 + 2 : max(y0 + 2, y1 - 2), x0 + 2 : max(x0 + 2, x1 - 2)] = 0
    return _crop(frame)


def _crop(mask: NDArray[np.uint8]) -> Crop:
    return Crop(0, 0, mask.astype(bool))


def _rle(segmentation: Mapping[str, Any]) -> CompressedRle:
    return CompressedRle(size=list(segmentation["size"]), counts=segmentation["counts"].encode("ascii"))
