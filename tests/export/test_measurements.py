"""The parity report: what is measured, what fails, and its table."""

from __future__ import annotations

import json

import pytest
import torch

from export.measurements import LEAST_SHARED, TOLERANCE, Measurements, table


def test_nothing_differs_from_itself() -> None:
    found, values = Measurements(), torch.tensor([3.0, -4.0])
    found.compare("pyramid", values, values)
    found.choices("labels", 10, 10)
    report = found.report()
    assert report["passed"] and report["failures"] == []
    assert report["stages"] == {"pyramid": {"difference": 0.0, "scale": 4.0, "tolerance": 4 * TOLERANCE}}
    assert report["selection"] == {"labels": {"chosen": 10, "shared": 1.0, "least": LEAST_SHARED}}
    assert json.loads(json.dumps(report)) == report


def test_the_worst_tensor_of_a_stage_is_told_by_its_own_scale() -> None:
    found = Measurements()
    found.compare_all(
        "pyramid",
        [torch.tensor([1.0]), torch.tensor([1000.0]), torch.tensor([2.0])],
        [torch.tensor([1.0001]), torch.tensor([1000.01]), torch.tensor([2.0])],
    )
    row = found.report()["stages"]["pyramid"]
    assert row["difference"] == pytest.approx(1e-4, rel=0.01) and row["scale"] == 1


@pytest.mark.parametrize(
    "wrong",
    [torch.tensor([1.0, 2.0 + 3 * TOLERANCE]), torch.tensor([torch.nan, 2.0]), torch.tensor([1.0])],
    ids=["value", "NaN", "shape"],
)
def test_a_difference_above_tolerance_fails_by_the_name_of_its_stage(wrong: torch.Tensor) -> None:
    found = Measurements()
    found.compare("fine map", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + TOLERANCE]))
    assert found.report()["passed"]
    found.compare("fine map", torch.tensor([1.0, 2.0]), wrong)
    report = found.report()
    assert not report["passed"]
    (failure,) = report["failures"]
    assert failure.startswith("fine map ") and " of " in failure


def test_a_stage_of_nothing_is_equal() -> None:
    found = Measurements()
    found.compare("detected boxes", torch.zeros(0, 4), torch.zeros(0, 4))
    found.boxes("detections", (torch.zeros(0, 4), torch.zeros(0)), (torch.zeros(0, 4), torch.zeros(0)))
    assert found.report()["passed"]
    assert found.report()["selection"]["detections"]["shared"] == 1


def test_boxes_are_shared_within_their_group() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [50, 0, 60, 10]])
    near = boxes + torch.tensor([1.0, 0, 1, 0])  # a near-tie that the other side decided otherwise
    found = Measurements()
    found.boxes("detections", (boxes, torch.tensor([0, 0, 1])), (near, torch.tensor([0, 0, 1])))
    assert found.report()["selection"]["detections"] == {"chosen": 6, "shared": 1.0, "least": LEAST_SHARED}
    found.boxes("detections", (boxes, torch.tensor([0, 0, 1])), (near[:2], torch.tensor([0, 1])))
    assert found.report()["selection"]["detections"]["chosen"] == 11
    assert found.report()["selection"]["detections"]["shared"] == pytest.approx(8 / 11)


def test_one_box_is_not_shared_with_two() -> None:
    box = torch.tensor([[0.0, 0, 10, 10]])
    found = Measurements()
    found.boxes("detections", (box, torch.zeros(1)), (box.repeat(3, 1), torch.zeros(3)))
    assert found.report()["selection"]["detections"]["shared"] == 0.5


def test_few_flipped_choices_pass_and_many_fail() -> None:
    found = Measurements()
    found.choices("proposals", 1000, 970)
    assert found.report()["passed"]
    found.choices("proposals", 1000, 960)
    assert found.report()["failures"] == ["proposals: only 96.5% of 2000 choices are shared"]


def test_one_near_tie_among_few_choices_passes() -> None:
    found = Measurements()
    found.choices("detections", 3, 0)
    found.choices("labels", 4, 0)
    assert found.report()["passed"]
    found.choices("labels", 1, 0)
    assert found.report()["failures"] == ["labels: only 0.0% of 5 choices are shared"]


def test_other_problems_fail_too() -> None:
    report = Measurements().report(["the point head's file is not the network's point head"])
    assert not report["passed"] and len(report["failures"]) == 1


def test_the_table_has_a_row_for_each_stage_and_selection() -> None:
    found = Measurements()
    found.compare("coarse logits", torch.tensor([8.0]), torch.tensor([8.0001]))
    found.choices("labels", 2000, 1999)
    lines = table(found.report()).splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "coarse", "selection", "labels"]
    assert "1.0e-04" in lines[1] and "99.95%" in lines[3]


def test_a_stage_without_difference_shows_the_scale_of_what_was_compared() -> None:
    found = Measurements()
    found.compare("scores", torch.zeros(0), torch.zeros(0))
    found.compare("scores", torch.tensor([0.5]), torch.tensor([0.5]))
    assert found.report()["stages"]["scores"]["scale"] == 0.5
