"""The training loop on six made-up pictures: it learns, logs, and stops with a reason."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.checkpoints.checkpoint import open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.instance import MaskRCNNConfig
from model.config.parts import TimmConfig
from model.data.coco import CocoDataset, load_coco
from model.data.fields import DataError
from model.data.instance_samples import InstanceTrainingSet, collate_instances
from model.networks.build import build_network
from model.networks.mask_rcnn import MaskRCNN
from model.predict.instance import InstanceOptions
from model.predict.preprocess import network_input
from model.training.distributed import Process
from model.training.errors import LossNotFinite, TrainingError
from model.training.instance import InstanceTraining, InstanceTrainingStep
from model.training.loop import train
from model.training.losses.instance import instance_losses
from model.training.optimizer import lr_factor
from model.training.recipe import InstanceRecipe
from tests.model import tiny


def run(
    data: CocoDataset, recipe: InstanceRecipe, out: Path, network: MaskRCNN | None = None, **more: Any
) -> Path:
    path = train(InstanceTraining(network or tiny.network(), [data], recipe), out, **{"workers": 0} | more)
    assert path is not None
    return path


@pytest.mark.parametrize("freeze", [False, True])
def test_frozen_norms_keep_their_statistics_and_train_their_scale(
    data: CocoDataset, tmp_path: Path, freeze: bool
) -> None:
    network = tiny.network(
        dataclasses.replace(tiny.CONFIG, fpn=dataclasses.replace(tiny.CONFIG.fpn, norm=True))
    )
    norm = network.backbone.fpn.output[0][1]
    mean, scale = norm.running_mean.clone(), norm.weight.detach().clone()
    plan = dataclasses.replace(tiny.RECIPE, steps=2, freeze_norms=freeze, empty_images=True)
    run(data, plan, tmp_path, network)
    assert torch.equal(norm.running_mean, mean) == freeze
    assert not torch.equal(norm.weight, scale)


DETECTOR = ("rpn.", "box_head.")
# By what trains: the tensors outside of the trunk that change, by the begin of their names.
CHANGED = {
    ("masks", tiny.CONFIG): ("backbone.fpn.lateral.", "backbone.fpn.output.0.", "mask_head."),
    ("mask_head", tiny.CONFIG): ("mask_head.",),
    ("mask_head", tiny.CONV): ("mask_head.",),
    ("detector", tiny.CONFIG): (*(f"backbone.fpn.output.{i}." for i in (1, 2, 3)), *DETECTOR),
    ("detector", tiny.CONV): DETECTOR,
}


@pytest.mark.parametrize(("trains", "config"), CHANGED)
def test_a_part_trains_and_the_rest_stays_bit_by_bit(
    trains: Any, config: MaskRCNNConfig, data: CocoDataset, tmp_path: Path
) -> None:
    with_norm = dataclasses.replace(config, fpn=dataclasses.replace(config.fpn, norm=True))
    network = tiny.network(with_norm)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plan = dataclasses.replace(tiny.RECIPE, trains=trains, steps=2)
    run(data, plan, tmp_path, network)
    changed = {name for name, tensor in network.state_dict().items() if not tensor.equal(before[name])}
    in_trunk = {name for name in changed if name.startswith("backbone.trunk.")}
    assert bool(in_trunk) == (trains == "masks")
    assert changed - in_trunk == {name for name in before if name.startswith(CHANGED[trains, config])}


def test_a_mask_head_alone_sees_images_with_masks_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = dataclasses.replace(tiny.RECIPE, trains="mask_head", empty_images=True, box_only_every=1, steps=1)
    file = tiny.write_data(tmp_path / "mixed", 4, box_only=[1, 2])
    mixed = load_coco(file, file.parent)
    run(mixed, plan, tmp_path / "run")
    said = capsys.readouterr().out
    assert (
        "data: 2 images with masks, 0 with boxes only, 2 left out" in said
        and "trains=mask_head: only the mask head trains" in said
    )
    file = tiny.write_data(tmp_path / "boxes", 2, box_only=[1, 2])
    with pytest.raises(TrainingError, match="not one instance has a mask"):
        InstanceTraining(tiny.network(), [load_coco(file, file.parent)], plan)


def test_a_dice_loss_is_refused_for_a_head_that_has_none(data: CocoDataset) -> None:
    sampling = dataclasses.replace(tiny.RECIPE.sampling, dice_weight=0.5)
    with pytest.raises(TrainingError, match="sampling.dice_weight: a 4×conv head has no Dice loss"):
        InstanceTraining(tiny.network(tiny.CONV), [data], dataclasses.replace(tiny.RECIPE, sampling=sampling))


def test_depthwise_filters_stay_if_asked(data: CocoDataset, tmp_path: Path) -> None:
    """Of a trunk with such convolutions; all else of it trains."""
    network = tiny.network(dataclasses.replace(tiny.CONFIG, backbone=TimmConfig("test_efficientnet", 0)))
    before = {n: p.detach().clone() for n, p in network.backbone.trunk.named_parameters()}
    run(data, dataclasses.replace(tiny.RECIPE, steps=1, freeze_depthwise=True), tmp_path, network)
    stay = {n for n, p in network.backbone.trunk.named_parameters() if torch.equal(p, before[n])}
    assert stay == {n for n in before if "conv_dw" in n} != set()


def test_mask_losses_may_weigh_more(data: CocoDataset) -> None:
    batch = collate_instances([InstanceTrainingSet([data], tiny.RECIPE.augmentation)[i] for i in range(2)])
    images, sizes = network_input(batch.images, tiny.CONFIG.preprocessing)
    network, found = tiny.network(), []
    for weight in (1.0, 2.5):
        step = InstanceTrainingStep(network, dataclasses.replace(tiny.RECIPE, mask_weight=weight))
        found.append(step(images, sizes, batch.targets, torch.Generator().manual_seed(0)))
    for name, value in found[0].items():
        factor = 2.5 if name in ("mask_coarse", "mask_point") else 1.0
        torch.testing.assert_close(found[1][name], value * factor)
    assert len(found[0]) == 6


LEARN = dataclasses.replace(tiny.RECIPE, steps=40, warmup_steps=5, schedule="cosine")


@pytest.fixture(scope="module")
def trained(data: CocoDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "new" / "run"
    run(data, LEARN, out, notes={"data": "discs"})
    return out


def test_training_lowers_the_loss(trained: Path, data: CocoDataset) -> None:
    """Measured anew, on fixed batches and draws: the log's means lag behind."""
    batch = collate_instances([InstanceTrainingSet([data], tiny.RECIPE.augmentation)[i] for i in range(6)])
    opened = open_checkpoint(trained / "model.safetensors")
    totals = []
    for network in (tiny.network(), build_network(opened.config, opened.tensors)):
        inputs = network_input(batch.images, tiny.CONFIG.preprocessing)
        with torch.no_grad():
            found = instance_losses(
                network.train(), *inputs, batch.targets, tiny.SAMPLING, torch.Generator().manual_seed(0)
            )
        totals.append(sum(value.item() for value in found.values()))
    assert totals[1] < 0.7 * totals[0]


