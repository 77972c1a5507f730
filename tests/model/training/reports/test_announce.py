"""What a training run says of its data and its plan."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.data import label_maps
from model.data.augment import Augmentation
from model.data.coco import load_coco
from model.data.instance_samples import InstanceTrainingSet
from model.training.instance import InstanceTraining
from model.training.instance_validation import InstanceValidation, open_validation
from model.training.recipe import InstanceRecipe
from model.training.reports import announce
from model.training.reports.data import describe_instances, describe_label_maps
from tests.model import label_files, tiny

CPU = torch.device("cpu")


def test_the_data_are_counted(tmp_path: Path) -> None:
    """Of five pictures one has boxes only, one is empty and one has nothing but a crowd."""
    file = tiny.write_data(tmp_path / "data", 5, box_only=[2])
    content = json.loads(file.read_text())
    kept = [a for a in content["annotations"] if a["image_id"] in (1, 2, 3)]
    crowd = content["annotations"][-1] | {"iscrowd": 1}
    content["annotations"] = [a for a in kept if a["category_id"] == 2] + [crowd]
    file.write_text(json.dumps(content))
    data = load_coco(file, file.parent)
    assert describe_instances([data], InstanceTrainingSet([data], Augmentation())) == [
        "data: 3 images with masks (1 of them without instances), 1 with boxes only, "
        "1 left out (no instance to train on)",
        "instances: 2 with masks, 1 with boxes only: bright 3; left out: crowds 1",
        "warning: not one instance of dark: the model cannot learn it",
    ]
    boxes = dataclasses.replace(data, records=data.records[1:2])
    assert "warning: not one instance has a mask, so the masks do not train" in describe_instances(
        [boxes], InstanceTrainingSet([boxes], Augmentation())
    )
    doubted = dataclasses.replace(data, remarks=("these boxes …",))
    assert "warning: these boxes …" in describe_instances(
        [doubted], InstanceTrainingSet([data], Augmentation())
    )


def test_the_plan_is_said(tmp_path: Path) -> None:
    plan = InstanceRecipe(steps=500, batch_size=4, warmup_steps=100)
    assert announce.plan(plan, 50, CPU, 0) == ["run: 500 steps of 4 images on cpu, 10 epochs of 50 steps"]
    (line,) = announce.plan(plan, 75, CPU, 200)
    assert line.endswith(" 6.67 epochs of 75 steps, going on after step 200")
    _, warning = announce.plan(dataclasses.replace(plan, warmup_steps=1000), 50, CPU, 0)
    assert warning.startswith("warning: the learning rate never reaches its peak")
    assert warning.endswith("--set warmup_steps=50")


def test_it_says_whether_and_when_it_measures(tmp_path: Path) -> None:
    file = tiny.write_data(tmp_path / "data", 3)
    data = load_coco(file, file.parent)

    def said(measured: InstanceValidation | None, every: int) -> list[str]:
        return InstanceTraining(tiny.network(), [data], tiny.RECIPE, measured).describe_validation(every)

    measured = open_validation(file, file.parent, data.categories)
    when = "every 50 steps and after the last one"
    assert said(measured, 50) == [f"validation: 3 images of {file}, {when}"]
    assert said(measured, 0) == [f"validation: 3 images of {file}, after the last step"]
    doubted = dataclasses.replace(
        measured, dataset=dataclasses.replace(measured.dataset, remarks=("boxes …",))
    )
    assert said(doubted, 0)[1:] == ["warning: boxes …"]
    (line,) = said(None, 50)
    assert "AP is not measured" in line and "--val-data FILE --val-images FOLDER" in line


def test_pixels_are_counted_from_label_maps_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = label_files.load(tmp_path)
    counts = np.bincount(np.concatenate([data.read(i)[1].ravel() for i in range(4)]), minlength=256)
    shares = [f"{count / counts.sum():.1%}" for count in counts[[0, 1, 2, 255]]]
    monkeypatch.setattr(label_maps, "read_rgb", None)
    assert describe_label_maps(data) == [
        "data: 4 images with label maps",
        f"pixels: ground {shares[0]}, disc {shares[1]}, bar {shares[2]}; ignored {shares[3]}",
    ]
    Image.new("L", (96, 64), 4).save(tmp_path / "labels/0.png")
    one = dataclasses.replace(data, pairs=data.pairs[:1])
    assert describe_label_maps(one)[2] == "warning: not one pixel of disc, bar: the model cannot learn it"
