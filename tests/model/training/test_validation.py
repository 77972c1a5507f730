"""Measuring while training: the same figures as `evaluate`, and not a bit of the training changed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from model.checkpoints.checkpoint import Checkpoint, open_checkpoint
from model.config.parts import TimmConfig
from model.data.coco import CocoDataset, load_coco
from model.data.fields import DataError
from model.evaluation.coco_ap import HEADLINE, average_precision
from model.evaluation.instance import match_classes, predict
from model.networks.mask_rcnn import MaskRCNN
from model.predict.instance import InstanceOptions
from model.training import instance_validation
from model.training.instance import InstanceTraining, open_instance_task
from model.training.instance_validation import measure_instances, open_validation
from model.training.loop import evaluating, train
from model.training.reports.log import read_lines
from model.training.reports.validation import record
from model.training.task import TrainingFiles
from tests.model import tiny


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_data(tmp_path_factory.mktemp("discs") / "data", 3)


@pytest.fixture(scope="module")
def data(file: Path) -> CocoDataset:
    return load_coco(file, file.parent)


def changed(file: Path, name: str, **parts: Any) -> Path:
    other = file.with_name(name)
    other.write_text(json.dumps(json.loads(file.read_text()) | parts))
    return other


def saved(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(out / "last.pt", weights_only=True)
    return found


NORMS = dataclasses.replace(tiny.CONFIG, fpn=dataclasses.replace(tiny.CONFIG.fpn, norm=True))
PLAN = dataclasses.replace(tiny.RECIPE, steps=5, ema=0.9)


@pytest.fixture(scope="module")
def measured(file: Path, data: CocoDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five steps with norms that train, measured after steps 2, 4 and 5."""
    out = tmp_path_factory.mktemp("measured")
    validation = open_validation(file, file.parent, data.categories)
    train(InstanceTraining(tiny.network(NORMS), [data], PLAN, validation), out, workers=0, validate_every=2)
    return out


def test_a_measured_run_trains_as_any_other(measured: Path, data: CocoDataset, tmp_path: Path) -> None:
    train(InstanceTraining(tiny.network(NORMS), [data], PLAN), tmp_path, workers=0, validate_every=0)
    one, other = saved(measured), saved(tmp_path)
    for part in ("network", "average"):
        for name, tensor in one[part].items():
            assert torch.equal(tensor, other[part][name]), name
    assert not (tmp_path / "validation.jsonl").exists() and not (tmp_path / "pictures").exists()


