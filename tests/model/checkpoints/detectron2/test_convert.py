"""Importing the reference's files: every published name finds its place, and what does not fit is named."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoints.checkpoint import open_checkpoint
from model.checkpoints.detectron2.arrays import Array, read_arrays
from model.checkpoints.detectron2.config import config_from_yaml
from model.checkpoints.detectron2.convert import convert
from model.checkpoints.detectron2.names import rename
from model.checkpoints.errors import CheckpointError
from model.checkpoints.shapes import network_shapes
from model.config.presets import preset
from model.config.semantic import SemanticConfig
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet
from tests.paths import GOLDEN

PUBLISHED = {
    "pointrend_r50_fpn": "pointrend_rcnn_r50_fpn",
    "pointrend_r101_fpn": "pointrend_rcnn_r101_fpn",
    "pointrend_x101_fpn": "pointrend_rcnn_x101_fpn",
    "pointrend_r50_fpn_cityscapes": "pointrend_rcnn_r50_fpn_cityscapes",
    "mask_rcnn_r50_fpn": "mask_rcnn_r50_fpn",
    "pointrend_semantic_r101_fpn": "semantic_fpn_r101_cityscapes",
}
TINY = ("tiny_r50", "tiny_x101", "tiny_conv", "tiny_semantic")


def published(name: str) -> dict[str, Array]:
    """Zeros under the names and in the shapes of a published model."""
    arrays = {}
    for line in (GOLDEN / f"published_{name}_names.txt").read_text().splitlines():
        key, shape, dtype = line.split("\t")
        arrays[key] = np.zeros([int(side) for side in shape.split("x")], dtype)
    return arrays


def old_name(name: str) -> str:
    """The name of a parameter in the files of 2020."""
    name = re.sub(r"mask_head\.coarse_head\.fc", "mask_coarse_head.coarse_mask_fc", name)
    return name.replace("mask_head.coarse_head", "mask_coarse_head").replace(
        "mask_head.point_head", "mask_point_head"
    )


def write_pickle(path: Path, content: object, protocol: int = 3) -> Path:
    with path.open("wb") as file:
        pickle.dump(content, file, protocol)
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_import_without_a_leftover(tmp_path: Path, name: str) -> None:
    config = preset(PUBLISHED[name])
    content = {"model": published(name), "__author__": "third-party", "matching_heuristics": True}
    path = write_pickle(tmp_path / "model.pkl", content)
    opened = open_checkpoint(path, config)
    path.unlink()  # hundreds of megabytes, which pytest would keep
    assert {key: t.shape for key, t in opened.tensors.items()} == network_shapes(config)
    assert all(t.dtype is torch.float32 for t in opened.tensors.values())
    assert (len(opened.categories), opened.notes) == (config.num_classes, {"imported_from": "model.pkl"})


def test_the_first_names_import_too() -> None:
    config = preset("pointrend_rcnn_r50_fpn")
    arrays = {old_name(name): array for name, array in published("pointrend_r50_fpn").items()}
    assert "roi_heads.mask_coarse_head.coarse_mask_fc1.weight" in arrays
    assert "roi_heads.mask_point_head.fc1.weight" in arrays
    assert not any("mask_head." in name for name in arrays)
    expected = network_shapes(config)
    assert convert(arrays, config, expected).keys() == expected.keys()


def test_torch_files_import_with_the_optimizer_beside_the_model(tmp_path: Path) -> None:
    config = preset("pointrend_rcnn_r50_fpn")
    model = {f"module.{name}": torch.from_numpy(a) for name, a in published("pointrend_r50_fpn").items()}
    content = {"model": OrderedDict(model), "optimizer": {"state": {0: torch.zeros(3)}}, "iteration": 7}
    path = tmp_path / "model_final.pth"
    torch.save(content, path)
    opened = open_checkpoint(path, config)
    path.unlink()
    assert opened.tensors.keys() == network_shapes(config).keys()


@pytest.mark.parametrize("name", TINY)
def test_every_value_arrives_under_the_right_name(name: str) -> None:
    config = config_from_yaml(GOLDEN / f"{name}.yaml")
    arrays = pickle.loads((GOLDEN / f"{name}.pkl").read_bytes())["model"]
    tensors = open_checkpoint(GOLDEN / f"{name}.pkl", config).tensors
    for theirs, array in arrays.items():
        assert np.array_equal(tensors[rename(theirs)].numpy().ravel(), array.ravel()), theirs
    network = SemanticNet(config) if isinstance(config, SemanticConfig) else MaskRCNN(config)
    network.load_state_dict(tensors)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("backbone.bottom_up.stem.conv1.weight", "backbone.trunk.stem.conv.weight"),
        ("backbone.bottom_up.stem.conv1.norm.running_var", "backbone.trunk.stem.norm.running_var"),
        ("backbone.bottom_up.res4.22.conv3.weight", "backbone.trunk.res4.22.conv3.conv.weight"),
        ("backbone.bottom_up.res2.0.shortcut.norm.bias", "backbone.trunk.res2.0.shortcut.norm.bias"),
        ("backbone.fpn_lateral2.weight", "backbone.fpn.lateral.0.weight"),
        ("backbone.fpn_output5.bias", "backbone.fpn.output.3.bias"),
        ("proposal_generator.rpn_head.objectness_logits.bias", "rpn.objectness.bias"),
        ("proposal_generator.rpn_head.anchor_deltas.weight", "rpn.deltas.weight"),
        ("roi_heads.box_head.fc1.weight", "box_head.fc.0.weight"),
        ("roi_heads.box_predictor.bbox_pred.bias", "box_head.bbox_pred.bias"),
        ("roi_heads.mask_head.coarse_head.reduce_channel_dim_conv.bias", "mask_head.coarse.reduce.bias"),
        ("roi_heads.mask_coarse_head.reduce_spatial_dim_conv.weight", "mask_head.coarse.spatial.weight"),
        ("roi_heads.mask_coarse_head.coarse_mask_fc2.bias", "mask_head.coarse.fc.1.bias"),
        ("roi_heads.mask_head.point_head.fc3.weight", "mask_head.point.fc.2.weight"),
        ("roi_heads.mask_point_head.predictor.weight", "mask_head.point.predictor.weight"),
        ("roi_heads.mask_head.mask_fcn4.weight", "mask_head.conv.3.weight"),
        ("roi_heads.mask_head.deconv.bias", "mask_head.deconv.bias"),
        ("sem_seg_head.coarse_sem_seg_head.p5.4.weight", "head.levels.p5.2.conv.weight"),
        ("sem_seg_head.coarse_sem_seg_head.p4.2.norm.bias", "head.levels.p4.1.norm.bias"),
        ("sem_seg_head.p2.0.weight", "head.levels.p2.0.conv.weight"),
        ("sem_seg_head.predictor.bias", "head.predictor.bias"),
        ("sem_seg_head.coarse_sem_seg_head.predictor.bias", "head.predictor.bias"),
        ("sem_seg_head.point_head.fc2.weight", "point.fc.1.weight"),
        ("sem_seg_head.point_head.predictor.weight", "point.predictor.weight"),
        ("roi_heads.mask_head.predictor.weight", "mask_head.predictor.weight"),
        ("panoptic_head.predictor.weight", "panoptic_head.predictor.weight"),
    ],
)
def test_names(theirs: str, ours: str) -> None:
    assert rename(theirs) == ours


def tiny() -> tuple[dict[str, Array], Any]:
    return read_arrays(GOLDEN / "tiny_r50.pkl"), config_from_yaml(GOLDEN / "tiny_r50.yaml")


def cell_anchors(size: float) -> Array:
    ratios = np.array([0.5, 1.0, 2.0])
    half_w, half_h = size / np.sqrt(ratios) / 2, size * np.sqrt(ratios) / 2
    return np.stack([-half_w, -half_h, half_w, half_h], axis=1).astype(np.float32)


def test_buffers_that_restate_the_configuration_are_dropped_and_contradictions_refused() -> None:
    arrays, config = tiny()
    expected = network_shapes(config)
    mean = np.array([103.53, 116.28, 123.675], np.float32)
    buffers: dict[str, Array] = {"pixel_mean": mean.reshape(3, 1, 1), "pixel_std": np.ones((3, 1, 1))}
    for i, size in enumerate((32, 64, 128, 256, 512)):
        buffers[f"proposal_generator.anchor_generator.cell_anchors.{i}"] = cell_anchors(size)
    buffers["backbone.bottom_up.stem.conv1.norm.num_batches_tracked"] = np.array(9)
    assert convert(arrays | buffers, config, expected).keys() == expected.keys()
    for name, wrong in {
        "pixel_std": np.full((3, 1, 1), 57.375),
        "pixel_mean": np.zeros(1),
        "proposal_generator.anchor_generator.cell_anchors.1": cell_anchors(65),
    }.items():
        with pytest.raises(CheckpointError, match=f"{re.escape(name)} is .* but the configuration says"):
            convert(arrays | buffers | {name: wrong}, config, expected)
    with pytest.raises(CheckpointError, match=r"unexpected: .*cell_anchors\.5"):
        convert(arrays | {"proposal_generator.anchor_generator.cell_anchors.5": wrong}, config, expected)


def test_statistics_are_filled_only_where_both_are_missing() -> None:
    arrays, config = tiny()
    expected = network_shapes(config)
    bare = {name: a for name, a in arrays.items() if not name.endswith(("running_mean", "running_var"))}
    tensors = convert(bare, config, expected)
    assert not tensors["backbone.trunk.stem.norm.running_mean"].any()
    assert (tensors["backbone.trunk.res5.2.conv3.norm.running_var"] == 1).all()
    half = {name: a for name, a in arrays.items() if name != "backbone.bottom_up.stem.conv1.norm.running_var"}
    with pytest.raises(CheckpointError, match=r"missing: backbone.trunk.stem.norm.running_var$"):
        convert(half, config, expected)


def test_anything_unexpected_missing_or_double_is_named() -> None:
    arrays, config = tiny()
    expected = network_shapes(config)
    with pytest.raises(CheckpointError, match=r"unexpected: roi_heads.keypoint_head.weight$"):
        convert(arrays | {"roi_heads.keypoint_head.weight": np.zeros(1)}, config, expected)
    with pytest.raises(CheckpointError, match=r"mask_head.coarse.fc.0.bias; the second is .*coarse_mask_fc1"):
        twice = {"roi_heads.mask_coarse_head.coarse_mask_fc1.bias": np.zeros(64)}
        convert(arrays | twice, config, expected)
    arrays["roi_heads.mask_head.point_head.fc1.weight"] = np.zeros((32, 37, 2))
    with pytest.raises(CheckpointError, match=r"mask_head.point.fc.0.weight \(32, 37, 2\) instead of"):
        convert(arrays, config, expected)
