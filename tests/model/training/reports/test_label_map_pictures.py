"""Pictures of label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.masks.palette import default_palette
from model.networks.eager import predictor_of
from model.training.reports.label_map_pictures import SIDE, compare_label_maps
from tests.model import label_files, tiny_semantic


def test_truth_and_prediction_side_by_side(tmp_path: Path) -> None:
    data = label_files.load(tmp_path)
    predictor = predictor_of(tiny_semantic.network(), data.labelling.classes, default_palette(3))
    sheet = compare_label_maps(predictor, data, most=2)
    assert sheet.width > 2 * SIDE and sheet.height > 2 * SIDE * 64 // 96
    drawn = np.asarray(sheet)[40:200, 5 : SIDE - 20]
    assert drawn.std() > 10  # not an empty sheet
