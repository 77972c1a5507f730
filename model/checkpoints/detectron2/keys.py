"""Keys of the reference's YAML: which of our fields each sets, which must have a built-in value, which are neutral.

Names and defaults are those of the reference's own configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.config.parts import ResNetConfig

# Defaults are the reference's: its config/defaults.py and PointRend's config.py.
# First, keys that configure: our field → their key, default.
Fields = dict[str, tuple[str, Any]]
RESNET: Fields = {
    "depth": ("MODEL.RESNETS.DEPTH", 50),
    "stem_channels": ("MODEL.RESNETS.STEM_OUT_CHANNELS", 64),
    "res2_channels": ("MODEL.RESNETS.RES2_OUT_CHANNELS", 256),
    "bottleneck": ("MODEL.RESNETS.WIDTH_PER_GROUP", 64),  # times groups
    "groups": ("MODEL.RESNETS.NUM_GROUPS", 1),
    "stride_in_1x1": ("MODEL.RESNETS.STRIDE_IN_1X1", True),
    "freeze_at": ("MODEL.BACKBONE.FREEZE_AT", 2),
}
FPN: Fields = {"channels": ("MODEL.FPN.OUT_CHANNELS", 256)}
RPN: Fields = {
    "anchor_sizes": ("MODEL.ANCHOR_GENERATOR.SIZES", ((32, 64, 128, 256, 512),)),
    "aspect_ratios": ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", ((0.5, 1.0, 2.0),)),
    "pre_nms": ("MODEL.RPN.PRE_NMS_TOPK_TEST", 6000),
    "post_nms": ("MODEL.RPN.POST_NMS_TOPK_TEST", 1000),
    "nms_threshold": ("MODEL.RPN.NMS_THRESH", 0.7),
}
BOX: Fields = {
    "fc_dim": ("MODEL.ROI_BOX_HEAD.FC_DIM", 1024),
    "num_fc": ("MODEL.ROI_BOX_HEAD.NUM_FC", 0),
    "pool": ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 14),
    "score_threshold": ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.05),
    "nms_threshold": ("MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.5),
    "max_detections": ("TEST.DETECTIONS_PER_IMAGE", 100),
}
POINTREND: Fields = {
    "conv_dim": ("MODEL.ROI_MASK_HEAD.CONV_DIM", 256),
    "fc_dim": ("MODEL.ROI_MASK_HEAD.FC_DIM", 1024),
    "num_fc": ("MODEL.ROI_MASK_HEAD.NUM_FC", 2),
    "pool": ("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14),
    "point_dim": ("MODEL.POINT_HEAD.FC_DIM", 256),
    "num_point_fc": ("MODEL.POINT_HEAD.NUM_FC", 3),
    "coarse_each_layer": ("MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER", True),
    "class_agnostic": ("MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK", False),
}
CONV: Fields = {
    "conv_dim": ("MODEL.ROI_MASK_HEAD.CONV_DIM", 256),
    "num_conv": ("MODEL.ROI_MASK_HEAD.NUM_CONV", 0),
    "pool": ("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14),
    "class_agnostic": ("MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", False),
}
STD = "MODEL.PIXEL_STD"
PIXELS: Fields = {
    "channel_order": ("INPUT.FORMAT", "BGR"),
    "mean": ("MODEL.PIXEL_MEAN", (103.53, 116.28, 123.675)),
    "std": (STD, (1.0, 1.0, 1.0)),
    "short_edge": ("INPUT.MIN_SIZE_TEST", 800),
    "long_edge": ("INPUT.MAX_SIZE_TEST", 1333),
}
CLASSES, POINT_CLASSES = "MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.POINT_HEAD.NUM_CLASSES"
ARCHITECTURE = "MODEL.META_ARCHITECTURE"
ROI_HEADS, MASK_HEAD = "MODEL.ROI_HEADS.NAME", "MODEL.ROI_MASK_HEAD.NAME"
USED: dict[str, Any] = {CLASSES: 80, POINT_CLASSES: 80}
USED |= {ROI_HEADS: "Res5ROIHeads", MASK_HEAD: "MaskRCNNConvUpsampleHead"}
for _fields in (RESNET, FPN, RPN, BOX, POINTREND, CONV, PIXELS):
    USED |= dict(_fields.values())
# Keys whose default is the only value that our network has built in.
FIXED: dict[str, Any] = {
    "VERSION": 2,
    "MODEL.ANCHOR_GENERATOR.NAME": "DefaultAnchorGenerator",
    "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
    "MODEL.FPN.FUSE_TYPE": "sum",
    "MODEL.FPN.NORM": "",
    "MODEL.KEYPOINT_ON": False,
    "MODEL.LOAD_PROPOSALS": False,
    ARCHITECTURE: "GeneralizedRCNN",
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
STAGES = ("res2", "res3", "res4", "res5")
LEVELS = ("p2", "p3", "p4", "p5")
DEMANDED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "MODEL.BACKBONE.NAME": ("build_resnet_backbone", ("build_resnet_fpn_backbone",)),
    "MODEL.FPN.IN_FEATURES": ((), (STAGES,)),
    "MODEL.MASK_ON": (False, (True,)),
    "MODEL.RESNETS.NORM": ("FrozenBN", ("FrozenBN", "BN", "SyncBN")),  # the same once trained
    "MODEL.RESNETS.OUT_FEATURES": (("res4",), (STAGES,)),
    "MODEL.ROI_BOX_HEAD.NAME": ("", ("FastRCNNConvFCHead",)),
    "MODEL.ROI_HEADS.IN_FEATURES": (("res4",), (LEVELS,)),
    "MODEL.RPN.IN_FEATURES": (("res4",), ((*LEVELS, "p6"),)),
}
BUILT_IN = {key: (value, (value,)) for key, value in FIXED.items()} | DEMANDED
CHOICES = {"INPUT.FORMAT": ("BGR", "RGB"), "MODEL.RESNETS.DEPTH": (50, 101)}
POINTREND_BUILT_IN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "MODEL.POINT_HEAD.IN_FEATURES": (("p2",), (("p2",),)),
    "MODEL.POINT_HEAD.NAME": ("StandardPointHead", ("StandardPointHead",)),
    "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS": (784, (784,)),  # of every published model, as are
    "MODEL.POINT_HEAD.SUBDIVISION_STEPS": (5, (5,)),  # 7·2⁵ = 224; here each request chooses its own
    "MODEL.ROI_MASK_HEAD.IN_FEATURES": (("p2",), (("p2",),)),
    "MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION": (7, (7,)),  # where the renderer starts
    "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON": (False, (True,)),
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("ROIAlignV2", ("",)),  # the head samples by itself
}
CONV_BUILT_IN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "MODEL.ROI_MASK_HEAD.NORM": ("", ("",)),
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": (0, (0,)),
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("ROIAlignV2", ("ROIAlignV2",)),
}
# Keys of training, of other architectures, and of where and how fast things run: patterns by section.
NEUTRAL = {
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
IGNORED = [section + pattern for section, patterns in NEUTRAL.items() for pattern in patterns.split()]
# ROI_HEADS.NAME and ROI_MASK_HEAD.NAME; PointRend's first files (2020) have a pooler type and do not use it.
CONV_HEADS = ("StandardROIHeads", "MaskRCNNConvUpsampleHead")
FIRST_POINTREND_HEADS = ("PointRendROIHeads", "CoarseMaskHead")
POINTREND_HEADS = (
    ("StandardROIHeads", "PointRendMaskHead"),
    ("PointRendROIHeads", "PointRendMaskHead"),
    FIRST_POINTREND_HEADS,
)
# NUM_CONV: PointRend's coarse head has none.
MAY_BE_ZERO = ("MODEL.BACKBONE.FREEZE_AT", "MODEL.ROI_MASK_HEAD.NUM_CONV")


def resnet(values: Mapping[str, Any]) -> ResNetConfig:
    """Return the trunk of either task; the reference counts a 3×3 convolution's width by group."""
    fields = {field: values[key] for field, (key, _) in RESNET.items()}
    return ResNetConfig(**fields | {"bottleneck": fields["bottleneck"] * fields["groups"]})
