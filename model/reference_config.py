"""The reference implementation's (detectron2's) YAML configuration as a `ModelConfig`.

Every key is one of three: it configures our network, it must have a value that our network has built in, or
it cannot change a prediction. Anything else is refused, so that no setting is dropped silently.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from model.config import FPN, RPN, BoxHead, ConvMask, ModelConfig, PointRendMask, Preprocessing, ResNet


class ReferenceConfigError(ValueError):
    """A configuration that cannot be read or that asks for something our network does not do."""


# Defaults are the reference's: its config/defaults.py and PointRend's config.py.
# First, keys that configure: our field → their key, default.
_Fields = dict[str, tuple[str, Any]]
_RESNET: _Fields = {
    "depth": ("MODEL.RESNETS.DEPTH", 50),
    "stem_channels": ("MODEL.RESNETS.STEM_OUT_CHANNELS", 64),
    "res2_channels": ("MODEL.RESNETS.RES2_OUT_CHANNELS", 256),
    "bottleneck": ("MODEL.RESNETS.WIDTH_PER_GROUP", 64),  # times groups
    "groups": ("MODEL.RESNETS.NUM_GROUPS", 1),
    "stride_in_1x1": ("MODEL.RESNETS.STRIDE_IN_1X1", True),
    "freeze_at": ("MODEL.BACKBONE.FREEZE_AT", 2),
}
_FPN: _Fields = {"channels": ("MODEL.FPN.OUT_CHANNELS", 256)}
_RPN: _Fields = {
    "anchor_sizes": ("MODEL.ANCHOR_GENERATOR.SIZES", ((32, 64, 128, 256, 512),)),
    "aspect_ratios": ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", ((0.5, 1.0, 2.0),)),
    "pre_nms": ("MODEL.RPN.PRE_NMS_TOPK_TEST", 6000),
    "post_nms": ("MODEL.RPN.POST_NMS_TOPK_TEST", 1000),
    "nms_threshold": ("MODEL.RPN.NMS_THRESH", 0.7),
}
_BOX: _Fields = {
    "fc_dim": ("MODEL.ROI_BOX_HEAD.FC_DIM", 1024),
    "num_fc": ("MODEL.ROI_BOX_HEAD.NUM_FC", 0),
    "pool": ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 14),
    "score_threshold": ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.05),
    "nms_threshold": ("MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.5),
    "max_detections": ("TEST.DETECTIONS_PER_IMAGE", 100),
}
_POINTREND: _Fields = {
    "conv_dim": ("MODEL.ROI_MASK_HEAD.CONV_DIM", 256),
    "fc_dim": ("MODEL.ROI_MASK_HEAD.FC_DIM", 1024),
    "num_fc": ("MODEL.ROI_MASK_HEAD.NUM_FC", 2),
    "pool": ("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14),
    "side": ("MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION", 7),
    "point_dim": ("MODEL.POINT_HEAD.FC_DIM", 256),
    "num_point_fc": ("MODEL.POINT_HEAD.NUM_FC", 3),
    "coarse_each_layer": ("MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER", True),
    "class_agnostic": ("MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK", False),
    "steps": ("MODEL.POINT_HEAD.SUBDIVISION_STEPS", 5),
    "points": ("MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS", 784),
}
_CONV: _Fields = {
    "conv_dim": ("MODEL.ROI_MASK_HEAD.CONV_DIM", 256),
    "num_conv": ("MODEL.ROI_MASK_HEAD.NUM_CONV", 0),
    "pool": ("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14),
    "class_agnostic": ("MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", False),
}
_PIXELS: _Fields = {
    "channel_order": ("INPUT.FORMAT", "BGR"),
    "mean": ("MODEL.PIXEL_MEAN", (103.53, 116.28, 123.675)),
    "std": ("MODEL.PIXEL_STD", (1.0, 1.0, 1.0)),
    "short_edge": ("INPUT.MIN_SIZE_TEST", 800),
    "long_edge": ("INPUT.MAX_SIZE_TEST", 1333),
}
_CLASSES, _POINT_CLASSES = "MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.POINT_HEAD.NUM_CLASSES"
_ROI_HEADS, _MASK_HEAD = "MODEL.ROI_HEADS.NAME", "MODEL.ROI_MASK_HEAD.NAME"
_USED: dict[str, Any] = {_CLASSES: 80, _POINT_CLASSES: 80}
_USED |= {_ROI_HEADS: "Res5ROIHeads", _MASK_HEAD: "MaskRCNNConvUpsampleHead"}
for _fields in (_RESNET, _FPN, _RPN, _BOX, _POINTREND, _CONV, _PIXELS):
    _USED |= dict(_fields.values())
# Keys whose default is the only value that our network has built in.
_FIXED: dict[str, Any] = {
    "VERSION": 2,
    "MODEL.ANCHOR_GENERATOR.NAME": "DefaultAnchorGenerator",
    "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
    "MODEL.FPN.FUSE_TYPE": "sum",
    "MODEL.FPN.NORM": "",
    "MODEL.KEYPOINT_ON": False,
    "MODEL.LOAD_PROPOSALS": False,
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": 0,
    "MODEL.PROPOSAL_GENERATOR.NAME": "RPN",
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": (False,) * 4,
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": False,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": False,
    "MODEL.RPN.BBOX_REG_WEIGHTS": (1.0,) * 4,
    "MODEL.RPN.CONV_DIMS": (-1,),
    "MODEL.RPN.HEAD_NAME": "StandardRPNHead",
    "TEST.AUG.ENABLED": False,
}
# Keys with a default that our network is not made for, and the values that it is.
_STAGES = ("res2", "res3", "res4", "res5")
_LEVELS = ("p2", "p3", "p4", "p5")
_DEMANDED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "MODEL.BACKBONE.NAME": ("build_resnet_backbone", ("build_resnet_fpn_backbone",)),
    "MODEL.FPN.IN_FEATURES": ((), (_STAGES,)),
    "MODEL.MASK_ON": (False, (True,)),
    "MODEL.RESNETS.NORM": ("FrozenBN", ("FrozenBN", "BN", "SyncBN")),  # the same once trained
    "MODEL.RESNETS.OUT_FEATURES": (("res4",), (_STAGES,)),
    "MODEL.ROI_BOX_HEAD.NAME": ("", ("FastRCNNConvFCHead",)),
    "MODEL.ROI_HEADS.IN_FEATURES": (("res4",), (_LEVELS,)),
    "MODEL.RPN.IN_FEATURES": (("res4",), ((*_LEVELS, "p6"),)),
}
_BUILT_IN = {key: (value, (value,)) for key, value in _FIXED.items()} | _DEMANDED
_CHOICES = {"INPUT.FORMAT": ("BGR", "RGB"), "MODEL.RESNETS.DEPTH": (50, 101)}
_POINTREND_BUILT_IN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "MODEL.POINT_HEAD.IN_FEATURES": (("p2",), (("p2",),)),
    "MODEL.POINT_HEAD.NAME": ("StandardPointHead", ("StandardPointHead",)),
    "MODEL.ROI_MASK_HEAD.IN_FEATURES": (("p2",), (("p2",),)),
    "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON": (False, (True,)),
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("ROIAlignV2", ("",)),  # the head samples by itself
}
_CONV_BUILT_IN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "MODEL.ROI_MASK_HEAD.NORM": ("", ("",)),
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": (0, (0,)),
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("ROIAlignV2", ("ROIAlignV2",)),
}
# Keys of training, of other architectures, and of where and how fast things run: patterns by section.
_NEUTRAL = {
    "": "CUDNN_BENCHMARK FLOAT32_PRECISION OUTPUT_DIR SEED VIS_PERIOD "
    "DATALOADER.* DATASETS.* GLOBAL.* INPUT.* SOLVER.* TEST.*",
    "MODEL.": "DEVICE WEIGHTS ANCHOR_GENERATOR.ANGLES IMPLICIT_POINTREND.* PANOPTIC_FPN.* RETINANET.* "
    "ROI_BOX_CASCADE_HEAD.* ROI_KEYPOINT_HEAD.* SEM_SEG_HEAD.*",
    "MODEL.POINT_HEAD.": "COARSE_SEM_SEG_HEAD_NAME IMPORTANCE_SAMPLE_RATIO OVERSAMPLE_RATIO TRAIN_NUM_POINTS",
    "MODEL.RESNETS.": "DEFORM_MODULATED DEFORM_NUM_GROUPS",
    "MODEL.ROI_BOX_HEAD.": "*_LOSS_* CONV_DIM NORM SMOOTH_L1_BETA TRAIN_ON_PRED_BOXES USE_FED_LOSS",
    "MODEL.ROI_HEADS.": "BATCH_SIZE_PER_IMAGE IOU_* POSITIVE_FRACTION PROPOSAL_APPEND_GT",
    "MODEL.RPN.": "*LOSS_* *_TRAIN BATCH_SIZE_PER_IMAGE BOUNDARY_THRESH IOU_* POSITIVE_FRACTION "
    "SMOOTH_L1_BETA",
}
_IGNORED = [section + pattern for section, patterns in _NEUTRAL.items() for pattern in patterns.split()]
# ROI_HEADS.NAME and ROI_MASK_HEAD.NAME; PointRend's first files (2020) have a pooler type and do not use it.
_CONV_HEADS = ("StandardROIHeads", "MaskRCNNConvUpsampleHead")
_FIRST_POINTREND_HEADS = ("PointRendROIHeads", "CoarseMaskHead")
_POINTREND_HEADS = (
    ("StandardROIHeads", "PointRendMaskHead"),
    ("PointRendROIHeads", "PointRendMaskHead"),
    _FIRST_POINTREND_HEADS,
)
# NUM_CONV: PointRend's coarse head has none.
_MAY_BE_ZERO = (
    "MODEL.BACKBONE.FREEZE_AT",
    "MODEL.POINT_HEAD.SUBDIVISION_STEPS",
    "MODEL.ROI_MASK_HEAD.NUM_CONV",
)


class _Loader(yaml.SafeLoader):
    """Safe YAML; the reference's dumps may tag a sequence as a Python tuple, which is read as a list."""

    def sequence(self, node: yaml.SequenceNode) -> list[Any]:
        return self.construct_sequence(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.sequence)


