"""The native format: what is saved comes back, and every other file is refused with one clear line."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.checkpoints.checkpoint import FORMAT, Checkpoint, load, of_task, open_checkpoint, save
from model.checkpoints.detectron2.config import config_from_yaml
from model.checkpoints.errors import CheckpointError
from model.checkpoints.shapes import fit, network_shapes
from model.config.categories import COCO, numbered
from model.config.instance import MaskRCNNConfig
from model.config.network import Task
from model.config.presets import preset
from model.masks.palette import default_palette
from tests.model import tiny_semantic
from tests.paths import GOLDEN


def tiny_config() -> MaskRCNNConfig:
    return config_from_yaml(GOLDEN / "tiny_r50.yaml")


def random_tensors(config: MaskRCNNConfig) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in network_shapes(config).items()}


def small() -> Checkpoint:
    tensors = {"a.weight": torch.randn(3, 4), "a.bias": torch.full((4,), 1e6), "steps": torch.tensor(7)}
    return Checkpoint(preset("people"), numbered(1), tensors, {"data": "synthetic", "ap": "12.3"})


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    config = tiny_config()
    checkpoint = Checkpoint(config, numbered(5), random_tensors(config), {"licence": "CC0"})
    save(tmp_path / "c.safetensors", checkpoint)
    opened = open_checkpoint(tmp_path / "c.safetensors")
    assert (opened.config, opened.categories, opened.notes) == (config, numbered(5), {"licence": "CC0"})
    assert all(torch.equal(opened.tensors[name], t) for name, t in checkpoint.tensors.items())
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_who_may_read_a_file_is_up_to_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        save(tmp_path / "c.safetensors", small())
    finally:
        os.umask(before)
    assert (tmp_path / "c.safetensors").stat().st_mode & 0o777 == mode


def test_half_precision_halves_the_matrices_alone(tmp_path: Path) -> None:
    checkpoint = small()
    save(tmp_path / "c.safetensors", checkpoint, torch.float16)
    tensors = load(tmp_path / "c.safetensors").tensors
    assert tensors["a.weight"].dtype is torch.float32
    assert torch.equal(tensors["a.weight"], checkpoint.tensors["a.weight"].half().float())
    assert torch.equal(tensors["a.bias"], checkpoint.tensors["a.bias"])  # past float16's range
    assert torch.equal(tensors["steps"], torch.tensor(7))


def test_values_beyond_the_storage_type_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    checkpoint = dataclasses.replace(small(), tensors={"big": torch.full((2, 2), 1e5)})
    with pytest.raises(CheckpointError, match="big has values beyond"):
        save(tmp_path / "c.safetensors", checkpoint, torch.float16)
    assert not list(tmp_path.iterdir())


def test_shared_and_strided_tensors_of_a_network_are_saved_as_they_read(tmp_path: Path) -> None:
    transposed = torch.arange(6.0).view(2, 3).t()
    save(tmp_path / "c.safetensors", dataclasses.replace(small(), tensors={"t": transposed}))
    assert torch.equal(load(tmp_path / "c.safetensors").tensors["t"], transposed)


def test_categories_must_number_the_classes() -> None:
    with pytest.raises(CheckpointError, match="2 categories for a network of 1 classes"):
        Checkpoint(preset("people"), numbered(2), {})


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save(path, small())
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="c.safetensors is not a readable"):
            load(path)


def foreign(path: Path, **changes: str | None) -> None:
    save(path, small())
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    entries = {key: value for key, value in (metadata | changes).items() if value is not None}
    save_file({"a": torch.zeros(1)}, path, entries)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, f"something else: no '{FORMAT}'"),
        ({"format": "pt"}, f"something else: no '{FORMAT}'"),
        ({"version": "2"}, "version 2; this code reads up to 1"),
        ({"version": "new"}, "damaged format version 'new'"),
        ({"version": None}, "damaged format version ''"),
        ({"config": None}, "damaged metadata: 'config'"),
        ({"config": "{"}, "damaged metadata"),
        ({"config": "[]"}, "config is not a dict"),
        ({"config": '{"type": "ModelConfig", "depth": 3}'}, "unknown key network.depth"),
        ({"config": '{"type": "ModelConfig"}'}, "missing key network.backbone"),
        ({"categories": '[{"id": 1}]'}, "damaged metadata"),
        ({"categories": "[]"}, "0 categories"),
        ({"notes": "3"}, "notes is not a dict"),
        ({"notes": '{"epochs": 10}'}, "its notes are not all text"),
    ],
)
def test_foreign_and_newer_files_are_refused(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    foreign(tmp_path / "c.safetensors", **changes)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "c.safetensors")


def test_a_file_without_metadata_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="something else"):
        load(tmp_path / "c.safetensors")


def test_open_refuses_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint file .*absent.pkl"):
        open_checkpoint(tmp_path / "absent.pkl")
    (tmp_path / "c.onnx").touch()
    with pytest.raises(CheckpointError, match="c.onnx is no checkpoint: expected .safetensors, .pkl or .pth"):
        open_checkpoint(tmp_path / "c.onnx")
    with pytest.raises(CheckpointError, match="carries no configuration"):
        open_checkpoint(GOLDEN / "tiny_r50.pkl")


def test_open_fits_native_tensors_to_the_network(tmp_path: Path) -> None:
    config = tiny_config()
    tensors = random_tensors(config)
    del tensors["rpn.conv.bias"]
    save(tmp_path / "c.safetensors", Checkpoint(config, numbered(5), tensors))
    with pytest.raises(CheckpointError, match="missing: rpn.conv.bias$"):
        open_checkpoint(tmp_path / "c.safetensors")


def test_a_given_configuration_and_categories_replace_the_stored_ones(tmp_path: Path) -> None:
    config = tiny_config()
    save(tmp_path / "c.safetensors", Checkpoint(config, numbered(5), random_tensors(config)))
    stricter = dataclasses.replace(config, box=dataclasses.replace(config.box, score_threshold=0.7))
    opened = open_checkpoint(tmp_path / "c.safetensors", stricter, COCO[:5])
    assert (opened.config, opened.categories) == (stricter, COCO[:5])
    with pytest.raises(CheckpointError, match="do not fit"):
        open_checkpoint(tmp_path / "c.safetensors", config_from_yaml(GOLDEN / "tiny_conv.yaml"))


def test_fit_lists_every_kind_of_misfit_and_caps_the_lists() -> None:
    expected = {f"m{i}": (1,) for i in range(13)} | {"shape": (2, 3), "right": (4,)}
    tensors = {"shape": torch.zeros(3, 2), "right": torch.zeros(4), "odd": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        fit(tensors, expected)
    message = str(caught.value)
    assert "missing: m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 3 more;" in message
    assert "unexpected: odd;" in message
    assert message.endswith("of another shape: shape (3, 2) instead of (2, 3)")
    fit({"right": torch.zeros(4)}, {"right": torch.Size([4])})


def test_semantic_checkpoints_come_back_with_their_palette(tmp_path: Path) -> None:
    config, path = tiny_semantic.CONFIG, tmp_path / "c.safetensors"
    tensors = dict(tiny_semantic.network().state_dict())
    palette = ((1, 2, 3), (4, 5, 6), (255, 0, 9))
    save(path, Checkpoint(config, numbered(3), tensors, {"data": "camvid"}, palette))
    opened = of_task(open_checkpoint(path), "semantic")
    assert (opened.config, opened.categories, opened.palette) == (config, numbered(3), palette)
    assert opened.notes == {"data": "camvid"}
    assert all(torch.equal(opened.tensors[name], t) for name, t in tensors.items())


@pytest.mark.parametrize(("task", "other"), [("instance", "semantic"), ("semantic", "instance")])
def test_code_for_one_task_refuses_checkpoints_of_another(task: Task, other: Task) -> None:
    configs = {"instance": preset("people"), "semantic": tiny_semantic.CONFIG}
    checkpoint = Checkpoint(configs[task], numbered(configs[task].num_classes), {})
    assert of_task(checkpoint, task) is checkpoint
    with pytest.raises(
        CheckpointError, match="is a (Mask R-CNN|semantic .*), not a (Mask R-CNN|semantic .*)$"
    ):
        of_task(checkpoint, other)


def test_palettes_are_checked() -> None:
    config = tiny_semantic.CONFIG
    assert Checkpoint(config, numbered(3), {}).palette == default_palette(3)
    assert len(set(default_palette(255))) == 255
    assert Checkpoint(preset("people"), numbered(1), {}).palette == default_palette(1)
    with pytest.raises(CheckpointError, match="2 colours for 3 classes"):
        Checkpoint(config, numbered(3), {}, palette=((1, 2, 3), (4, 5, 6)))
