"""What a training run says of its data and its plan."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from model.data.augment import Augmentation
from model.data.coco import load_coco
from model.data.instance_samples import InstanceTrainingSet
from model.training import announce
from model.training.recipe import InstanceRecipe
from model.training.validation import open_validation
from tests.model import tiny

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
    assert announce.data([data], InstanceTrainingSet([data], Augmentation())) == [
        "data: 3 images with masks (1 of them without instances), 1 with boxes only, "
        "1 left out (no instance to train on)",
        "instances: 2 with masks, 1 with boxes only, 1 left out (crowds and what has no area): bright 3",
        "warning: not one instance of dark: the model cannot learn it",
    ]
    boxes = dataclasses.replace(data, records=data.records[1:2])
    assert "warning: not one instance has a mask, so the masks do not train" in announce.data(
        [boxes], InstanceTrainingSet([boxes], Augmentation())
    )
    doubted = dataclasses.replace(data, doubt="these boxes …")
    assert "warning: these boxes …" in announce.data([doubted], InstanceTrainingSet([data], Augmentation()))


def test_the_plan_is_said(tmp_path: Path) -> None:
    plan = InstanceRecipe(steps=500, batch_size=4, warmup_steps=100)
    assert announce.run(plan, 50, CPU, 0) == ["run: 500 steps of 4 images on cpu, 10 epochs of 50 steps"]
    (line,) = announce.run(plan, 75, CPU, 200)
    assert line.endswith(" 6.67 epochs of 75 steps, going on after step 200")
    _, warning = announce.run(dataclasses.replace(plan, warmup_steps=1000), 50, CPU, 0)
    assert warning.startswith("warning: the learning rate never reaches its peak")
    assert warning.endswith("--set warmup_steps=50")


def test_it_says_whether_and_when_it_measures(tmp_path: Path) -> None:
    file = tiny.write_data(tmp_path / "data", 3)
    measured = open_validation(file, file.parent, load_coco(file, file.parent).categories)
    when = "every 50 steps and after the last one"
    assert announce.validation(measured, 50) == [f"validation: 3 images of {file}, {when}"]
    assert announce.validation(measured, 0) == [f"validation: 3 images of {file}, after the last step"]
    doubted = dataclasses.replace(measured, dataset=dataclasses.replace(measured.dataset, doubt="boxes …"))
    assert announce.validation(doubted, 0)[1:] == ["warning: boxes …"]
    (line,) = announce.validation(None, 50)
    assert "AP is not measured" in line and "--val-data FILE --val-images FOLDER" in line
