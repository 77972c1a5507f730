"""Runs that stop and go on: the same run as an uninterrupted one, or one line that says why not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.config.categories import Category
from model.data.coco import CocoDataset
from model.networks.mask_rcnn import MaskRCNN
from model.training import loop
from model.training.errors import TrainingError
from model.training.instance import InstanceTraining
from model.training.loop import train
from model.training.optimizer import lr_factor, optimizer, rates
from model.training.recipe import InstanceRecipe
from model.training.reports.log import Log
from model.training.state import restore, store
from tests.model import tiny

ONE_STEP = dataclasses.replace(tiny.RECIPE, steps=1)
CLASSES = (Category(1, "dark"), Category(2, "bright"))


def saved(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(out / "last.pt", weights_only=True)
    return found


def noisy(seed: int = 0) -> MaskRCNN:
    """Draws from torch's global generator, as dropout in a timm trunk does."""

    def drop(_: object, __: object, pyramid: list[Tensor]) -> list[Tensor]:
        return [F.dropout(features, 0.1) for features in pyramid]

    network = tiny.network(seed=seed)
    network.backbone.register_forward_hook(drop)
    return network


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_resumed_run_is_an_uninterrupted_one(
    kind: str, data: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its third of six steps, and gone on with by a network of other weights."""
    plan = dataclasses.replace(tiny.RECIPE, optimizer=kind)  # type: ignore[arg-type]
    train(InstanceTraining(noisy(), [data], plan), tmp_path / "straight", workers=0)

    def killed(*state: Any) -> None:
        store(*state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "store", killed)
        with pytest.raises(KeyboardInterrupt):
            train(
                InstanceTraining(noisy(), [data], plan), tmp_path / "resumed", workers=0, checkpoint_every=3
            )
    assert saved(tmp_path / "resumed")["step"] == 3
    assert not (tmp_path / "resumed" / "model.safetensors").exists()
    with (tmp_path / "resumed" / "log.jsonl").open("a") as log:
        log.write('{"step": 5}\n{"step"')  # past the state, and cut off
    train(InstanceTraining(noisy(seed=7), [data], plan), tmp_path / "resumed", workers=0, resume=True)
    one, other = saved(tmp_path / "straight"), saved(tmp_path / "resumed")
    assert one["step"] == other["step"] == 6
    for name, tensor in one["network"].items():
        torch.testing.assert_close(other["network"][name], tensor, atol=1e-6, rtol=1e-5, msg=name)
    torch.testing.assert_close(other["optimizer"], one["optimizer"], atol=1e-6, rtol=1e-4)
    (line,) = (tmp_path / "resumed" / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 6


def test_resuming_without_a_state_says_so_and_starts_anew(
    data: CocoDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(InstanceTraining(tiny.network(), [data], ONE_STEP), tmp_path, workers=0, resume=True)
    assert saved(tmp_path)["step"] == 1
    assert f"there is no {tmp_path / 'last.pt'} to resume from: starting anew" in capsys.readouterr().out


def test_a_run_is_not_overwritten(data: CocoDataset, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"precious")
    with pytest.raises(TrainingError, match=r"last\.pt is there already: add --resume .*another folder"):
        train(InstanceTraining(tiny.network(), [data], ONE_STEP), tmp_path, workers=0)
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert (tmp_path / "last.pt").read_bytes() == b"precious"


def test_the_log_is_cut_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 20}\n{"step": 40}\n{"step": 60}\n{"st')
    log = Log(path, 40, batch_size=2)
    assert log.add({"a": 1.0, "b": 2.0}) == 3
    log.write(43, 0.1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 43]
    assert lines[-1]["images_per_second"] > 0 and lines[-1]["b"] == 2


def write_state(out: Path, plan: InstanceRecipe = ONE_STEP, *without: str) -> Path:
    """As a run leaves it after a step of zero gradients."""
    network, path = tiny.network(), out / "last.pt"
    optimiser = optimizer(network, plan)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    store(path, network, CLASSES, optimiser, 17)
    torch.save({key: value for key, value in saved(out).items() if key not in without}, path)
    return path


@pytest.mark.parametrize("more", [{"backbone_lr": 0.5, "weight_decay": 0.3}, {"weight_decay": 0.0}])
def test_the_given_rates_count(more: dict[str, float], tmp_path: Path) -> None:
    path = write_state(tmp_path)
    network = tiny.network()
    optimiser = optimizer(network, dataclasses.replace(ONE_STEP, lr=0.7, **more))  # type: ignore[arg-type]
    given = [(g["lr"], g["initial_lr"], g["weight_decay"]) for g in optimiser.param_groups]
    assert restore(path, network, CLASSES, optimiser) == 17
    assert [(g["lr"], g["initial_lr"], g["weight_decay"]) for g in optimiser.param_groups] == given
    assert max(rate for rate, *_ in given) == 0.7 and optimiser.state


OTHER = dataclasses.replace(tiny.CONFIG, fpn=dataclasses.replace(tiny.CONFIG.fpn, channels=32))


@pytest.mark.parametrize(
    ("config", "classes", "without", "message"),
    [
        (OTHER, CLASSES, (), "is of another network: fpn.channels was 16, is 32"),
        (tiny.CONV, CLASSES, (), "is of another network: mask.type was PointRendMask, is ConvMask"),
        (
            OTHER,
            CLASSES,
            ("config", "categories"),
            "is of another network: .* of another shape: backbone.fpn",
        ),
        (tiny.CONV, CLASSES, ("config",), "is of another network: .* missing: mask_head"),
        (tiny.CONFIG, (CLASSES[0], Category(2, "red")), (), "the data lacks 2 bright and has 2 red"),
        (tiny.CONFIG, CLASSES, ("step",), "is damaged, or no state of a run"),
    ],
)
def test_a_state_of_something_else_is_refused_in_one_line(
    config: Any, classes: tuple[Category, ...], without: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    path = write_state(tmp_path, ONE_STEP, *without)
    network = tiny.network(config)
    with pytest.raises(TrainingError, match=message) as raised:
        restore(path, network, classes, optimizer(network, ONE_STEP))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("before", "now"), [("adamw", "sgd"), ("sgd", "adamw")])
def test_a_state_of_another_optimizer_is_refused_in_one_line(before: Any, now: Any, tmp_path: Path) -> None:
    path = write_state(tmp_path, dataclasses.replace(ONE_STEP, optimizer=before))
    network = tiny.network()
    with pytest.raises(TrainingError, match="was trained with another `optimizer` or another `trains`"):
        restore(path, network, CLASSES, optimizer(network, dataclasses.replace(ONE_STEP, optimizer=now)))


def test_a_state_without_configuration_and_classes_is_resumed(tmp_path: Path) -> None:
    """Runs that were started before these were stored."""
    path, network = write_state(tmp_path, ONE_STEP, "config", "categories"), tiny.network()
    assert restore(path, network, CLASSES, optimizer(network, ONE_STEP)) == 17


def test_a_state_of_an_older_version_is_resumed(tmp_path: Path) -> None:
    """Its optimiser has the peak rate of each group under another name."""
    path, network = write_state(tmp_path), tiny.network()
    state = saved(tmp_path)
    for group in state["optimizer"]["param_groups"]:
        group["base_lr"] = group.pop("initial_lr")
    torch.save(state, path)
    optimiser = optimizer(network, ONE_STEP)
    assert restore(path, network, CLASSES, optimiser) == 17
    scheduler = rates(optimiser, ONE_STEP, 17)
    peaks = [group["initial_lr"] for group in optimiser.param_groups]
    assert scheduler.get_last_lr() == [peak * lr_factor(17, ONE_STEP) for peak in peaks]


def test_a_damaged_state_is_refused_in_one_line(tmp_path: Path) -> None:
    path, network = write_state(tmp_path), tiny.network()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="is damaged, or no state of a run: .*another folder") as raised:
        restore(path, network, CLASSES, optimizer(network, ONE_STEP))
    assert "\n" not in str(raised.value)
