"""Configurations: the presets, their way through JSON, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from model.config.instance import (
    PRESETS,
    ConvHeadConfig,
    MaskRCNNConfig,
    PointRendConfig,
    RPNConfig,
    TimmConfig,
    from_dict,
    preset,
    to_dict,
)

POINTREND = (
    "pointrend_rcnn_r50_fpn",
    "pointrend_rcnn_r101_fpn",
    "pointrend_rcnn_x101_fpn",
    "pointrend_rcnn_r50_fpn_cityscapes",
    "people",
)


def test_every_promised_preset_exists_with_its_baseline() -> None:
    twins = {name: name.replace("pointrend_rcnn", "mask_rcnn") for name in POINTREND}
    twins["people"] = "mask_rcnn_people"
    assert set(PRESETS) == {*twins, *twins.values()}
    for name, twin in twins.items():
        assert isinstance(preset(name).mask, PointRendConfig) and isinstance(
            preset(twin).mask, ConvHeadConfig
        )
        assert dataclasses.replace(preset(twin), mask=preset(name).mask) == preset(name)


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no preset 'resnet'.*pointrend_rcnn_r50_fpn, .*mask_rcnn_people"):
        preset("resnet")


@pytest.mark.parametrize("name", PRESETS)
def test_configurations_go_through_json(name: str) -> None:
    config = preset(name)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("part", [(), ("mask",), ("rpn",), ("backbone",)])
def test_an_unknown_key_is_named(part: tuple[str, ...]) -> None:
    data = to_dict(preset("people"))
    section: dict[str, Any] = data
    for name in part:
        section = section[name]
    section["colour"] = 1
    with pytest.raises(ValueError, match=f"unknown keys in {section['type']}: colour"):
        from_dict(data)


@pytest.mark.parametrize("kind", ["Swin", None])
def test_an_unknown_part_is_named(kind: str | None) -> None:
    data = to_dict(preset("people"))
    data["backbone"]["type"] = kind
    with pytest.raises(ValueError, match=f"unknown configuration part {kind!r}"):
        from_dict(data)


def test_a_missing_key_is_named() -> None:
    data = to_dict(preset("people"))
    del data["backbone"]
    with pytest.raises(ValueError, match="backbone"):
        from_dict(data)


def test_a_part_is_no_model() -> None:
    with pytest.raises(ValueError, match="not a model configuration: 'RPN'"):
        from_dict(to_dict(preset("people"))["rpn"])


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        MaskRCNNConfig(TimmConfig("x"), num_classes=0)
    with pytest.raises(ValueError, match="one anchor size for each"):
        MaskRCNNConfig(TimmConfig("x"), rpn=RPNConfig(anchor_sizes=(32, 64)))


def test_configurations_do_not_change() -> None:
    config = preset("people")
    for part, key in ((config, "num_classes"), (config.mask, "side"), (config.preprocessing, "stride")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, key, 1)
    with pytest.raises(TypeError):
        PRESETS["people"] = config  # type: ignore[index]
