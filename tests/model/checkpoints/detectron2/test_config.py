"""The reference's YAML: what it says arrives, and what our network cannot do is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from model.checkpoints.detectron2.config import ReferenceConfigError, config_from_yaml
from model.config.instance import BoxHeadConfig, ConvHeadConfig, MaskRCNNConfig, PointRendConfig
from model.config.parts import FPNConfig, Preprocessing, ResNetConfig
from model.config.presets import preset
from tests.paths import GOLDEN

BOX = BoxHeadConfig(fc_dim=64, max_detections=12)
POINTREND = PointRendConfig(conv_dim=32, fc_dim=64, point_dim=32)
TINY = {
    "tiny_r50": MaskRCNNConfig(
        ResNetConfig(50, stem_channels=16, res2_channels=32, bottleneck=8),
        num_classes=5,
        fpn=FPNConfig(32),
        box=BOX,
        mask=POINTREND,
        preprocessing=Preprocessing(short_edge=320, long_edge=533),
    ),
}
TINY["tiny_x101"] = replace(
    TINY["tiny_r50"],
    backbone=ResNetConfig(
        101, stem_channels=16, res2_channels=32, bottleneck=16, groups=4, stride_in_1x1=False
    ),
    preprocessing=Preprocessing(std=(57.375, 57.12, 58.395), short_edge=320, long_edge=533),
)
TINY["tiny_conv"] = replace(TINY["tiny_r50"], mask=ConvHeadConfig(conv_dim=32))
# As written by hand for the published models, without their base file; text spells tuples.
PARTIAL = """
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  RESNETS: {OUT_FEATURES: [res2, res3, res4, res5], DEPTH: 50}
  FPN: {IN_FEATURES: "['res2', 'res3', 'res4', 'res5']"}
  ANCHOR_GENERATOR: {SIZES: "[[32], [64], [128], [256], [512]]", ASPECT_RATIOS: [[0.5, 1.0, 2.0]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6], PRE_NMS_TOPK_TEST: 1000, BBOX_REG_WEIGHTS: "(1.0, 1.0, 1.0, 1.0)"}
  ROI_HEADS: {NAME: PointRendROIHeads, IN_FEATURES: [p2, p3, p4, p5]}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 2, POOLER_RESOLUTION: 7, TRAIN_ON_PRED_BOXES: true}
  ROI_MASK_HEAD: {NAME: CoarseMaskHead, POINT_HEAD_ON: true}
  MASK_ON: true
