"""What an inference may ask for besides its image."""

from __future__ import annotations

from typing import Any

import pytest

from service.engine.errors import ParameterError
from service.http.inference.asked import AskedInference, parse_inference


def test_all_outputs_come_if_none_is_named() -> None:
    assert parse_inference({"id": "7", "inputs": []}, "instance") == AskedInference(
        "7", {}, dict.fromkeys(("answer", "boxes", "scores", "classes"), False)
    )
    asked = parse_inference({"outputs": [], "parameters": {"binary_data_output": True}}, "semantic")
    assert asked == AskedInference(None, {}, {"answer": True})


def test_each_output_may_come_in_binary() -> None:
    outputs = [{"name": "scores", "parameters": {"binary_data": False}}, {"name": "answer"}]
    asked = parse_inference({"outputs": outputs, "parameters": {"binary_data_output": True}}, "instance")
    assert list(asked.binary.items()) == [("scores", False), ("answer", True)]


def test_parameters_are_those_of_segment_and_of_triton() -> None:
    given = {
        "score": 0.7, "boxes": [[1, 2, 3, 4]], "classes": None, "timeout": 2_500_000, "priority": 1,
        "sequence_id": 5, "sequence_start": True, "sequence_end": False,
    }  # fmt: skip
    asked = parse_inference({"parameters": given}, "instance")
    assert asked.parameters == {"score": 0.7, "boxes": "[[1, 2, 3, 4]]", "deadline_ms": 2500}
    assert parse_inference({"parameters": {"timeout": 1}}, "instance").parameters == {"deadline_ms": 1}
    assert parse_inference({"parameters": {"timeout": 0}}, "instance").parameters == {}


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"image": "AAAA"}, "no such member; allowed: id, parameters, inputs, outputs"),
        ({"id": 5}, "id: must be a string"),
        ({"parameters": [1]}, "parameters: must be an object"),
        ({"parameters": {"binary_data_output": 1}}, "must be true or false"),
        ({"parameters": {"timeout": -1}}, "number of microseconds"),
        ({"parameters": {"timeout": True}}, "number of microseconds"),
        ({"parameters": {"timeout": 1, "deadline_ms": 1}}, "the same as deadline_ms"),
        ({"outputs": {"name": "boxes"}}, "must be a list of objects"),
        ({"outputs": ["boxes"]}, "must be a list of objects"),
        ({"outputs": [{"name": "masks"}]}, "no 'masks'; this model has answer, boxes, scores, classes"),
        ({"outputs": [{"name": ["boxes"]}]}, "there is no"),
        ({"outputs": [{"name": "boxes"}] * 2}, "boxes is asked for several times"),
        ({"outputs": [{"name": "boxes", "parameters": {"classification": 3}}]}, "may be binary_data alone"),
        ({"outputs": [{"name": "boxes", "parameters": {"binary_data": "yes"}}]}, "must be true or false"),
    ],
)
def test_what_is_wrong_is_said(members: dict[str, Any], detail: str) -> None:
    with pytest.raises(ParameterError, match=detail):
        parse_inference(members, "instance")


def test_label_maps_have_no_boxes() -> None:
    with pytest.raises(ParameterError, match="no 'boxes'; this model has answer"):
        parse_inference({"outputs": [{"name": "boxes"}]}, "semantic")
