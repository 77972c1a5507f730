"""Starting weights: another checkpoint's, ours or the reference's, with the same classes or others."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoints.checkpoint import Checkpoint, save
from model.checkpoints.detectron2.arrays import read_arrays
from model.checkpoints.detectron2.config import config_from_yaml
from model.checkpoints.detectron2.convert import convert
from model.checkpoints.errors import CheckpointError
from model.checkpoints.initial_weights import from_checkpoint
from model.config.categories import Category, numbered
from model.config.instance import PointRendConfig
from model.config.network import NetworkConfig
from model.config.semantic import SemanticPointConfig
from model.networks.build import build_network
from tests.model import tiny, tiny_semantic
from tests.paths import GOLDEN


def test_a_reference_checkpoint_starts_a_network_of_other_classes() -> None:
    """Of 3 classes instead of 5, without names: everything that belongs to no class is copied."""
    config = config_from_yaml(GOLDEN / "tiny_r50.yaml")
    assert config.task == "instance" and isinstance(config.mask, PointRendConfig)
    network = tiny.network(dataclasses.replace(config, num_classes=3))
    expected = {name: tensor.shape for name, tensor in tiny.network(config).state_dict().items()}
    given = convert(read_arrays(GOLDEN / "tiny_r50.pkl"), config, expected)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    said = from_checkpoint(network, GOLDEN / "tiny_r50.pkl")
    found = network.state_dict()
    points = [f"mask_head.point.fc.{i}.weight" for i in range(3)]
    parts = ["box_head.cls_score.weight", "box_head.cls_score.bias", *points]
    anew = [f"box_head.bbox_pred.{end}" for end in ("weight", "bias")]
    anew += [f"mask_head.coarse.prediction.{end}" for end in ("weight", "bias")]
    anew += [f"mask_head.point.predictor.{end}" for end in ("weight", "bias")]
    assert said == (
        f"started {len(found) - 11} of {len(found)} tensors from tiny_r50.pkl; 5 in part, without any class: "
        f"{', '.join(parts)}; 6 begin anew: {', '.join(anew)}"
    )
    for name in parts[:2]:  # background is the last class
        assert torch.equal(found[name][-1], given[name][-1])
        assert torch.equal(found[name][:-1], fresh[name][:-1])
    for i, name in enumerate(points):
        width = config.mask.point_dim if i else config.fpn.channels
        assert torch.equal(found[name][:, :width], given[name][:, :width])
        assert torch.equal(found[name][:, width:], fresh[name][:, width:])
    for name in found.keys() - parts:
        assert torch.equal(found[name], fresh[name] if name in anew else given[name]), name


def named(*names: str) -> tuple[Category, ...]:
    return tuple(Category(i, name) for i, name in enumerate(names))


def started(
    folder: Path, given: NetworkConfig, own: NetworkConfig, theirs: str, ours: str
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], str]:
    """Start a network of classes `ours` from one of `theirs`; return its tensors, the fresh and new ones, the line."""
    torch.manual_seed(1)
    source = build_network(dataclasses.replace(given, num_classes=len(theirs.split())))
    tensors = {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in source.state_dict().items()}
    save(folder / "c.safetensors", Checkpoint(source.config, named(*theirs.split()), tensors))
    network = build_network(dataclasses.replace(own, num_classes=len(ours.split())))
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    said = from_checkpoint(network, folder / "c.safetensors", named(*ours.split()))
    return tensors, fresh, network.state_dict(), said


def test_classes_of_the_same_name_are_copied(tmp_path: Path) -> None:
    """Ours are bus, cat and dog; theirs were dog and bus."""
    given, fresh, found, said = started(tmp_path, tiny.CONFIG, tiny.CONFIG, "dog bus", "bus cat dog")
    both = [(1, 0), (0, 2)]  # bus, dog
    expected = {
        name: given[name] if given[name].shape == value.shape else value.clone()
        for name, value in fresh.items()
    }
    for end in ("weight", "bias"):
        score, boxes, coarse = (
            f"{name}.{end}"
            for name in ("box_head.cls_score", "box_head.bbox_pred", "mask_head.coarse.prediction")
        )
        expected[score][3] = given[score][2]
        for theirs, ours in both:
            expected[score][ours] = given[score][theirs]
            expected[boxes][4 * ours : 4 * ours + 4] = given[boxes][4 * theirs : 4 * theirs + 4]
            expected[coarse][49 * ours : 49 * ours + 49] = given[coarse][49 * theirs : 49 * theirs + 49]
    for name in ("fc.0", "fc.1", "fc.2"):
        columns = f"mask_head.point.{name}.weight"
        expected[columns][:, :16] = given[columns][:, :16]
        for theirs, ours in both:
            expected[columns][:, 16 + ours] = given[columns][:, 16 + theirs]
    weight, bias = "mask_head.point.predictor.weight", "mask_head.point.predictor.bias"
    for theirs, ours in both:
        expected[bias][ours] = given[bias][theirs]
        expected[weight][ours, :16] = given[weight][theirs, :16]
        for theirs_column, ours_column in both:
            expected[weight][ours, 16 + ours_column] = given[weight][theirs, 16 + theirs_column]
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert (
        f"started {len(found) - 11} of {len(found)} tensors from c.safetensors; 11 in part, with the classes bus, dog: "
        in said
    )
    assert "anew" not in said


def test_reordered_classes_are_copied_whole(tmp_path: Path) -> None:
    given, _, found, said = started(tmp_path, tiny.CONFIG, tiny.CONFIG, "dog bus", "bus dog")
    assert said == f"started {len(found)} of {len(found)} tensors from c.safetensors"
    name = "box_head.cls_score.weight"
    assert torch.equal(found[name], given[name][[1, 0, 2]])
    given, _, found, _ = started(tmp_path, tiny.CONFIG, tiny.CONFIG, "dog bus", "cat cow")
    assert torch.equal(found[name], given[name])  # no name in common: by their order


def test_class_agnostic_heads_have_no_rows_of_classes(tmp_path: Path) -> None:
    agnostic = dataclasses.replace(tiny.CONFIG.mask, class_agnostic=True)
    config = dataclasses.replace(tiny.CONFIG, mask=agnostic)
    given, fresh, found, _ = started(tmp_path, config, config, "a b", "c d e")
    name = "mask_head.point.predictor.weight"  # [1, 16 + classes]
    assert torch.equal(found[name][:, :16], given[name][:, :16])
    assert torch.equal(found[name][:, 16:], fresh[name][:, 16:])
    name = "mask_head.point.predictor.bias"
    assert torch.equal(found[name], given[name])


def test_a_conv_head_copies_rows_and_nothing_of_another_head(tmp_path: Path) -> None:
    given, fresh, found, _ = started(tmp_path, tiny.CONV, tiny.CONV, "a b", "c b a")
    for name in ("mask_head.predictor.weight", "mask_head.predictor.bias"):
        assert torch.equal(found[name][1:], given[name][[1, 0]]) and torch.equal(
            found[name][0], fresh[name][0]
        )
    _, fresh, found, said = started(tmp_path, tiny.CONFIG, tiny.CONV, "a b", "a b")
    assert all(torch.equal(found[name], fresh[name]) for name in found if name.startswith("mask_head."))
    assert "anew: mask_head.conv.0.weight" in said and "in part" not in said


@pytest.mark.parametrize("each_layer", [False, True])
def test_label_maps_start_from_other_classes(tmp_path: Path, each_layer: bool) -> None:
    point = SemanticPointConfig(16, coarse_each_layer=each_layer)
    config = dataclasses.replace(tiny_semantic.CONFIG, point=point)
    given, fresh, found, said = started(tmp_path, config, config, "sky road", "tree road pole")
    for name in ("head.predictor.weight", "head.predictor.bias", "point.predictor.bias"):
        assert torch.equal(found[name][1], given[name][1])
        assert torch.equal(found[name][[0, 2]], fresh[name][[0, 2]])
    for i in range(3):
        name = f"point.fc.{i}.weight"
        if i and not each_layer:
            assert torch.equal(found[name], given[name])
        else:
            assert torch.equal(found[name][:, [*range(16), 17]], given[name][:, [*range(16), 17]])
            assert torch.equal(found[name][:, [16, 18]], fresh[name][:, [16, 18]])
    assert (
        "in part, with the class road: head.predictor.weight, head.predictor.bias, point.fc.0.weight" in said
    )


def test_a_native_checkpoint_starts_a_network(tmp_path: Path) -> None:
    source, network = tiny.network(seed=5), tiny.network()
    save(tmp_path / "c.safetensors", Checkpoint(tiny.CONFIG, numbered(2), source.state_dict()))
    assert "adapt" not in from_checkpoint(network, tmp_path / "c.safetensors")
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in network.state_dict().items())


def test_other_anchors_are_remarked_on(tmp_path: Path) -> None:
    save(tmp_path / "c.safetensors", Checkpoint(tiny.CONFIG, numbered(2), tiny.network().state_dict()))
    tall = dataclasses.replace(
        tiny.CONFIG, rpn=dataclasses.replace(tiny.CONFIG.rpn, aspect_ratios=(1.0, 2.0, 3.0))
    )
    said = from_checkpoint(tiny.network(tall), tmp_path / "c.safetensors")
    assert "trained with aspect_ratios (0.5, 1.0, 2.0)" in said and "anchor_sizes" not in said


def test_calibrated_scores_are_remarked_on(tmp_path: Path) -> None:
    """Unless the class layer does not fit: then the scores are not taken over."""
    box = dataclasses.replace(tiny.CONFIG.box, score_threshold=0.02)
    config, notes = dataclasses.replace(tiny.CONFIG, box=box), {"calibration": "scale 1, shift 0"}
    save(tmp_path / "c.safetensors", Checkpoint(config, numbered(2), tiny.network().state_dict(), notes))
    said = from_checkpoint(tiny.network(), tmp_path / "c.safetensors")
    assert "--set network.box.score_threshold=0.02 finds the same boxes, not 0.05" in said
    for other in (config, dataclasses.replace(tiny.CONFIG, num_classes=3)):
        assert "calibrated" not in from_checkpoint(tiny.network(other), tmp_path / "c.safetensors")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"c\.onnx is no checkpoint: expected \.safetensors, \.pkl or"):
        from_checkpoint(tiny.network(), tmp_path / "c.onnx")
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"a": np.zeros(1)}))
    with pytest.raises(ValueError, match=r"nothing in c\.pkl fits this network"):
        from_checkpoint(tiny.network(), tmp_path / "c.pkl")


def test_context_of_the_coarse_head_belongs_to_no_class(tmp_path: Path) -> None:
    """Of a class with another name nothing of the mask is copied, but what stands behind it is."""
    mask = PointRendConfig(conv_dim=8, fc_dim=32, point_dim=16, context=3)
    config = dataclasses.replace(tiny.CONFIG, mask=mask)
    given, fresh, found, _ = started(tmp_path, config, config, "cat", "dog bus")
    name = "mask_head.coarse.prediction.weight"
    assert torch.equal(found[name], torch.cat([fresh[name][: 2 * 49], given[name][49:]]))
    name = "mask_head.point.fc.1.weight"
    assert torch.equal(found[name][:, 16:18], fresh[name][:, 16:18])
    assert torch.equal(found[name][:, :16], given[name][:, :16])
    assert torch.equal(found[name][:, 18:], given[name][:, 17:])
