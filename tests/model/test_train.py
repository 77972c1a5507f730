"""The training loop on six made-up pictures: it learns, resumes, logs, and stops with a reason."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from model import train as training
from model.checkpoint import open_checkpoint
from model.coco import CocoDataset, load_coco
from model.config import PRESETS
from model.data import TrainDataset, collate
from model.losses import losses
from model.predict import Options, Predictor
from model.preprocess import network_input
from model.rcnn import build
from model.recipe import Recipe, recipe
from model.train import TrainingError, lr_factor, optimizer, train
from tests.model import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_data(tmp_path_factory.mktemp("discs") / "data")


@pytest.fixture(scope="module")
def data(file: Path) -> CocoDataset:
    return load_coco(file, file.parent)


def run(data: CocoDataset, recipe: Recipe, out: Path, **more: object) -> Path:
    path = train(tiny.network(), [data], recipe, out, workers=0, **more)  # type: ignore[arg-type]
    assert path is not None
    return path


# Rates


def test_warm_up_is_linear_from_its_factor() -> None:
    plan = Recipe(steps=1000, warmup_steps=100, warmup_factor=0.1)
    assert lr_factor(0, plan) == pytest.approx(0.1)
    assert lr_factor(50, plan) == pytest.approx(0.55)
    assert lr_factor(100, plan) == lr_factor(600, plan) == 1
    assert lr_factor(0, dataclasses.replace(plan, warmup_steps=0)) == 1


def test_steps_fall_to_a_tenth_at_each_milestone() -> None:
    plan = Recipe(steps=900, warmup_steps=0, milestones=(2 / 3, 8 / 9))
    assert [lr_factor(s, plan) for s in (599, 600, 799, 800, 899)] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_the_published_schedule() -> None:
    found = [lr_factor(s, recipe("pointrend_rcnn_r50_fpn")) for s in (0, 1000, 59_999, 60_000, 80_000)]
    assert found == pytest.approx([0.001, 1, 1, 0.1, 0.01])


def test_cosine_ends_at_zero_and_multiplies_the_warm_up() -> None:
    plan = Recipe(steps=200, warmup_steps=100, warmup_factor=0, schedule="cosine")
    assert [lr_factor(s, plan) for s in (100, 200, 300)] == pytest.approx([0.5, 0, 0])
    assert lr_factor(50, plan) == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi / 4)))


def test_every_preset_has_a_recipe() -> None:
    assert all(recipe(name).steps > 0 for name in PRESETS)
    assert recipe("people") == recipe("mask_rcnn_people") != recipe("mask_rcnn_r50_fpn")


def test_norms_do_not_decay_and_the_trunk_has_its_own_rate() -> None:
    config = dataclasses.replace(tiny.CONFIG, fpn=dataclasses.replace(tiny.CONFIG.fpn, norm=True))
    network = tiny.network(config)
    groups = optimizer(network, Recipe(lr=0.1, backbone_lr=0.5, weight_decay=0.3)).param_groups
    settings = {
        id(p): (group["lr"], group["weight_decay"], group["base_lr"])
        for group in groups
        for p in group["params"]
    }
    trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert set(settings) == {id(p) for p in trainable.values()}
    assert not any(name.startswith(("backbone.trunk.stem", "backbone.trunk.res2")) for name in trainable)
    assert settings[id(network.backbone.fpn.lateral[0][1].weight)] == (0.1, 0.0, 0.1)
    assert settings[id(network.backbone.trunk.res3[0].conv1.conv.weight)] == (0.05, 0.3, 0.05)
    assert settings[id(network.rpn.conv.bias)] == (0.1, 0.3, 0.1)


# Runs

LEARN = dataclasses.replace(tiny.RECIPE, steps=40, warmup_steps=5, schedule="cosine")


@pytest.fixture(scope="module")
def trained(data: CocoDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "new" / "run"
    run(data, LEARN, out, notes={"data": "discs"})
    return out


def test_training_lowers_the_loss(trained: Path, data: CocoDataset) -> None:
    """Measured anew, on fixed batches and draws: the log's means lag behind."""
    batch = collate([TrainDataset([data], tiny.RECIPE.augmentation)[i] for i in range(6)])
    opened = open_checkpoint(trained / "model.safetensors")
    totals = []
    for network in (tiny.network(), build(opened.config, opened.tensors)):
        inputs = network_input(batch.images, tiny.CONFIG.preprocessing)
        with torch.no_grad():
            found = losses(
                network.train(), *inputs, batch.targets, tiny.SAMPLING, torch.Generator().manual_seed(0)
            )
        totals.append(sum(value.item() for value in found.values()))
    assert totals[1] < 0.7 * totals[0]


