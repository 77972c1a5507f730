"""Masks for boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model.categories import Category
from model.checkpoint import Checkpoint
from model.coco import load_coco
from model.eager import eager_predictor
from model.label import label
from model.predict import Predictor
from tests.model import tiny

CLASSES = (Category(1, "dark"), Category(2, "bright"))


@pytest.fixture
def predictor() -> Predictor:
    return eager_predictor(Checkpoint(tiny.CONFIG, CLASSES, tiny.network().state_dict()))


def labelled(
    predictor: Predictor, folder: Path, least_side: float = 0, certainty: float = 0.0, **change: Any
) -> tuple[dict[str, Any], dict[str, Any], int]:
    file = tiny.write_data(folder / "data", 2, box_only=(2,))
    data = json.loads(file.read_text()) | change
    file.write_text(json.dumps(data))
    found, count = label(predictor, data, load_coco(file, file.parent), least_side, certainty)
    return data, found, count


def test_boxes_get_masks_inside_of_them_and_the_rest_stays(predictor: Predictor, tmp_path: Path) -> None:
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


def test_small_unsure_and_unknown_ones_stay_boxes(predictor: Predictor, tmp_path: Path) -> None:
    for name, options in {
        "small": {"least_side": 60},
        "unsure": {"certainty": 0.999},
        "unknown": {"categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "bowl"}]},
    }.items():
        (tmp_path / name).mkdir()
        data, found, count = labelled(predictor, tmp_path / name, **options)  # type: ignore[arg-type]
        assert (found, count) == (data, 0)
