"""Running a detector: its boxes come back in pixels of the image, whatever the graph takes and gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from export.detector.outputs import raw_detections
from export.detector.pixels import place
from export.detector.run import OnnxDetector
from model.errors import UserError
from model.predict.detection import DetectedBoxes, Wanted
from model.predict.predictor import by_channel
from tests.export.detector.bright import SCORES, detector, settings, spot

BOX = (30, 20, 90, 60)
CAT, DOG = 0, 1
LETTERBOX = {"resize": "letterbox", "fill": 0}


def found_in(detector: OnnxDetector, height: int = 96, width: int = 128, value: int = 255) -> DetectedBoxes:
    (found,) = detector([by_channel(spot(height, width, BOX, value))])
    return found


def check(found: DetectedBoxes, slack: float = 1.0) -> None:
    """The box and its left half; resizing moves edges by at most a pixel of the input."""
    assert found.classes.tolist() == [DOG, CAT]
    assert found.scores.tolist() == pytest.approx(SCORES, abs=0.01)
    half = (BOX[0], BOX[1], (BOX[0] + BOX[2]) / 2, BOX[3])
    expected = torch.tensor([BOX, half], dtype=torch.float32)
    assert (found.boxes - expected).abs().max() <= slack * 128 / 64


@pytest.mark.parametrize(
    ("form", "changes"),
    [
        ({}, {}),
        ({"batch": 1}, {}),
        ({"cxcywh": True}, {"output": {"box_format": "cxcywh"}}),
        ({"cxcywh": True, "unit": True}, {"output": {"box_format": "cxcywh", "box_unit": "unit"}}),
        ({"unit": True}, {"output": {"box_unit": "unit"}}),
        ({"size": True}, {"input": {"size": "target"}}),
        ({"batch": 1, "size": True}, {"input": {"size": "target", "size_order": "height, width"}}),
        ({"form": "rows"}, {"output": {"boxes": ..., "scores": ..., "labels": ..., "rows": "rows"}}),
        (
            {"form": "logits"},
            {"output": {"scores": ..., "labels": ..., "logits": "logits", "activation": "none"}},
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("given", [{}, LETTERBOX, {**LETTERBOX, "align": "top-left"}], ids=str)
def test_boxes_are_in_pixels_of_the_image(
    form: dict[str, Any], changes: dict[str, Any], given: dict[str, Any], tmp_path: Path
) -> None:
    changed = {**changes, "input": {**given, **changes.get("input", {})}}
    check(found_in(detector(tmp_path, form, **changed)))


@pytest.mark.parametrize(("height", "width"), [(96, 128), (200, 96), (64, 64), (61, 333)])
def test_images_of_any_shape_are_letterboxed(height: int, width: int, tmp_path: Path) -> None:
    found = found_in(detector(tmp_path, input=LETTERBOX), height, width)
    expected = torch.tensor(BOX).minimum(torch.tensor([width, height] * 2)).float()
    assert (found.boxes[0] - expected).abs().max() <= max(height, width) / 64


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("given", [{}, LETTERBOX], ids=["stretch", "letterbox"])
def test_a_batch_gives_what_single_images_give(
    batch: int | str, given: dict[str, Any], tmp_path: Path
) -> None:
    run = detector(tmp_path, {"batch": batch}, input=given)
    assert run.batched == (batch == "N")
    shapes = [(96, 128, 255), (128, 96, 200), (96, 128, 0)]
    images = [by_channel(spot(height, width, BOX, value)) for height, width, value in shapes]
    together = run(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = run([image])
        assert torch.equal(alone.boxes, found.boxes)
        assert torch.equal(alone.scores, found.scores) and torch.equal(alone.classes, found.classes)
    assert [len(found) for found in together] == [2, 2, 0]
    assert run([]) == []


def test_nothing_is_found_in_the_dark(tmp_path: Path) -> None:
    found = found_in(detector(tmp_path), value=0)
    assert len(found) == 0 and found.boxes.shape == (0, 4)


def test_the_settings_limit_what_is_found(tmp_path: Path) -> None:
    assert found_in(detector(tmp_path, score_threshold=0.5)).classes.tolist() == [DOG]
    assert found_in(detector(tmp_path, max_detections=1)).classes.tolist() == [DOG]
    assert found_in(detector(tmp_path, classes=["cat", None, None])).classes.tolist() == [CAT]
    assert found_in(detector(tmp_path, classes=["cat"])).classes.tolist() == [CAT]


def test_requests_choose_among_what_is_found(tmp_path: Path) -> None:
    found = found_in(detector(tmp_path))
    assert found.chosen(Wanted()).classes.tolist() == [DOG]
    assert found.chosen(Wanted(score=0.1)).classes.tolist() == [DOG, CAT]
    assert found.chosen(Wanted(score=0.1, classes=frozenset([CAT]))).classes.tolist() == [CAT]
    assert found.chosen(Wanted(score=0.1, most=1)).classes.tolist() == [DOG]
    assert found.chosen(Wanted(score=0.1, classes=frozenset())).boxes.shape == (0, 4)


def test_pixels_are_normalised_as_the_settings_say(tmp_path: Path) -> None:
    given = {"mean": [0.25, 0.5, 0.75], "std": [0.5, 1, 2], "divide_by": 51}
    image = torch.tensor([51, 102, 204], dtype=torch.uint8)[:, None, None].expand(3, 64, 64)
    for channels, expected in (("RGB", [1.5, 1.5, 1.625]), ("BGR", [7.5, 1.5, 0.125])):
        run = detector(tmp_path, input={**given, "channels": channels})
        inputs = run.inputs([image], [place(64, 64, run.settings.input)])
        assert inputs["picture"][0, :, 5, 5].tolist() == pytest.approx(expected)


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    run = detector(tmp_path)
    nan = float("nan")
    boxes = torch.tensor(
        [[1.0, 1, nan, 9], [1, 1, 9, 9], [5, 5, 5, 9], [9, 9, 1, 1], [-9, -9, 80, 70], [1, 1, 2, 2]]
    )
    scores = torch.tensor([0.9, nan, 0.9, 0.9, 0.8, 7.0])
    labels = torch.tensor([2, 2, 2, 2, 0, 0])
    found = run._chosen(boxes, scores, labels, torch.zeros(3, 64, 64), place(64, 64, run.settings.input))
    assert found.boxes.tolist() == [[0, 0, 64, 64]] and found.classes.tolist() == [CAT]


def test_boxes_may_have_several_classes(tmp_path: Path) -> None:
    """With logits, each pair of a box and a class is a detection."""
    output = {"boxes": "b", "scores": ..., "labels": ..., "logits": "l", "activation": "softmax"}
    chosen = settings(tmp_path, output=output)
    found = raw_detections(
        {
            "b": torch.arange(8.0).view(1, 2, 4),
            "l": torch.log(torch.tensor([[[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]])),
        },
        1,
        chosen.input,
        chosen.output,
    )
    assert found.labels[0, :4].tolist() == [2, 0, 1, 1]
    assert found.scores[0, :4].tolist() == pytest.approx([0.7, 0.6, 0.3, 0.2])
    assert found.boxes[0, :4, 0].tolist() == [0, 4, 4, 0]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            {"places": (1, 2, 5)},
            "'places' cannot be boxes: it has the shape [1, 2, 5], where [1, K, 4] was expected",
        ),
        ({"places": (3, 2, 4)}, "'places' cannot be boxes"),
        ({"chances": (1, 2, 3)}, "'chances' cannot be scores: .*, where [1, K] was expected"),
        ({"kinds": (1, 3)}, "boxes are of [1, 2] detections, labels of [1, 3]"),
    ],
    ids=str,
)
def test_outputs_of_other_shapes_are_refused(
    shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    chosen = settings(tmp_path)
    usual = {"places": (1, 2, 4), "chances": (1, 2), "kinds": (1, 2)}
    outputs = {name: torch.zeros(shape) for name, shape in {**usual, **shapes}.items()}
    with pytest.raises(UserError) as refusal:
        raw_detections(outputs, 1, chosen.input, chosen.output)
    assert all(part in str(refusal.value) for part in message.split(".*"))


def test_one_image_needs_no_dimension_of_its_own(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    outputs = {"places": torch.zeros(2, 4), "chances": torch.zeros(2), "kinds": torch.zeros(2)}
    assert raw_detections(outputs, 1, chosen.input, chosen.output).boxes.shape == (1, 2, 4)


def test_memory_is_given_back_and_taken_again(tmp_path: Path) -> None:
    run = detector(tmp_path)
    before = found_in(run)
    run.release()
    assert torch.equal(found_in(run).boxes, before.boxes)
