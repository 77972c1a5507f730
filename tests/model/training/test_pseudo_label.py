"""Masks for boxes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.categories import Category
from model.data.coco import Annotation, CocoDataset, Record, load_coco
from model.data.fields import DataError
from model.predict.instance import InstancePredictor
from model.training.pseudo_label import label_boxes, with_masks
from tests.model import tiny

CLASSES = (Category(1, "dark"), Category(2, "bright"))


@pytest.fixture
def predictor() -> InstancePredictor:
    return eager_predictor(Checkpoint(tiny.CONFIG, CLASSES, tiny.network().state_dict()))


def labelled(
    predictor: InstancePredictor, folder: Path, least_side: float = 0, certainty: float = 0.0, **change: Any
) -> tuple[dict[str, Any], dict[str, Any], int]:
    file = tiny.write_data(folder / "data", 2, box_only=(2,))
    data = json.loads(file.read_text()) | change
    file.write_text(json.dumps(data))
    found: dict[int, Any] = {}
    for masks in label_boxes(predictor, load_coco(file, file.parent), least_side, certainty):
        found |= masks
    return data, with_masks(data, found), len(found)


def test_boxes_get_masks_inside_of_them_and_the_rest_stays(
    predictor: InstancePredictor, tmp_path: Path
) -> None:
    with torch.no_grad():
        assert predictor.head is not None
        predictor.head.predictor.bias += 3  # foreground everywhere
    data, found, count = labelled(predictor, tmp_path)
    assert count == 2 and found["annotations"][:2] == data["annotations"][:2]
    (tmp_path / "found.json").write_text(json.dumps(found))
    record = load_coco(tmp_path / "found.json", tmp_path / "data").records[1]
    assert record.has_masks and all(a.shape is not None for a in record.annotations)
    for before, after in zip(data["annotations"][2:], found["annotations"][2:], strict=True):
        assert after == before | {"segmentation": after["segmentation"]}
        assert after["segmentation"]["size"] == [64, 64]


def test_small_unsure_and_unknown_ones_stay_boxes(predictor: InstancePredictor, tmp_path: Path) -> None:
    for name, options in {
        "small": {"least_side": 60},
        "unsure": {"certainty": 0.999},
        "unknown": {"categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "bowl"}]},
    }.items():
        (tmp_path / name).mkdir()
        data, found, count = labelled(predictor, tmp_path / name, **options)  # type: ignore[arg-type]
        assert (found, count) == (data, 0)


def test_a_box_and_its_mirror_image_may_round_to_different_levels(tmp_path: Path) -> None:
    """Of 112.01 pixels in 640×480 resized to 597×448: one asks for side 224, the other, 112.009995 wide, for 112."""
    config = dataclasses.replace(
        tiny.CONFIG,
        preprocessing=dataclasses.replace(tiny.CONFIG.preprocessing, short_edge=448, long_edge=640),
    )
    predictor = eager_predictor(Checkpoint(config, CLASSES, tiny.network(config).state_dict()))
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    box = Annotation(1, 0, (300.0, 0.0, 412.01, 60.0), None)
    data = CocoDataset(CLASSES, (Record(1, tmp_path / "a.png", 640, 480, (box,)),))
    (masks,) = label_boxes(predictor, data, 0, 0)
    assert set(masks) <= {1}


def test_what_was_found_before_a_damaged_picture_comes_out(
    predictor: InstancePredictor, tmp_path: Path
) -> None:
    file = tiny.write_data(tmp_path, 2, box_only=(1, 2))
    dataset = load_coco(file, file.parent)
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:500])
    found = label_boxes(predictor, dataset, 0, 0)
    assert isinstance(next(found), dict)
    with pytest.raises(DataError):
        next(found)