def test_a_run_leaves_its_recipe_and_its_log(trained: Path) -> None:
    assert sorted(p.name for p in trained.iterdir()) == [
        *("curves.png", "last.pt", "log.jsonl", "model.safetensors", "recipe.json")
    ]
    written = json.loads((trained / "recipe.json").read_text())
    assert written["steps"] == 40 and written["sampling"]["points"] == 20
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40]
    assert set(lines[0]) == {
        *("step", "lr", "images_per_second", "rpn_objectness", "rpn_box", "box_class", "box_regression"),
        *("mask_coarse", "mask_point"),
    }
    rates = [LEARN.lr * lr_factor(step, LEARN) for step in (19, 39)]
    assert [line["lr"] for line in lines] == pytest.approx(rates)
    assert all(np.isfinite(list(line.values())).all() for line in lines)


def test_the_checkpoint_predicts(trained: Path, file: Path) -> None:
    opened = open_checkpoint(trained / "model.safetensors")
    assert opened.config == tiny.CONFIG and opened.notes == {"data": "discs"}
    assert [(c.id, c.name) for c in opened.categories] == [(1, "dark"), (2, "bright")]
    image = np.asarray(Image.open(file.parent / "1.png"))
    assert opened.config.task == "instance"
    found = eager_predictor(opened)(image, InstanceOptions(score=0.0, resolution=28))
    assert found.renders and all(render.done for render in found.renders)


