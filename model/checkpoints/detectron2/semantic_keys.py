"""The keys of the reference's YAML for semantic segmentation; see `config_from_yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from model.checkpoints.detectron2 import keys
from model.checkpoints.detectron2.yaml_file import foreign, settle
from model.config.parts import FPNConfig, Preprocessing
from model.config.semantic import SemanticConfig, SemanticFPNConfig, SemanticPointConfig

NAME = "SemanticSegmentor"
POINT: keys.Fields = {
    field: keys.POINTREND[field] for field in ("point_dim", "num_point_fc", "coarse_each_layer")
}
HEAD, CLASSES = "MODEL.SEM_SEG_HEAD.NAME", "MODEL.SEM_SEG_HEAD.NUM_CLASSES"
LEVELS, STRIDE = "MODEL.SEM_SEG_HEAD.IN_FEATURES", "MODEL.SEM_SEG_HEAD.COMMON_STRIDE"
CHANNELS = "MODEL.SEM_SEG_HEAD.CONVS_DIM"
BASE_HEAD, POINT_HEAD = "SemSegFPNHead", "PointRendSemSegHead"
USED: dict[str, Any] = {CLASSES: 54, CHANNELS: 128, STRIDE: 4, keys.POINT_CLASSES: 80, HEAD: BASE_HEAD}
for _fields in (keys.RESNET, keys.FPN, keys.PIXELS, POINT):
    USED |= dict(_fields.values())
_SHARED = ("VERSION", "MODEL.FPN.*", "MODEL.RESNETS.*", "MODEL.BACKBONE.NAME", "TEST.AUG.ENABLED")
BUILT_IN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    key: value
    for key, value in keys.BUILT_IN.items()
    if any(key == pattern or key.startswith(pattern.removesuffix("*")) for pattern in _SHARED)
} | {
    keys.ARCHITECTURE: (NAME, (NAME,)),
    HEAD: (BASE_HEAD, (BASE_HEAD, POINT_HEAD)),
    LEVELS: (keys.LEVELS, (keys.LEVELS, keys.LEVELS[1:])),
    "MODEL.SEM_SEG_HEAD.NORM": ("GN", ("GN",)),
}
POINT_BUILT_IN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK": (False, (False,)),
    "MODEL.POINT_HEAD.COARSE_SEM_SEG_HEAD_NAME": (BASE_HEAD, (BASE_HEAD,)),
    "MODEL.POINT_HEAD.IN_FEATURES": (("p2",), (("p2",),)),
    "MODEL.POINT_HEAD.NAME": ("StandardPointHead", ("StandardPointHead",)),
}
BUILT_IN |= POINT_BUILT_IN
# Levels and their points are each request's choice here.
IGNORED = [
    *(pattern for pattern in keys.IGNORED if not pattern.startswith("MODEL.SEM_SEG_HEAD")),
    *("MODEL.ANCHOR_GENERATOR.*", "MODEL.PROPOSAL_GENERATOR.*", "MODEL.ROI_*", "MODEL.RPN.*"),
    *("MODEL.KEYPOINT_ON", "MODEL.LOAD_PROPOSALS", "MODEL.MASK_ON", "MODEL.POINT_HEAD.SUBDIVISION_*"),
    *("MODEL.SEM_SEG_HEAD.IGNORE_VALUE", "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT"),
]


def settled(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of all keys that count, and what is wrong with the file."""
    values, problems = settle(given, USED, BUILT_IN, IGNORED)
    return values, [*problems, *_conflicts(values)]


def _conflicts(values: Mapping[str, Any]) -> Iterator[str]:
    """Name values that our network has not built in, and values that contradict each other."""
    pointrend = values[HEAD] == POINT_HEAD
    yield from foreign(
        values, {key: value for key, value in BUILT_IN.items() if pointrend or key not in POINT_BUILT_IN}
    )
    if values[LEVELS] in BUILT_IN[LEVELS][1] and values[STRIDE] != _stride(values):
        yield f"{STRIDE} = {values[STRIDE]!r} is not the stride of {values[LEVELS][0]}"
    if pointrend and values[keys.POINT_CLASSES] != values[CLASSES]:
        yield f"{keys.POINT_CLASSES} = {values[keys.POINT_CLASSES]!r}, but {CLASSES} = {values[CLASSES]!r}"
    if isinstance(values[CHANNELS], int) and values[CHANNELS] % 32:
        yield f"{CHANNELS} = {values[CHANNELS]} is not a multiple of 32, the groups of its norm"


def config(values: Mapping[str, Any]) -> SemanticConfig:
    """Return the network of values without faults."""

    def fields(table: keys.Fields) -> dict[str, Any]:
        return {field: values[key] for field, (key, _) in table.items()}

    return SemanticConfig(
        backbone=keys.resnet(values),
        num_classes=values[CLASSES],
        base=SemanticFPNConfig(
            FPNConfig(**fields(keys.FPN)), 2 if _stride(values) == 4 else 3, channels=values[CHANNELS]
        ),
        point=SemanticPointConfig(**fields(POINT)) if values[HEAD] == POINT_HEAD else None,
        preprocessing=Preprocessing(**fields(keys.PIXELS)),
    )


def _stride(values: Mapping[str, Any]) -> int:
    return 4 if values[LEVELS] == keys.LEVELS else 8
