"""What is repeated of a client's words, and of long lists."""

from __future__ import annotations

import json
import logging

import pytest
from fastapi.testclient import TestClient

from model.config.categories import Category
from service.engine.errors import ParameterError
from service.http.problems import MAX_FINDINGS, from_parameters
from service.http.query.boxes import index_of, indices
from service.http.query.echo import cut, listed
from service.observe.access_log import LOGGER


def test_texts_are_cut() -> None:
    assert cut("a" * 200) == "a" * 200
    assert cut("a" * 201) == "a" * 199 + "…"


def test_lists_name_some_and_their_number() -> None:
    assert listed(["disc", "ring"]) == "disc, ring"
    many = listed(f"class_{number}" for number in range(1000))
    assert many.startswith("class_0, class_1, ")
    assert many.endswith(", … (1000 in all)")
    assert len(many) < 250
    assert len(listed(["a" * 1000, "b"])) < 250


def test_a_model_with_a_thousand_classes_does_not_list_them() -> None:
    known = indices([Category(number, f"class_{number}") for number in range(1000)])
    with pytest.raises(ParameterError) as caught:
        index_of("cat" * 1000, known, "classes")
    assert len(str(caught.value)) < 450
    assert index_of("class_999", known, "classes") == 999


def test_of_two_categories_of_one_name_the_first_is_meant() -> None:
    assert indices([Category(1, "a"), Category(2, "b"), Category(3, "a")]) == {"a": 0, "b": 1}


def test_few_findings_are_told() -> None:
    problem = from_parameters([ParameterError("name" * 1000, "detail" * 1000)] * 1000)
    assert len(problem.members["errors"]) == MAX_FINDINGS
    assert problem.detail.endswith("; and 990 more")
    assert len(problem.detail) < 8000


@pytest.mark.parametrize("path", ["/" + "a" * 3000, "/a%0Ab%0D%1b[31m"])
def test_paths_in_the_access_log(client: TestClient, caplog: pytest.LogCaptureFixture, path: str) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    assert client.get(path).status_code == 404
    (record,) = (each for each in caplog.records if each.name == LOGGER)
    assert len(json.loads(record.message)["path"]) <= 200
    assert "\n" not in record.message and "\x1b" not in record.message
