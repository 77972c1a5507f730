"""Average precision on data sets small enough to know the answer."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask as codec
from PIL import Image, ImageFilter

from model.evaluation.coco_ap import average_precision
from model.evaluation.coco_results import CocoResults, read_results
from model.evaluation.report import Report, write_report
from tests.model.coco_files import annotation, bitmap, coco, compressed, rectangle, uncompressed, write

KEYS = {f"{k}/{m}" for k in ("box", "mask", "boundary") for m in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
CAT, DOG = (5, 5, 20, 20), (30, 10, 40, 40)  # small and medium


def truth(tmp_path: Path, **dog: Any) -> Path:
    annotations = [
        annotation(1, 1, [*CAT], segmentation=compressed(bitmap(*CAT)), category_id=7),
        annotation(2, 2, [*DOG], segmentation=rectangle(*DOG)) | dog,
        annotation(3, 2, [0, 0, 9, 60], segmentation=uncompressed(bitmap(0, 0, 9, 60)), iscrowd=1),
    ]
    return write(tmp_path, coco(annotations, images=3), pictures=False)


def result(image: int, category: int, box: tuple[int, int, int, int], score: float = 0.9) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [float(v) for v in box],
        "score": score,
        "segmentation": compressed(bitmap(*box)),
    }


def test_perfect_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [result(1, 7, CAT), result(2, 3, DOG)]
    before = copy.deepcopy(results)
    metrics = average_precision(truth(tmp_path), results)
    assert set(metrics) == KEYS and results == before and capsys.readouterr().out == ""
    for key, value in metrics.items():
        assert math.isnan(value) if key.endswith("APl") else value == pytest.approx(1)


def test_no_results(tmp_path: Path) -> None:
    metrics = average_precision(truth(tmp_path), [])
    assert {v for k, v in metrics.items() if not k.endswith("APl")} == {0.0}


def test_a_crowd_excuses_what_lies_in_it(tmp_path: Path) -> None:
    metrics = average_precision(
        truth(tmp_path), [result(1, 7, CAT), result(2, 3, DOG, 0.5), result(2, 3, (0, 9, 9, 30), 0.8)]
    )
    assert metrics["box/AP"] == metrics["mask/AP"] == pytest.approx(1)


def test_a_false_positive_that_scores_higher_halves_precision(tmp_path: Path) -> None:
    metrics = average_precision(
        truth(tmp_path), [result(2, 3, DOG, 0.5), result(3, 3, DOG, 0.8)], category_ids=[3]
    )
    assert metrics["box/AP"] == metrics["mask/AP"] == metrics["boundary/AP"] == pytest.approx(0.5)


def test_categories_can_be_chosen(tmp_path: Path) -> None:
    file, results = truth(tmp_path), [result(1, 7, CAT)]
    assert average_precision(file, results)["mask/AP"] == pytest.approx(0.5)
    assert average_precision(file, results, category_ids=[7])["mask/AP"] == pytest.approx(1)
    assert all(math.isnan(v) for v in average_precision(file, results, category_ids=[99]).values())


def test_boundaries_are_stricter_than_masks(tmp_path: Path) -> None:
    shifted = (DOG[0] + 1, *DOG[1:])
    metrics = average_precision(truth(tmp_path), [result(2, 3, shifted)], category_ids=[3])
    assert metrics["mask/AP"] > metrics["boundary/AP"] > 0


def test_the_boundary_is_what_an_erosion_takes_away() -> None:
    """The library's band against its definition, for an image whose diagonal is 100: 2 pixels."""
    mask = bitmap(0, 5, 33, 40) | bitmap(30, 20, 20, 30)
    padded = Image.fromarray(np.pad(mask, 3) * 255).filter(ImageFilter.MinFilter(5))
    inside = np.asarray(padded)[3:-3, 3:-3] > 0
    assert (codec.decode(codec.rleToBoundary(compressed(mask), 0.02)) == mask - inside).all()


def test_box_only_truth_measures_boxes_and_no_masks(tmp_path: Path) -> None:
    results = [result(1, 7, CAT), result(2, 3, DOG)]
    metrics = average_precision(truth(tmp_path, segmentation=[]), results)
    assert metrics["box/AP"] == pytest.approx(1)
    assert metrics["mask/AP"] == metrics["boundary/AP"] == pytest.approx(1)  # of the cat alone
    only = coco([annotation(1, 1, [*DOG])], images=1)
    metrics = average_precision(write(tmp_path, only, pictures=False), [result(1, 3, DOG)])
    assert metrics["box/AP"] == pytest.approx(1) and math.isnan(metrics["mask/AP"])


