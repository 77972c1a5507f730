"""Configurations: the presets, their way through JSON, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from safetensors import safe_open

from model.config.categories import CITYSCAPES, CITYSCAPES_LABELS, COCO, default_categories, numbered
from model.config.instance import ConvHeadConfig, MaskRCNNConfig, PointRendConfig, RPNConfig
from model.config.network import config_from_dict, config_to_dict
from model.config.parts import Preprocessing, ResNetConfig, TimmConfig
from model.config.presets import PRESETS, preset, preset_categories
from model.config.semantic import SemanticConfig
from model.errors import UserError
from tests.paths import ROOT

POINTREND = (
    "pointrend_rcnn_r50_fpn",
    "pointrend_rcnn_r101_fpn",
    "pointrend_rcnn_x101_fpn",
    "pointrend_rcnn_r50_fpn_cityscapes",
    "people",
)


SEMANTIC = (
    "semantic_fpn_r101_cityscapes",
    "street_fpn",
    "street_fpn_pointrend",
    "street_deeplab_os16",
    "street_deeplab_os8",
    "street_deeplab_os16_pointrend",
)


def instance_preset(name: str) -> MaskRCNNConfig:
    config = preset(name)
    assert config.task == "instance"
    return config


def test_every_promised_preset_exists_with_its_baseline() -> None:
    twins = {name: name.replace("pointrend_rcnn", "mask_rcnn") for name in POINTREND}
    twins["people"] = "mask_rcnn_people"
    assert set(PRESETS) == {*twins, *twins.values(), "anything", *SEMANTIC}
    for name, twin in twins.items():
        head = instance_preset(name).mask
        assert isinstance(head, PointRendConfig) and isinstance(instance_preset(twin).mask, ConvHeadConfig)
        assert dataclasses.replace(instance_preset(twin), mask=head) == preset(name)
    assert {PRESETS[name].task for name in SEMANTIC} == {"semantic"}


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no preset 'resnet'.*pointrend_rcnn_r50_fpn, .*mask_rcnn_people"):
        preset("resnet")


@pytest.mark.parametrize("name", PRESETS)
def test_configurations_go_through_json(name: str) -> None:
    config = preset(name)
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config


@pytest.mark.parametrize(("file", "task"), [("people", "instance"), ("street", "semantic")])
def test_shipped_configurations_are_written_as_they_were_read(file: str, task: str) -> None:
    with safe_open(ROOT / "model" / "weights" / f"{file}.safetensors", framework="pt") as weights:
        stored = json.loads(weights.metadata()["config"])
    config = config_from_dict(stored)
    written = config_to_dict(config)
    assert config.task == task
    assert written == stored


def test_the_names_of_parts_in_files_stay() -> None:
    tags = {
        part["type"]
        for name in PRESETS
        for data in [config_to_dict(preset(name))]
        for part in [data, *filter(lambda value: isinstance(value, dict), data.values())]
    }
    assert tags == {
        *(
            "ModelConfig",
            "ResNet",
            "Timm",
            "FPN",
            "RPN",
            "BoxHead",
            "PointRendMask",
            "ConvMask",
            "Preprocessing",
        ),
        *("SemanticConfig", "SemanticFPN", "DeepLabV3", "SemanticPoint"),
    }


def test_keys_with_a_default_may_be_left_out() -> None:
    data = {"type": "ModelConfig", "backbone": {"type": "ResNet", "depth": 101}}
    assert config_from_dict(data) == preset("pointrend_rcnn_r101_fpn")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("people", lambda d: d.update(colour=1), "unknown key network.colour"),
        ("people", lambda d: d["mask"].update(colour=1), "unknown key network.mask.colour"),
        ("people", lambda d: d["rpn"].update(colour=1), "unknown key network.rpn.colour"),
        ("people", lambda d: d["backbone"].update(depth=1), "unknown key network.backbone.depth"),
        ("street_fpn", lambda d: d["base"]["fpn"].update(colour=1), "unknown key network.base.fpn.colour"),
        ("people", lambda d: d.pop("backbone"), "missing key network.backbone"),
        ("people", lambda d: d["backbone"].pop("name"), "missing key network.backbone.name"),
        ("people", lambda d: d["backbone"].pop("type"), "missing key network.backbone.type"),
        ("people", lambda d: d.pop("type"), "missing key network.type"),
        ("people", lambda d: d.update(type="RPN"), "network.type is 'RPN', not one of 'ModelConfig', 'Sem"),
        (
            "people",
            lambda d: d["backbone"].update(type="Swin"),
            "network.backbone.type is 'Swin', not one of 'ResNet', 'Timm'",
        ),
        ("people", lambda d: d["rpn"].update(type="FPN"), "network.rpn.type: Input should be 'RPN'"),
        ("people", lambda d: d.update(num_classes="3"), "network.num_classes: Input should be a valid int"),
        ("people", lambda d: d.update(num_classes=0), "network: num_classes must be at least 1, got 0"),
        ("people", lambda d: d["rpn"].update(anchor_sizes=[1, 2]), "one anchor size for each of P2–P6"),
        ("people", lambda d: d["rpn"].update(steps=[2, 2]), "a number of at least 1 for each of P2–P6"),
        ("people", lambda d: d["rpn"].update(steps=[2, 2, 1, 1, 0]), "each of P2–P6, got (2, 2, 1, 1, 0)"),
        (
            "people",
            lambda d: d["box"].update(samples=-1),
            "box.samples and box.refinements must be at least 0",
        ),
        ("people", lambda d: d["box"].update(refinements=-1), "must be at least 0, got 2 and -1"),
        ("people", lambda d: d.update(x=1, y=2), "unknown key network.x; unknown key network.y"),
    ],
)
def test_what_is_wrong_is_named(name: str, change: Callable[[Any], object], message: str) -> None:
    data = config_to_dict(preset(name))
    change(data)
    with pytest.raises(ValueError) as raised:
        config_from_dict(data)
    assert message in str(raised.value)


def test_categories_are_known_by_the_preset_or_by_their_number() -> None:
    assert preset_categories("pointrend_rcnn_r50_fpn_cityscapes") == CITYSCAPES
    assert preset_categories("semantic_fpn_r101_cityscapes") == CITYSCAPES_LABELS
    assert preset_categories("people") is None
    assert default_categories("instance", 80) == COCO
    assert default_categories("instance", 3) == default_categories("semantic", 3) == numbered(3)
    assert default_categories("semantic", 80) == numbered(80)


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        MaskRCNNConfig(TimmConfig("x"), num_classes=0)
    with pytest.raises(ValueError, match="one anchor size for each"):
        MaskRCNNConfig(TimmConfig("x"), rpn=RPNConfig(anchor_sizes=(32, 64)))
    with pytest.raises(ValueError, match="num_classes must be 2–255, got 256"):
        SemanticConfig(ResNetConfig(50), 256, preprocessing=Preprocessing())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 0}, "stride must be a multiple of 32"),
        ({"stride": 16}, "stride must be a multiple of 32"),
        ({"short_edge": 0}, "must be at least 1"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be positive numbers"),
    ],
)
def test_impossible_preprocessing_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Preprocessing(**change)


def test_configurations_do_not_change() -> None:
    config = instance_preset("people")
    for part, key in ((config, "num_classes"), (config.mask, "side"), (config.preprocessing, "stride")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, key, 1)
    with pytest.raises(TypeError):
        PRESETS["people"] = config  # type: ignore[index]