def config_from_yaml(path: str | Path) -> ModelConfig:
    """The network that the reference builds from this file; keys left out have the reference's defaults.

    Raises ReferenceConfigError that lists everything our network cannot do, by name and value.
    """
    path = Path(path)
    given = _read(path)
    if given.get("MODEL.META_ARCHITECTURE") == "SemanticSegmentor":
        raise ReferenceConfigError(f"{path.name}: not supported yet: semantic (MODEL.META_ARCHITECTURE)")
    built_in = _BUILT_IN | _POINTREND_BUILT_IN | _CONV_BUILT_IN
    values = {key: default for key, (default, _) in built_in.items()} | _USED
    problems = [
        f"{key} is unknown"
        for key in given
        if key not in values and not any(fnmatchcase(key, pattern) for pattern in _IGNORED)
    ]
    values |= {key: _decoded(value) for key, value in given.items() if key in values}
    problems += [f"{key} = {values[key]!r} is not usable" for key in _USED if not _usable(key, values[key])]
    problems += _conflicts(values)
    if problems:
        raise ReferenceConfigError(f"{path.name} cannot be used: " + "; ".join(problems))
    return _config(values)


def _read(path: Path) -> dict[str, Any]:
    """Dotted keys → values as they stand in the file."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReferenceConfigError(f"{path.name} could not be read: {error}") from error
    if not isinstance(content, dict):
        raise ReferenceConfigError(f"{path.name} is not a configuration: it holds no keys")
    if "_BASE_" in content:
        raise ReferenceConfigError(
            f"{path.name} builds on another file (_BASE_: {content['_BASE_']}): give the full config.yaml "
            "that the reference writes into its output folder"
        )
    return dict(_flat(content))


def _flat(section: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _decoded(value: Any) -> Any:
    """Sequences as tuples; text that spells a Python literal, "(10.0, 5.0)", as the reference reads it."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return tuple(_decoded(v) for v in value) if isinstance(value, (list, tuple)) else value


