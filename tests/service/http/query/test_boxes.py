"""The parameter `boxes`: how much of it is looked at."""

from __future__ import annotations

import json
from typing import Any, Never

import pytest

from model.config.categories import Category
from service.engine.errors import ParameterError
from service.http.query.boxes import MAX_BOXES, MAX_CHARACTERS, MAX_COMMAS, parse_boxes

KNOWN = (Category(1, "disc"), Category(2, "a, [b"))


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * 300_000 + "[]]",
        "[" + "1," * 500_000 + "1]",
        "[" + "{}," * (MAX_COMMAS + 1) + "{}]",
        json.dumps([[0, 0, 9, 9, "disc"]] * (MAX_BOXES + 1)),
        '["' + "a" * MAX_CHARACTERS + '"]',
        " " * (MAX_CHARACTERS + 1),
    ],
    ids=["lists", "numbers", "objects", "boxes", "name", "spaces"],
)
def test_what_is_too_large_never_becomes_objects(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def loads(_: str) -> Never:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(json, "loads", loads)
    with pytest.raises(ParameterError, match=f"at most {MAX_BOXES} are allowed") as caught:
        parse_boxes(text, KNOWN)
    assert len(str(caught.value)) < 200


def test_few_brackets_do_not_hide_many_boxes() -> None:
    with pytest.raises(ParameterError, match=f"at most {MAX_BOXES} are allowed"):
        parse_boxes(json.dumps([0] * (MAX_BOXES + 1)), KNOWN)


@pytest.mark.parametrize("form", [{}, {"indent": 4}, {"separators": (",", ":")}])
def test_as_many_as_are_allowed_may_have_many_digits(form: dict[str, Any]) -> None:
    box = [-1234567.8901234567, -1234567.8901234567, 1234567.8901234567, 1234567.8901234567, "disc"]
    found = parse_boxes(json.dumps([box] * MAX_BOXES, **form), KNOWN)
    assert len(found) == MAX_BOXES
    assert found[0] == found[-1]


def test_a_class_may_have_brackets_and_commas() -> None:
    (found,) = parse_boxes('[[0, 0, 9, 9, "a, [b"]]', KNOWN)
    assert found.category == 1
