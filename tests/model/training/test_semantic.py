"""Training on made-up label maps: it learns, resumes exactly, measures itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoints.checkpoint import Checkpoint, of_task, open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.semantic import SemanticConfig
from model.data.label_augment import LabelAugmentation
from model.data.label_map_samples import LabelMapTrainingSet, collate_label_maps
from model.data.label_maps import LabelMaps
from model.evaluation.label_maps import check_classes, measure
from model.predict.label_map import LabelMapOptions
from model.predict.preprocess import network_input
from model.training import loop
from model.training.batches import batch_per_process
from model.training.distributed import Process
from model.training.errors import TrainingError
from model.training.loop import train
from model.training.recipe import SemanticRecipe
from model.training.semantic import SemanticTraining, SemanticTrainingStep
from model.training.state import store
from tests.model import label_files, tiny_semantic

RECIPE = SemanticRecipe(
    steps=4,
    batch_size=2,
    optimizer="adamw",
    lr=5e-3,
    warmup_steps=0,
    schedule="cosine",
    clip_norm=5.0,
    augmentation=LabelAugmentation((32, 64), (0.9, 1.1)),
    points=32,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelMaps:
    return label_files.load(tmp_path_factory.mktemp("label_maps") / "data")


def test_it_learns_and_says_so(data: LabelMaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = dataclasses.replace(RECIPE, steps=48, lr=2e-3, ema=0.9)
    task = SemanticTraining(tiny_semantic.network(), data, plan, data, Path("data.json"))
    path = train(task, tmp_path, workers=0, validate_every=24)
    said = capsys.readouterr().out
    assert "data: 4 images with label maps" in said and "validation: 4 images with label maps" in said
    assert path == tmp_path / "model.safetensors"
    early, late = (json.loads(line) for line in (tmp_path / "validation.jsonl").read_text().splitlines())
    assert late["step"] == 48 and late["mIoU"] > max(early["mIoU"], 0.3)
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == [
        "step_000024.jpg",
        "step_000048.jpg",
    ]
    assert (tmp_path / "curves.png").exists()
    opened = of_task(open_checkpoint(path), "semantic")
    assert [c.name for c in opened.categories] == ["ground", "disc", "bar"]
    metrics, cost = measure(eager_predictor(opened), data, LabelMapOptions())
    assert metrics["mIoU"] == pytest.approx(late["mIoU"], abs=0.01)  # stored in half precision
    assert cost.points > 0


def test_a_resumed_run_is_an_uninterrupted_one(
    data: LabelMaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(out: str, seed: int = 0, **more: Any) -> None:
        network = tiny_semantic.network(tiny_semantic.DEEPLAB, seed)  # has dropout, so draws at random
        train(SemanticTraining(network, data, RECIPE), tmp_path / out, workers=0, **more)

    def killed(*state: object) -> None:
        store(*state)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    run("straight")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "store", killed)
        with pytest.raises(KeyboardInterrupt):
            run("resumed", checkpoint_every=2)
    run("resumed", seed=5, resume=True)
    one, other = (
        torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("straight", "resumed")
    )
    assert one["step"] == other["step"] == 4
    for name, tensor in one["network"].items():
        torch.testing.assert_close(other["network"][name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_a_point_head_over_a_finished_base(data: LabelMaps, tmp_path: Path) -> None:
    network = tiny_semantic.network(tiny_semantic.DEEPLAB)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plan = dataclasses.replace(RECIPE, point_only=True)
    train(SemanticTraining(network, data, plan), tmp_path, workers=0)
    changed = {name for name, tensor in network.state_dict().items() if not tensor.equal(before[name])}
    assert changed and all(name.startswith("point.") for name in changed)
    alone = tiny_semantic.network(dataclasses.replace(tiny_semantic.DEEPLAB, point=None))
    with pytest.raises(TrainingError, match="no point head to train"):
        SemanticTraining(alone, data, plan)


@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("base", [tiny_semantic.CONFIG, tiny_semantic.FROM_P3, tiny_semantic.DEEPLAB])
def test_every_layer_that_trains_has_a_gradient(base: SemanticConfig, refined: bool, data: LabelMaps) -> None:
    """Several processes wait for each of them."""
    network = tiny_semantic.network(base if refined else dataclasses.replace(base, point=None)).train()
    step = SemanticTrainingStep(network, RECIPE)
    batch = collate_label_maps([LabelMapTrainingSet(data, RECIPE.augmentation, 0)[i] for i in range(2)])
    images = network_input(batch.images, network.config.preprocessing)[0]
    sum(step(images, batch.labels, torch.Generator().manual_seed(0)).values()).backward()
    trained = {name: p.grad is not None for name, p in network.named_parameters() if p.requires_grad}
    assert all(trained.values()), [name for name, has in trained.items() if not has]
    still = {name for name, p in network.named_parameters() if not p.requires_grad}
    alone_from_p3 = base is tiny_semantic.FROM_P3 and not refined
    assert any(name.startswith("backbone.fpn.output.0") for name in still) is alone_from_p3


def test_crops_must_fit_the_network(data: LabelMaps) -> None:
    plan = dataclasses.replace(RECIPE, augmentation=LabelAugmentation((30, 64)))
    with pytest.raises(TrainingError, match=r"augmentation\.crop must be multiples of 32"):
        SemanticTraining(tiny_semantic.network(), data, plan)
    with pytest.raises(TrainingError, match="does not divide by 3 processes"):
        batch_per_process(RECIPE, Process(0, 3))


def test_other_classes_are_not_measured(data: LabelMaps) -> None:
    network = tiny_semantic.network()
    classes = data.labelling.classes[::-1]
    checkpoint = Checkpoint(network.config, classes, network.state_dict())
    with pytest.raises(ValueError, match=r"classes \(bar, disc, ground\) are not the data's \(ground, disc"):
        check_classes(eager_predictor(checkpoint), data)
