"""Predictions beside the truth, and a run's curves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.coco import load_coco
from model.evaluation.coco_ap import HEADLINE
from model.masks.overlay import colour
from model.training.reports.curves import draw_curves
from model.training.reports.instance_pictures import CAPTION, GAP, SIDE, compare_instances
from tests.model import tiny
from tests.model.coco_files import bitmap, compressed

SHEET = 2 * SIDE + GAP, SIDE + CAPTION + GAP


def result(image: int, score: float) -> dict[str, object]:
    """The left half of a picture."""
    mask = compressed(bitmap(0, 0, 32, 64, (64, 64)))
    return {"image_id": image, "category_id": 2, "score": score, "segmentation": mask}


def test_the_truth_on_the_left_and_what_was_found_on_the_right(tmp_path: Path) -> None:
    """Of the first picture its masks, of the second, which has boxes only, their outlines."""
    file = tiny.write_data(tmp_path / "data", 2, box_only=[2])
    data = load_coco(file, file.parent)
    sheet = np.asarray(compare_instances(data, [result(1, 0.5), result(2, 0.49)]))
    assert sheet.shape == (SHEET[1], 2 * SHEET[0] + 4 * GAP, 3)
    pair = sheet[CAPTION:-GAP, : SHEET[0]]
    truth, found = pair[:, :SIDE], pair[:, SIDE + GAP :]
    assert (found[10:-10, SIDE // 2 - 1] == colour(0)).all()  # its outline
    assert (found[:, SIDE // 2 + 2 :, 0] == found[:, SIDE // 2 + 2 :, 2]).mean() < 1  # a picture, not white
    assert (truth == colour(1)).all(axis=2).any()
    other = sheet[CAPTION:-GAP, SHEET[0] + 4 * GAP :]
    assert not (other[:, SIDE + GAP :] == colour(0)).all(axis=2).any()  # below the score
    (x0, y0, x1, y1), scale = data.records[1].annotations[0].box, SIDE / 64
    middle = other[round((y0 + y1) / 2 * scale), round((x0 + x1) / 2 * scale)]
    assert (middle < 60).all()  # a dark disc, not painted
    assert (other[:, :SIDE] == colour(0)).all(axis=2).sum() > 4 * scale * (x1 - x0)


def test_at_most_eight_pictures_that_have_instances(tmp_path: Path) -> None:
    file = tiny.write_data(tmp_path / "data", 10)
    content = json.loads(file.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 1]
    file.write_text(json.dumps(content))
    data = load_coco(file, file.parent)
    assert compare_instances(data, []).height == 4 * SHEET[1]


@pytest.mark.parametrize(
    "measured", ["", '{"step": 1, "box/AP": 0.5, "mask/AP": null, "boundary/AP": 0.1}\n']
)
def test_curves(measured: str, tmp_path: Path) -> None:
    """Also of a run that has not logged anything yet."""
    draw_curves(tmp_path, HEADLINE)
    empty = (tmp_path / "curves.png").read_bytes()
    lines = [{"step": i, "lr": 0.1 / i, "images_per_second": 3.0, "mask_point": 1 / i} for i in (1, 2)]
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (tmp_path / "validation.jsonl").write_text(measured)
    draw_curves(tmp_path, HEADLINE)
    assert (tmp_path / "curves.png").read_bytes() != empty
    with Image.open(tmp_path / "curves.png") as drawn:
        assert drawn.size == (1200, 320)