def test_box_only_results_have_no_mask_precision(tmp_path: Path) -> None:
    """Not measured, which is not 0."""
    results = [result(1, 7, CAT), result(2, 3, DOG)]
    for r in results:
        del r["segmentation"]
    metrics = average_precision(truth(tmp_path), results)
    assert metrics["box/AP"] == pytest.approx(1)
    assert all(math.isnan(v) for k, v in metrics.items() if not k.startswith("box/"))


def test_only_the_evaluated_images_count(tmp_path: Path) -> None:
    file, results = truth(tmp_path), [result(1, 7, CAT)]
    metrics = average_precision(file, results, image_ids=[1])
    assert metrics["box/AP"] == metrics["mask/AP"] == metrics["boundary/AP"] == pytest.approx(1)
    assert average_precision(file, results, image_ids=[1, 2])["box/AP"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="result 0 is for image 1, which is not measured"):
        average_precision(file, results, image_ids=[2])
    with pytest.raises(ValueError, match=r"are for image 9, which is not in annotations\.json"):
        average_precision(file, results, image_ids=[1, 9])


def test_an_annotation_may_have_the_id_0(tmp_path: Path) -> None:
    data = coco([annotation(0, 1, [*CAT], segmentation=rectangle(*CAT))], images=1)
    assert average_precision(write(tmp_path, data, pictures=False), [result(1, 3, CAT)])[
        "mask/AP"
    ] == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 12}, "is for image 12"),
        ({"image_id": [1]}, r"is for image \[1\]"),
        ({"category_id": 1}, "is of category 1, which the data do not have"),
        ({"bbox": [1, 2, 3]}, "has a bbox that is not 4"),
        ({"score": math.nan}, "has a score that is not"),
        ({"segmentation": compressed(bitmap(*CAT, size=(80, 60)))}, r"has .* RLE is of size \[80, 60\]"),
        (
            {"segmentation": {"size": [60, 80], "counts": "10"}},
            "has a segmentation that cannot be used: RLE counts",
        ),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "has a segmentation that cannot be used: polygon must be"),
    ],
)
def test_unusable_results_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"result 1 {message}"):
        average_precision(truth(tmp_path), [result(1, 7, CAT), result(1, 7, CAT) | changes])


@pytest.mark.parametrize(
    "segmentation",
    [
        uncompressed(bitmap(*CAT)),
        compressed(bitmap(*CAT)) | {"size": [60.0, 80.0]},
        [*rectangle(*CAT), [], [1, 2, 3, 4]],
    ],
)
def test_results_may_have_every_kind_of_segmentation(segmentation: Any, tmp_path: Path) -> None:
    results = [result(1, 7, CAT) | {"segmentation": segmentation}, result(2, 3, DOG)]
    before = copy.deepcopy(results)
    assert average_precision(truth(tmp_path), results)["mask/AP"] == pytest.approx(1)
    assert results == before


def test_results_with_missing_parts_are_named(tmp_path: Path) -> None:
    file = truth(tmp_path)
    with pytest.raises(ValueError, match="result 1 has no bbox, score"):
        average_precision(file, [result(1, 7, CAT), {"image_id": 1, "category_id": 7}])
    with pytest.raises(ValueError, match="result 0 is not an object"):
        average_precision(file, [3])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no list 'images'"),
        ([], "no list 'images'"),
        (coco([annotation(1, 1, [0, 0, 5, 5])], categories={}), "no list 'categories'"),
        (coco([annotation(1, 1, [0, 0, 5, 5], bbox=None)]), "annotation 1: box must be 4"),
        (coco([{"id": 4, "image_id": 1}]), "annotation 4: no 'category_id'"),
        (coco([3]), "annotation 3: no 'image_id'"),  # type: ignore[list-item]
    ],
)
def test_unusable_data_are_named(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"annotations.json: .*{message}"):
        average_precision(write(tmp_path, data, pictures=False), [])


@pytest.mark.parametrize("ids", [None, [1, 2]])
def test_results_come_back_from_their_file(tmp_path: Path, ids: list[int] | None) -> None:
    file, results = tmp_path / "out.json", CocoResults([result(1, 7, CAT)], ids, ids)
    write_report(file, Report({"box/AP": 0.5, "mask/AP": math.nan}, "", results.details()))
    assert read_results(file) == results
    assert json.loads(file.read_text())["metrics"] == {"box/AP": 0.5, "mask/AP": None}
    file.write_text(json.dumps(results.entries))
    assert read_results(file) == CocoResults(results.entries)


@pytest.mark.parametrize("content", ["{", "3", "{}", '{"results": 1}', '{"results": [], "image_ids": "all"}'])
def test_other_files_hold_no_results(tmp_path: Path, content: str) -> None:
    file = tmp_path / "out.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"out\.json"):
        read_results(file)
