"""Label maps beside their image, as one picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.data.label_maps import LabelMaps
from model.masks.overlay import painted
from model.predict.label_map import LabelMapOptions, LabelMapPredictor

MOST = 6  # images
SIDE = 400  # pixels, the width of each part
GAP, CAPTION, KEY = 6, 22, 26  # pixels


def compare_label_maps(predictor: LabelMapPredictor, data: LabelMaps, most: int = MOST) -> Image.Image:
    """Draw images spread over the data, a row each: truth on the left, prediction on the right; a key below."""
    indices = np.linspace(0, len(data.pairs) - 1, min(most, len(data.pairs))).astype(int)
    rows = [_row(predictor, data, int(index)) for index in indices]
    width, height = 2 * SIDE + GAP, sum(row.height + GAP for row in rows)
    key = _key(predictor, width)
    sheet = Image.new("RGB", (width, height + key.height), "white")
    top = 0
    for part in (*rows, key):
        sheet.paste(part, (0, top))
        top += part.height + GAP
    return sheet


def _row(predictor: LabelMapPredictor, data: LabelMaps, index: int) -> Image.Image:
    """Return truth and prediction of one image side by side, [SIDE | GAP | SIDE] wide, with captions."""
    image, truth = data.read(index)
    predicted = predictor(image, LabelMapOptions()).finish().labels(*truth.shape)
    height = max(1, round(SIDE * truth.shape[0] / truth.shape[1]))
    row = Image.new("RGB", (2 * SIDE + GAP, height + CAPTION), "white")
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(14)
    halves = {f"truth: {data.pairs[index].image.name}": truth, "predicted": predicted}
    for left, (caption, labels) in zip((0, SIDE + GAP), halves.items(), strict=True):
        blend = painted(image, labels, predictor.palette).resize((SIDE, height))
        pen.text((left + 2, 2), caption, "black", font)
        row.paste(blend, (left, CAPTION))
    return row


def _key(predictor: LabelMapPredictor, width: int) -> Image.Image:
    """Draw each class's colour and name."""
    font = ImageFont.load_default(14)
    places: list[tuple[int, int]] = []
    left, top = 0, 0
    for category in predictor.categories:
        extent = KEY + round(font.getlength(category.name)) + GAP
        if left and left + extent > width:
            left, top = 0, top + KEY
        places.append((left, top))
        left += extent
    key = Image.new("RGB", (width, top + KEY), "white")
    pen = ImageDraw.Draw(key)
    for (x, y), category, colour in zip(places, predictor.categories, predictor.palette, strict=True):
        pen.rectangle((x + 2, y + 3, x + KEY - 6, y + KEY - 6), fill=colour)
        pen.text((x + KEY, y + 3), category.name, "black", font)
    return key