def _usable(key: str, value: Any) -> bool:
    """Whether a key that configures has the type of its default; sizes are at least 1."""
    if key in _CHOICES:
        return value in _CHOICES[key]
    match _USED[key]:
        case bool() | str() as default:
            return type(value) is type(default)
        case int():
            return type(value) is int and value >= (0 if key in _MAY_BE_ZERO else 1)
        case float():
            return _is_number(value)
    if key.startswith("MODEL.ANCHOR_GENERATOR."):
        return True  # judged by level, in _conflicts
    return isinstance(value, tuple) and len(value) == 3 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _per_level(value: Any) -> tuple[tuple[float, ...], ...]:
    """One tuple of numbers for each of P2–P6, given for each or once for all; () if it is anything else."""
    rows = value if isinstance(value, tuple) and all(isinstance(row, tuple) for row in value) else (value,)
    rows = rows * 5 if len(rows) == 1 else rows
    right = len(rows) == 5 and all(
        isinstance(row, tuple) and row and all(map(_is_number, row)) for row in rows
    )
    return rows if right else ()


def _conflicts(values: Mapping[str, Any]) -> Iterator[str]:
    """Values that our network has not built in, and values that contradict each other."""
    heads = (values[_ROI_HEADS], values[_MASK_HEAD])
    built_in = dict(_BUILT_IN)
    if heads == _CONV_HEADS:
        built_in |= _CONV_BUILT_IN
        if values["MODEL.ROI_MASK_HEAD.NUM_CONV"] == 0:
            yield "MODEL.ROI_MASK_HEAD.NUM_CONV = 0 is not supported with MaskRCNNConvUpsampleHead"
    elif heads in _POINTREND_HEADS:
        built_in |= _POINTREND_BUILT_IN
        if values[_CLASSES] != values[_POINT_CLASSES]:
            yield f"{_POINT_CLASSES} = {values[_POINT_CLASSES]!r}, but {_CLASSES} = {values[_CLASSES]!r}"
    else:
        yield f"{_ROI_HEADS} = {heads[0]!r} with {_MASK_HEAD} = {heads[1]!r} is not supported"
    if heads == _FIRST_POINTREND_HEADS:
        del built_in["MODEL.ROI_MASK_HEAD.POOLER_TYPE"]
    for key, (_, admitted) in built_in.items():
        if values[key] not in admitted:
            yield f"{key} = {values[key]!r} is not supported, only {' or '.join(map(repr, admitted))}"
    sizes, ratios = _RPN["anchor_sizes"][0], _RPN["aspect_ratios"][0]
    if {len(row) for row in _per_level(values[sizes])} != {1}:
        yield f"{sizes} = {values[sizes]!r} is not one size for each level"
    if len(set(_per_level(values[ratios]))) != 1:
        yield f"{ratios} = {values[ratios]!r} is not the same list on every level"


def _config(values: Mapping[str, Any]) -> ModelConfig:
    def fields(table: _Fields) -> dict[str, Any]:
        return {field: values[key] for field, (key, _) in table.items()}

    resnet, rpn = ResNet(**fields(_RESNET)), RPN(**fields(_RPN))
    conv = (values[_ROI_HEADS], values[_MASK_HEAD]) == _CONV_HEADS
    return ModelConfig(
        backbone=replace(resnet, bottleneck=resnet.bottleneck * resnet.groups),
        num_classes=values[_CLASSES],
        fpn=FPN(**fields(_FPN)),
        rpn=replace(
            rpn,
            anchor_sizes=tuple(size for (size,) in _per_level(rpn.anchor_sizes)),
            aspect_ratios=_per_level(rpn.aspect_ratios)[0],
        ),
        box=BoxHead(**fields(_BOX)),
        mask=ConvMask(**fields(_CONV)) if conv else PointRendMask(**fields(_POINTREND)),
        preprocessing=Preprocessing(**fields(_PIXELS)),
    )
