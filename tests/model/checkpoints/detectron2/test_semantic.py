"""The reference's YAML for semantic segmentation: what it says arrives, and the rest is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.checkpoints.detectron2.config import ReferenceConfigError, config_from_yaml
from model.config.parts import FPNConfig, Preprocessing, ResNetConfig
from model.config.semantic import SemanticConfig, SemanticFPNConfig, SemanticPointConfig
from tests.model.checkpoints.detectron2.test_config import GOLDEN, changed

TINY = SemanticConfig(
    ResNetConfig(101, stem_channels=16, res2_channels=32, bottleneck=8, freeze_at=0),
    11,
    SemanticFPNConfig(FPNConfig(32), 2, 32),
    SemanticPointConfig(32, 3, False),
    Preprocessing(short_edge=256, long_edge=512),
)
HEAD = "MODEL.SEM_SEG_HEAD."


def test_the_full_file() -> None:
    assert config_from_yaml(GOLDEN / "tiny_semantic.yaml") == TINY


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({f"{HEAD}NAME": "SemSegFPNHead"}, replace(TINY, point=None)),
        (
            {f"{HEAD}IN_FEATURES": ["p3", "p4", "p5"], f"{HEAD}COMMON_STRIDE": 8},
            replace(TINY, base=SemanticFPNConfig(FPNConfig(32), 3, 32)),
        ),
        (
            {"MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER": True},
            replace(TINY, point=SemanticPointConfig(32, 3, True)),
        ),
        ({"MODEL.POINT_HEAD.SUBDIVISION_STEPS": 5, f"{HEAD}IGNORE_VALUE": 0}, TINY),
        # A base model alone has no use for the point head's keys.
        (
            {f"{HEAD}NAME": "SemSegFPNHead", "MODEL.POINT_HEAD.NUM_CLASSES": 80},
            replace(TINY, point=None),
        ),
    ],
)
def test_what_may_change(tmp_path: Path, changes: dict[str, Any], expected: SemanticConfig) -> None:
    assert config_from_yaml(changed(tmp_path, changes, "tiny_semantic")) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{HEAD}NAME": "DeepLabV3Head"}, "SEM_SEG_HEAD.NAME = 'DeepLabV3Head' is not supported"),
        ({f"{HEAD}COMMON_STRIDE": 8}, "COMMON_STRIDE = 8 is not the stride of p2"),
        ({f"{HEAD}IN_FEATURES": ["p2"]}, "IN_FEATURES = .'p2',. is not supported"),
        ({f"{HEAD}NORM": ""}, "SEM_SEG_HEAD.NORM = '' is not supported"),
        ({f"{HEAD}CONVS_DIM": 48}, "CONVS_DIM = 48 is not a multiple of 32"),
        ({f"{HEAD}COLOUR": 1}, "MODEL.SEM_SEG_HEAD.COLOUR is unknown"),
        (
            {f"{HEAD}NUM_CLASSES": 7},
            "MODEL.POINT_HEAD.NUM_CLASSES = 11, but MODEL.SEM_SEG_HEAD.NUM_CLASSES = 7",
        ),
        ({"MODEL.POINT_HEAD.IN_FEATURES": ["p2", "p3"]}, "POINT_HEAD.IN_FEATURES"),
        ({"MODEL.RESNETS.RES5_DILATION": 2}, "MODEL.RESNETS.RES5_DILATION = 2 is not supported"),
        ({"MODEL.FPN.NORM": "GN"}, "MODEL.FPN.NORM = 'GN' is not supported"),
    ],
)
def test_what_our_network_cannot_do(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ReferenceConfigError, match=message):
        config_from_yaml(changed(tmp_path, changes, "tiny_semantic"))
