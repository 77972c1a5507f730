"""Labelling configurations, and rectangles that were drawn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request

from model.config.categories import Category
from service.engine.errors import ParameterError
from service.http.label_studio.config import read_config
from service.http.label_studio.tasks import DrawnRegion, boxes, read_document
from service.http.problems import Problem
from tests.service.http.label_studio.studio import CONFIG, rectangle

CATEGORIES = (Category(1, "disc"), Category(2, "ring"), Category(3, "bar"))
IMAGE = '<Image name="i" value="$u"/>'
LABELS = '<Label value="a"/>'


def test_a_configuration_with_brushes_and_rectangles() -> None:
    found = read_config(CONFIG)
    assert (found.format, found.control, found.image, found.key) == (
        "label_studio",
        "mask",
        "photo",
        "picture",
    )
    assert found.known(CATEGORIES) == {"disc": "Disc", "ring": " RING "}
    assert found.labels == {"disc": "Disc", "ring": " RING "}
    assert found.rectangles and found.parameters == {}


def test_polygons_with_parameters_and_other_names_of_categories() -> None:
    found = read_config(
        f'<View><Choices name="c" toName="i"><Choice value="x"/></Choices>{IMAGE}'
        '<PolygonLabels name="p" toName="i" model="m" model_score_threshold="0.3" model_resolution="56">'
        '<Label value="Round" predicted_values="Disc, ring"/></PolygonLabels>'
        '<BrushLabels name="b" toName="i"><Label value="bar"/></BrushLabels></View>'
    )
    assert (found.format, found.control) == ("label_studio_polygon", "p")
    assert found.known(CATEGORIES) == {"disc": "Round", "ring": "Round"}
    assert found.parameters == {"model": "m", "score": "0.3", "resolution": "56"}
    assert not found.rectangles


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("<View", "is not XML"),
        ("", "is not XML"),
        ("<View></View>", "no BrushLabels and no PolygonLabels"),
        (f'<View>{IMAGE}<RectangleLabels name="r" toName="i">{LABELS}</RectangleLabels></View>', "no BrushLabels"),
        (f'<View>{IMAGE}<BrushLabels name="b" toName="other">{LABELS}</BrushLabels></View>', "no BrushLabels"),
        (f'<View>{IMAGE}<BrushLabels name="b" toName="i"/></View>', "no Label in its BrushLabels"),
        (
            f'<View><Image name="i" valueList="$u"/><BrushLabels name="b" toName="i">{LABELS}</BrushLabels></View>',
            "names no data of a task",
        ),
        ('<!DOCTYPE x [<!ENTITY a "a">]><View>&a;</View>', "no document type"),
        ("<View>" + " " * (1 << 20) + "</View>", "characters at most"),
        (f'<View>{IMAGE}<BrushLabels name="b" toName="i">{LABELS * 10_001}</BrushLabels></View>', "10000 labels"),
        (
            f'<View>{IMAGE}<BrushLabels name="b" toName="i"><Label value="a" predicted_values="{"b," * 10_000}"/>'
            "</BrushLabels></View>",
            "10000 labels and names",
        ),
    ],
)  # fmt: skip
def test_what_has_no_place_for_masks(text: str, detail: str) -> None:
    with pytest.raises(ParameterError, match=f"label_config: .*{detail}"):
        read_config(text)


def test_labels_that_no_category_has_are_for_rectangles_alone() -> None:
    unknown = f'<View>{IMAGE}<BrushLabels name="b" toName="i">{LABELS}</BrushLabels>%s</View>'
    with pytest.raises(
        ParameterError, match=r"none of its labels \(a\) is a category of the model: disc, ring"
    ):
        read_config(unknown % "").check(CATEGORIES)
    read_config(unknown % f'<RectangleLabels name="r" toName="i">{LABELS}</RectangleLabels>').check(
        CATEGORIES
    )


def drawn(*regions: object) -> tuple[DrawnRegion, ...]:
    return tuple(DrawnRegion.model_validate(each) for each in regions)


def test_rectangles_become_boxes_with_the_class_of_their_label() -> None:
    regions = drawn(
        rectangle(25, 50, 50, 25, "DISC"), rectangle(0, 0, 10, 10, "Other"), rectangle(0, 0, 5, 5)
    )
    text, labels = boxes(regions, read_config(CONFIG), CATEGORIES)
    assert json.loads(text) == [[30, 40, 90, 60, "disc"], [0, 0, 12, 8], [0, 0, 6, 4]]
    assert labels == ("Disc", None, None)


def test_a_turned_rectangle_becomes_the_box_around_it() -> None:
    """It is turned about its upper left corner, clockwise, in pixels."""
    text, _ = boxes(drawn(rectangle(50, 25, 25, 25, rotation=90)), read_config(CONFIG), CATEGORIES)
    assert json.loads(text)[0] == pytest.approx([60 - 20, 20, 60, 20 + 30])


@pytest.mark.parametrize(
    "sent", [b"[" * 60_000 + b"{" * 60_000, b":" * 100_001, b"," * 1_000_001, b" " * 16_000_001]
)
def test_what_would_take_long_to_parse(sent: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield sent

    with pytest.raises(Problem, match="the tasks may have") as caught:
        asyncio.run(read_document(Request({"type": "http"}), chunks()))
    assert caught.value.kind == "too-many-bytes"


@pytest.mark.parametrize("name", ["x", "y", "width", "height", "rotation"])
@pytest.mark.parametrize("value", ["inf", "-Infinity", float("nan"), 10**400])
def test_where_no_rectangle_can_be(name: str, value: object) -> None:
    region = rectangle(0, 0, 1, 1)
    region["value"][name] = value
    with pytest.raises(Problem, match=name):
        boxes(drawn(region), read_config(CONFIG), CATEGORIES)


def test_what_is_no_rectangle() -> None:
    config = read_config(CONFIG)
    with pytest.raises(ParameterError, match="only rectangles can be segmented, not 'keypointlabels'"):
        boxes(drawn(rectangle(0, 0, 1, 1) | {"type": "keypointlabels"}), config, CATEGORIES)
    with pytest.raises(Problem, match="width"):
        boxes(drawn(rectangle(0, 0, 1, 1) | {"value": {"x": 1, "y": 1, "height": 2}}), config, CATEGORIES)