def test_what_a_measured_run_leaves(measured: Path) -> None:
    lines = read_lines(measured / "validation.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert [line["epoch"] for line in lines] == [1, 2, 2.5]
    assert len(lines[0]) == 20 and lines[0]["box/APl"] is None and lines[0]["box/AP"] >= 0
    pictures = sorted(measured.glob("pictures/*"))
    assert [path.name for path in pictures] == ["step_000002.jpg", "step_000004.jpg", "step_000005.jpg"]
    for path in (*pictures, measured / "curves.png"):
        with Image.open(path) as drawn:
            assert drawn.width > 800


def test_the_figures_are_those_of_the_exported_weights(measured: Path, file: Path, data: CocoDataset) -> None:
    opened, state = open_checkpoint(measured / "model.safetensors"), saved(measured)
    for name, tensor in state["average"].items():
        torch.testing.assert_close(opened.tensors[name], tensor, atol=1e-4, rtol=1e-3)
    whole = Checkpoint(opened.config, opened.categories, state["average"])  # not rounded to half precision
    found = predict(whole, data, match_classes(whole, data.categories), InstanceOptions())
    metrics = average_precision(file, found.entries, found.category_ids, found.image_ids)
    last = read_lines(measured / "validation.jsonl")[-1]
    assert {name: last[name] for name in metrics} == {
        name: None if value != value else round(value, 5) for name, value in metrics.items()
    }


def test_one_line_says_it(file: Path, data: CocoDataset, tmp_path: Path) -> None:
    """Also where nothing can be measured of masks, and with other ids than the network's."""
    content = json.loads(file.read_text())
    boxes = [
        {k: v for k, v in a.items() if k != "segmentation"} | {"category_id": 9 - a["category_id"]}
        for a in content["annotations"]
    ]
    categories = [{"id": 8, "name": "dark"}, {"id": 7, "name": "bright"}]
    other = changed(file, "boxes.json", annotations=boxes, categories=categories)
    validation = open_validation(other, file.parent, data.categories)
    assert [c.id for c in validation.categories] == [8, 7]
    network = tiny.network().eval()
    said = record(tmp_path, 12, 3.25, measure_instances(network, validation), HEADLINE)
    assert said.startswith("step 12, epoch 3.2: box AP 0.") and said.endswith(", mask AP –, boundary AP –")
    (line,) = read_lines(tmp_path / "validation.jsonl")
    assert line["mask/AP"] is None and line["box/AP"] is not None


def test_a_resumed_run_drops_what_was_measured_beyond_its_state(
    file: Path, data: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = open_validation(file, file.parent, data.categories)
    monkeypatch.setattr(instance_validation, "coco_results", lambda *_: [])
    short = dataclasses.replace(PLAN, steps=2)
    first = InstanceTraining(tiny.network(), [data], short, validation)
    train(first, tmp_path, workers=0, validate_every=1)
    with (tmp_path / "validation.jsonl").open("a") as lines:
        lines.write('{"step": 3}\n{"st')
    longer = dataclasses.replace(PLAN, steps=3)
    second = InstanceTraining(tiny.network(), [data], longer, validation)
    train(second, tmp_path, resume=True, workers=0, validate_every=1)
    found = read_lines(tmp_path / "validation.jsonl")
    assert [line["step"] for line in found] == [1, 2, 3] and len(found[2]) == 20


def test_modes_come_back_as_they_were() -> None:
    config = dataclasses.replace(tiny.CONFIG, backbone=TimmConfig("tf_efficientnet_lite0"), fpn=NORMS.fpn)
    network = MaskRCNN(config).train()
    before = [part.training for part in network.modules()]
    assert {True, False} == set(before)  # the trunk's norms never train
    with pytest.raises(KeyError), evaluating(network):
        assert not any(part.training for part in network.modules())
        raise KeyError
    assert [part.training for part in network.modules()] == before


def test_validation_data_must_have_the_same_categories_and_instances(file: Path, data: CocoDataset) -> None:
    names = {
        "it lacks dark, it has besides light": ["light", "bright"],
        "it lacks dark": ["bright"],
        "it has besides grey": ["dark", "bright", "grey"],
    }
    for says, given in names.items():
        categories = [{"id": i, "name": name} for i, name in enumerate(given, 1)]
        box = {"image_id": 1, "bbox": [1, 2, 30, 40]}
        annotations = [box | {"id": i, "category_id": i} for i in range(1, len(given) + 1)]
        other = changed(file, "other.json", categories=categories, annotations=annotations)
        with pytest.raises(DataError) as raised:
            open_validation(other, file.parent, data.categories)
        assert str(raised.value) == f"{other}: other categories than the training data: {says}"
    empty = changed(file, "empty.json", annotations=[])
    with pytest.raises(DataError, match=r"empty\.json: nothing to measure on.*: nothing is annotated"):
        open_validation(empty, file.parent, data.categories)


def test_validation_measures_the_classes_that_training_uses(file: Path, data: CocoDataset) -> None:
    """What no annotation uses is no class; what only the validation data use is not measured, which is said."""
    categories = [{"id": 0, "name": "things"}, *json.loads(file.read_text())["categories"]]
    unused = changed(file, "unused.json", categories=categories)
    network = tiny.network()
    found = open_instance_task(
        network.config, tiny.RECIPE, TrainingFiles([(unused, file.parent)], unused, file.parent)
    )
    assert found.categories == data.categories and found.network.config.num_classes == 2
    assert "left out: things (id 0)" in "".join(found.describe_data())
    assert not [line for line in found.describe_validation(0) if line.startswith("warning")]

    annotations = json.loads(file.read_text())["annotations"]
    only_dark = changed(file, "dark.json", annotations=[a for a in annotations if a["category_id"] == 1])
    task = open_instance_task(
        network.config, tiny.RECIPE, TrainingFiles([(only_dark, file.parent)], file, file.parent)
    )
    assert [c.name for c in task.categories] == ["dark"]
    assert task.describe_validation(0)[-1] == (
        "warning: not measured, because the training data have none: bright"
    )
    measured = task.measure(task.network.eval())
    assert measured.metrics["box/AP"] >= 0