SOLVER: {STEPS: "(60000, 80000)"}
INPUT: {MIN_SIZE_TRAIN: !!python/tuple [640, 800]}
VERSION: 2
"""


def changed(tmp_path: Path, changes: dict[str, Any], base: str = "tiny_r50") -> Path:
    """The base file with some dotted keys set anew."""
    content = yaml.safe_load((GOLDEN / f"{base}.yaml").read_text())
    for key, value in changes.items():
        *sections, last = key.split(".")
        section = content
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def tuples(value: Any) -> Any:
    return tuple(tuples(v) for v in value) if isinstance(value, list) else value


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", TINY)
def test_full_files(name: str) -> None:
    assert config_from_yaml(GOLDEN / f"{name}.yaml") == TINY[name]


def test_a_partial_file_has_the_reference_defaults(tmp_path: Path) -> None:
    assert config_from_yaml(written(tmp_path, PARTIAL)) == preset("pointrend_rcnn_r50_fpn")


def test_a_partial_file_with_the_conv_head(tmp_path: Path) -> None:
    text = PARTIAL.replace("PointRendROIHeads", "StandardROIHeads").replace(
        "{NAME: CoarseMaskHead, POINT_HEAD_ON: true}", "{NUM_CONV: 4}"
    )
    assert config_from_yaml(written(tmp_path, text)) == preset("mask_rcnn_r50_fpn")


def test_settings_arrive(tmp_path: Path) -> None:
    config = config_from_yaml(
        changed(
            tmp_path,
            {
                "INPUT.FORMAT": "RGB",
                "MODEL.ANCHOR_GENERATOR.SIZES": [[16]],
                "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[1, 2.0]] * 5,
                "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK": True,
                "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER": False,
                "MODEL.RESNETS.NORM": "SyncBN",
                "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0,
                "MODEL.RPN.NMS_THRESH": 0.6,
            },
        )
    )
    assert isinstance(config.mask, PointRendConfig)
    assert config.preprocessing.channel_order == "RGB"
    assert (config.rpn.anchor_sizes, config.rpn.aspect_ratios) == ((16,) * 5, (1, 2.0))
    assert (config.mask.class_agnostic, config.mask.coarse_each_layer) == (True, False)
    assert (config.box.score_threshold, config.rpn.nms_threshold) == (0, 0.6)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("VERSION", 1),
        ("EXTRA", 1),
        ("MODEL.EXTRA", 1),
        ("MODEL.EXTRA.DEEP", 1),
        ("MODEL.RPN.EXTRA", 1),
        ("MODEL.DENSEPOSE_ON", False),
        ("INPUT.FORMAT", "L"),
        ("INPUT.MIN_SIZE_TEST", 0),
        ("MODEL.ANCHOR_GENERATOR.NAME", "RotatedAnchorGenerator"),
        ("MODEL.ANCHOR_GENERATOR.OFFSET", 0.5),
        ("MODEL.ANCHOR_GENERATOR.SIZES", [[32, 64, 128, 256, 512]]),
        ("MODEL.ANCHOR_GENERATOR.SIZES", [[32], [64]]),
        ("MODEL.ANCHOR_GENERATOR.SIZES", 32),
        ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[1.0]] * 4 + [[2.0]]),
        ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", []),
        ("MODEL.BACKBONE.NAME", "build_resnet_backbone"),
        ("MODEL.FPN.FUSE_TYPE", "avg"),
        ("MODEL.FPN.IN_FEATURES", ["res3", "res4", "res5"]),
        ("MODEL.FPN.NORM", "GN"),
        ("MODEL.FPN.OUT_CHANNELS", "wide"),
        ("MODEL.FPN.OUT_CHANNELS", True),
        ("MODEL.KEYPOINT_ON", True),
        ("MODEL.LOAD_PROPOSALS", True),
        ("MODEL.MASK_ON", False),
        ("MODEL.META_ARCHITECTURE", "PanopticFPN"),
        ("MODEL.PIXEL_MEAN", [1.0]),
        ("MODEL.PIXEL_STD", ["a", "b", "c"]),
        ("MODEL.PIXEL_STD", [1.0, 0.0, 1.0]),
        ("MODEL.PIXEL_STD", [1.0, 1.0, -1.0]),
        ("MODEL.PIXEL_MEAN", [0.0, 0.0, float("inf")]),
        ("MODEL.POINT_HEAD.IN_FEATURES", ["p2", "p3"]),
        ("MODEL.POINT_HEAD.NAME", "ImplicitPointHead"),
        ("MODEL.POINT_HEAD.NUM_CLASSES", 6),
        ("MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS", 196),
        ("MODEL.POINT_HEAD.SUBDIVISION_STEPS", 3),
        ("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", 2),
        ("MODEL.PROPOSAL_GENERATOR.NAME", "RRPN"),
        ("MODEL.RESNETS.DEFORM_ON_PER_STAGE", [False, False, False, True]),
        ("MODEL.RESNETS.DEPTH", 152),
        ("MODEL.RESNETS.NORM", "GN"),
        ("MODEL.RESNETS.RES5_DILATION", 2),
        ("MODEL.RESNETS.STRIDE_IN_1X1", 1),
        ("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", [1.0, 1.0, 1.0, 1.0]),
        ("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True),
        ("MODEL.ROI_BOX_HEAD.NUM_CONV", 4),
        ("MODEL.ROI_BOX_HEAD.NUM_FC", 0),
        ("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2),
        ("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlign"),
        ("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True),
        ("MODEL.ROI_HEADS.IN_FEATURES", ["p2"]),
        ("MODEL.ROI_HEADS.NAME", "CascadeROIHeads"),
        ("MODEL.ROI_HEADS.NMS_THRESH_TEST", 50),
        ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", None),
        ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", -0.1),
        ("MODEL.ROI_MASK_HEAD.IN_FEATURES", ["p3"]),
        ("MODEL.ROI_MASK_HEAD.NAME", "ImplicitPointRendMaskHead"),
        ("MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION", 14),
        ("MODEL.ROI_MASK_HEAD.POINT_HEAD_ON", False),
        ("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "ROIAlignV2"),
        ("MODEL.RPN.BBOX_REG_WEIGHTS", [2.0, 1.0, 1.0, 1.0]),
        ("MODEL.RPN.CONV_DIMS", [-1, -1]),
        ("MODEL.RPN.HEAD_NAME", "OtherHead"),
        ("MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5"]),
        ("MODEL.RPN.NMS_THRESH", 1.5),
        ("TEST.AUG.ENABLED", True),
    ],
)
def test_what_would_change_a_prediction_is_refused_by_name(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(ReferenceConfigError) as caught:
        config_from_yaml(changed(tmp_path, {key: value}))
    named = f"{key} is unknown" if "EXTRA" in key or "DENSEPOSE" in key else f"{key} = {tuples(value)!r}"
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.ROI_MASK_HEAD.NORM", "GN"),
        ("MODEL.ROI_MASK_HEAD.NUM_CONV", 0),
        ("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 2),
        ("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "ROIPool"),
        ("MODEL.ROI_HEADS.NAME", "PointRendROIHeads"),
    ],
)
def test_the_conv_head_has_its_own_rules(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(ReferenceConfigError, match=f"{key} = {value!r}"):
        config_from_yaml(changed(tmp_path, {key: value}, "tiny_conv"))


def test_what_matters_in_training_alone_is_ignored(tmp_path: Path) -> None:
    changes = {
        "SOLVER.BASE_LR": 7,
        "SOLVER.NEW": 1,
        "DATALOADER.NUM_WORKERS": 0,
        "DATASETS.TRAIN": ["mine"],
        "INPUT.CROP.ENABLED": True,
        "MODEL.DEVICE": "cuda",
        "MODEL.WEIGHTS": "elsewhere.pkl",
        "MODEL.POINT_HEAD.TRAIN_NUM_POINTS": 9,
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 9,
        "MODEL.ANCHOR_GENERATOR.ANGLES": [[0]],
        "TEST.EVAL_PERIOD": 5000,
    }
    assert config_from_yaml(changed(tmp_path, changes)) == TINY["tiny_r50"]


def test_all_problems_are_listed_together(tmp_path: Path) -> None:
    path = changed(tmp_path, {"MODEL.FPN.NORM": "GN", "MODEL.RPN.CONV_DIMS": [64], "MODEL.NEW": 1})
    with pytest.raises(ReferenceConfigError) as caught:
        config_from_yaml(path)
    assert str(caught.value).count(";") == 2
    assert "MODEL.FPN.NORM = 'GN' is not supported, only ''" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_BASE_: Base.yaml\nMODEL: {}", "_BASE_: Base.yaml.*give the full config.yaml"),
        ("- a\n- b", "holds no keys"),
        ("", "holds no keys"),
        ("MODEL: [", "could not be read"),
        ("MODEL: 3", "MODEL is unknown"),
        ("SEED: !!python/object/apply:os.getpid []", "could not be read"),
        ("SEED: !!python/name:os.getpid ''", "could not be read"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ReferenceConfigError, match=message):
        config_from_yaml(written(tmp_path, text))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceConfigError, match=r"absent\.yaml could not be read"):
        config_from_yaml(tmp_path / "absent.yaml")