@pytest.mark.parametrize("box_only", [(3, 4), (1, 2, 3, 4)])
def test_box_only_pictures_train_along_and_alone(
    box_only: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tiny.write_data(tmp_path / "data", 4, box_only=box_only)
    run(load_coco(file, file.parent), dataclasses.replace(tiny.RECIPE, steps=2), tmp_path / "out")
    (line,) = (tmp_path / "out" / "log.jsonl").read_text().splitlines()  # the last step is logged
    found = json.loads(line)
    assert found["step"] == 2 and found["box_class"] > 0
    assert (found["mask_coarse"] > 0) == (len(box_only) < 4)
    counts = f"{4 - len(box_only)} images with masks, {len(box_only)} with boxes only"
    assert counts in capsys.readouterr().out


def test_published_recipes_leave_out_empty_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tiny.write_data(tmp_path / "data", 3)
    content = json.loads(file.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 2]
    file.write_text(json.dumps(content))
    counts = {
        False: "2 images with masks, 0 with boxes only, 1 left out (no instance to train on)\n",
        True: "3 images with masks (1 of them without instances), 0 with boxes only\n",
    }
    for empty, said in counts.items():
        plan = dataclasses.replace(tiny.RECIPE, steps=1, empty_images=empty)
        run(load_coco(file, file.parent), plan, tmp_path / f"out{empty}")
        assert said in capsys.readouterr().out


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_later_is_named_in_one_line(workers: int, tmp_path: Path) -> None:
    """Its header is whole, so that only decoding fails: perhaps in a worker, whose traceback is left out."""
    file = tiny.write_data(tmp_path / "data", 1)
    data, picture = load_coco(file, file.parent), file.parent / "1.png"
    picture.write_bytes(picture.read_bytes()[:500])
    with pytest.raises(DataError) as raised:
        run(data, tiny.RECIPE, tmp_path / "out", workers=workers)
    message = str(raised.value)
    assert message.startswith(f"image 1 ({picture}): ") and "\n" not in message


def test_a_loss_that_is_not_finite_stops_the_run(data: CocoDataset, tmp_path: Path) -> None:
    network = tiny.network()
    with torch.no_grad():
        network.box_head.cls_score.bias.fill_(float("nan"))
    with pytest.raises(LossNotFinite, match=r"not finite at step 0 \(.*box_class nan.*lower learning rate"):
        run(data, tiny.RECIPE, tmp_path, network)
    assert not (tmp_path / "last.pt").exists()


def test_a_diverging_run_stops_with_its_reason(data: CocoDataset, tmp_path: Path) -> None:
    """Boxes that are not numbers never reach native code, which would read out of bounds."""
    plan = dataclasses.replace(tiny.RECIPE, optimizer="sgd", lr=1e12, clip_norm=0.0, steps=5)
    with pytest.raises(LossNotFinite, match="the loss is not finite at step"):
        run(data, plan, tmp_path)


def test_batches_must_divide_among_processes(data: CocoDataset, tmp_path: Path) -> None:
    task = InstanceTraining(tiny.network(), [data], tiny.RECIPE)
    with pytest.raises(TrainingError, match="batch size 2 does not divide by 3"):
        task.batches(Process(0, 3), 0, 0)