def test_a_run_leaves_its_recipe_and_its_log(trained: Path) -> None:
    assert sorted(p.name for p in trained.iterdir()) == [
        *("last.pt", "log.jsonl", "model.safetensors", "recipe.json")
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


def test_the_checkpoint_predicts(trained: Path) -> None:
    opened = open_checkpoint(trained / "model.safetensors")
    assert opened.config == tiny.CONFIG and opened.notes == {"data": "discs"}
    assert [(c.id, c.name) for c in opened.categories] == [(1, "dark"), (2, "bright")]
    image = np.full((64, 64, 3), 128, np.uint8)
    regions = Predictor.eager(opened)(image, Options(score=0.0, resolution=28))
    assert all(r.render.done for r in regions)


def state(out: Path) -> dict[str, object]:
    found: dict[str, object] = torch.load(out / "last.pt", weights_only=True)
    return found


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_resumed_run_is_an_uninterrupted_one(
    kind: str, data: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its third of six steps, and gone on with by a network of other weights."""
    plan = dataclasses.replace(tiny.RECIPE, optimizer=kind)  # type: ignore[arg-type]
    run(data, plan, tmp_path / "straight")

    with monkeypatch.context() as patch:
        store = training._store

        def killed(*args: object) -> None:
            store(*args)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        patch.setattr(training, "_store", killed)
        with pytest.raises(KeyboardInterrupt):
            run(data, plan, tmp_path / "resumed", checkpoint_every=3)
    assert state(tmp_path / "resumed")["step"] == 3
    assert not (tmp_path / "resumed" / "model.safetensors").exists()
    train(tiny.network(seed=7), [data], plan, tmp_path / "resumed", workers=0, resume=True)
    one, other = state(tmp_path / "straight"), state(tmp_path / "resumed")
    assert one["step"] == other["step"] == 6
    for name, tensor in one["network"].items():  # type: ignore[attr-defined]
        torch.testing.assert_close(other["network"][name], tensor, atol=1e-6, rtol=1e-5, msg=name)  # type: ignore[index]
    torch.testing.assert_close(other["optimizer"], one["optimizer"], atol=1e-6, rtol=1e-4)


def test_resuming_without_a_state_starts_anew(data: CocoDataset, tmp_path: Path) -> None:
    run(data, dataclasses.replace(tiny.RECIPE, steps=1), tmp_path, resume=True)
    assert state(tmp_path)["step"] == 1


def test_box_only_pictures_train_along(tmp_path: Path) -> None:
    file = tiny.write_data(tmp_path / "data", 4, box_only=(3, 4))
    run(load_coco(file, file.parent), dataclasses.replace(tiny.RECIPE, steps=2), tmp_path / "out")
    assert state(tmp_path / "out")["step"] == 2


def test_a_loss_that_is_not_finite_stops_the_run(data: CocoDataset, tmp_path: Path) -> None:
    network = tiny.network()
    with torch.no_grad():
        network.box_head.cls_score.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"not finite at step 0 \(.*box_class nan.*lower learning rate"):
        train(network, [data], tiny.RECIPE, tmp_path, workers=0)
    assert not (tmp_path / "last.pt").exists()


DIVERGE = """
import dataclasses, sys
from pathlib import Path
from model.coco import load_coco
from model.train import TrainingError, train
from tests.model import tiny

file, out = map(Path, sys.argv[1:])
plan = dataclasses.replace(tiny.RECIPE, optimizer="sgd", lr=1e12, clip_norm=0.0, steps=5)
try:
    train(tiny.network(), [load_coco(file, file.parent)], plan, out, workers=0)
except TrainingError as error:
    print(error)
"""


def test_a_diverging_run_stops_with_its_reason(file: Path, tmp_path: Path) -> None:
    """In a process of its own: boxes that are not numbers must not reach native code."""
    done = subprocess.run(
        [sys.executable, "-c", DIVERGE, str(file), str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    assert "the loss is not finite at step" in done.stdout


def test_batches_must_divide_among_processes(data: CocoDataset, tmp_path: Path) -> None:
    dataset = TrainDataset([data], tiny.RECIPE.augmentation)
    with pytest.raises(TrainingError, match="batch size 2 does not divide by 3"):
        training._batches(dataset, tiny.RECIPE, training.Process(0, 3), 0, 0)


# Command line


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run `python -m model` here; returns what it exits with."""
    monkeypatch.setattr(sys, "argv", ["model", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("model", run_name="__main__")
    return str(stopped.value.code)


def test_data_and_images_must_pair_up(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("train", "--data", file, "--data", file, "--images", file.parent, "--out", tmp_path / "out")
    assert command(monkeypatch, *arguments) == (
        "error: 2 --data but 1 --images: give one folder for each file"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--preset": "resnet"}, "error: no preset 'resnet'; there are: .*people"),
        ({"--data": "/nowhere.json"}, "error: .*nowhere.json"),
        ({"--start-from": "/nowhere.safetensors"}, "error: .*nowhere.safetensors"),
        ({"--backbone-weights": "/nowhere.pth"}, "error: .*nowhere.pth"),
        ({"--batch-size": "0"}, "error: impossible: batch_size=0"),
    ],
)
def test_mistakes_end_in_one_line(
    changes: dict[str, str], message: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"--data": str(file), "--images": str(file.parent), "--out": str(tmp_path / "out")} | changes
    found = command(monkeypatch, "train", *(part for pair in given.items() for part in pair))
    assert re.match(message, found) and "\n" not in found


def test_missing_pictures_are_listed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--data", file, "--images", tmp_path / "nowhere", "--out", tmp_path / "out")
    found = command(monkeypatch, "train", *arguments)
    assert found.startswith(f"error: {file}: ") and f"no file {tmp_path / 'nowhere' / '1.png'}" in found


@pytest.mark.slow
def test_two_processes_train_together(file: Path, tmp_path: Path) -> None:
    """Two gloo processes, two steps of the people preset."""
    arguments = ["--data", file, "--images", file.parent, "--out", tmp_path / "out", "--steps", 2]
    arguments += ["--batch-size", 2, "--workers", 0, "--preset", "people"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    done = subprocess.run(
        [str(part) for part in (*launch, "-m", "model", "train", *arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "evaluate it with" in done.stdout
    assert state(tmp_path / "out")["step"] == 2
    assert open_checkpoint(tmp_path / "out" / "model.safetensors").config.num_classes == 2
