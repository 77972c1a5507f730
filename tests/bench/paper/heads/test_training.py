"""Training of all heads at once: on one frozen detector, apart from each other, and resumable."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.paper.heads import training
from bench.paper.heads.files import read_heads
from bench.paper.heads.training import recipe_of, train, train_step
from bench.paper.heads.variants import BIASED, NAMES, build_all
from model.checkpoints.errors import CheckpointError
from model.data.fields import DataError
from model.data.instance_samples import InstanceBatch, InstanceTrainingSet, collate_instances
from model.training.errors import TrainingError
from model.training.recipes import INSTANCE_RECIPES
from tests.bench import support
from tests.bench.support import Scene
from tests.model import tiny

RECIPE = dataclasses.replace(tiny.RECIPE, steps=4, schedule="cosine")


def batch(scene: Scene) -> InstanceBatch:
    return collate_instances([InstanceTrainingSet([scene.dataset], RECIPE.augmentation)[i] for i in range(2)])


def optimisers(heads: dict[str, training.Head]) -> dict[str, torch.optim.Optimizer]:
    return {name: torch.optim.AdamW(head.parameters(), 1e-3) for name, head in heads.items()}


def test_a_recipe_for_heads() -> None:
    found = recipe_of(INSTANCE_RECIPES["people"], 1000, 2, None, seed=5)
    assert (found.steps, found.batch_size, found.seed, found.lr) == (
        1000,
        2,
        5,
        INSTANCE_RECIPES["people"].lr,
    )
    assert found.warmup_steps == 100 and found.schedule == "cosine" and found.augmentation.paste == 0
    assert not found.empty_images and found.sampling.predicted_boxes


def test_every_head_trains_and_nothing_else(scene: Scene) -> None:
    before = {name: tensor.clone() for name, tensor in scene.detector.network.state_dict().items()}
    heads = build_all(support.CONFIG)
    fresh = build_all(support.CONFIG)
    values = train_step(scene.detector.network, heads, optimisers(heads), batch(scene), 0, RECIPE)
    after = scene.detector.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert set(values) == {"coarse/mask_coarse", "conv/mask_conv"} | {
        f"{name}/{kind}" for name in NAMES[2:] for kind in ("mask_coarse", "mask_point")
    }
    for name in NAMES:
        own, old = heads[name].state_dict(), fresh[name].state_dict()
        assert all(not torch.equal(tensor, old[key]) for key, tensor in own.items()), name


def test_heads_do_not_disturb_each_other(scene: Scene) -> None:
    together, alone = build_all(support.CONFIG), {BIASED: build_all(support.CONFIG)[BIASED]}
    for heads in (together, alone):
        steps = optimisers(heads)
        for step in range(2):
            train_step(scene.detector.network, heads, steps, batch(scene), step, RECIPE)
    expected = alone[BIASED].state_dict()
    assert all(torch.equal(t, expected[key]) for key, t in together[BIASED].state_dict().items())


def test_a_loss_that_is_not_finite_ends_the_run(scene: Scene) -> None:
    heads = build_all(support.CONFIG)
    with torch.no_grad():
        next(heads["conv"].parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match="'conv' is not finite at step 3"):
        train_step(scene.detector.network, heads, optimisers(heads), batch(scene), 3, RECIPE)


def test_a_resumed_run_ends_alike(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(out: Path, resume: bool = False) -> Path:
        return train(
            scene.detector, [scene.dataset], RECIPE, out, resume=resume, workers=0, checkpoint_every=2
        )

    whole = run(tmp_path / "whole")

    def killed(*arguments: object) -> dict[str, float]:
        if arguments[4] == 3:
            raise KeyboardInterrupt
        return train_step(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "train_step", killed)
        run(tmp_path / "killed")
    with pytest.raises(TrainingError, match="add --resume"):
        run(tmp_path / "killed")
    resumed = run(tmp_path / "killed", resume=True)
    ended, expected = load_file(resumed), load_file(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ended.items())
    lines = [json.loads(line) for line in (tmp_path / "killed/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4]
    assert not list(tmp_path.rglob("*.partial"))

    found = read_heads(whole, support.CONFIG, scene.detector.sha256)
    assert tuple(found) == NAMES and not any(head.training for head in found.values())
    with pytest.raises(CheckpointError, match="over another checkpoint"):
        read_heads(whole, support.CONFIG, "0" * 64)
    with pytest.raises(CheckpointError, match="do not fit"):
        read_heads(whole, dataclasses.replace(support.CONFIG, num_classes=5), scene.detector.sha256)

    longer = dataclasses.replace(RECIPE, steps=9)
    with pytest.raises(TrainingError, match="another recipe: steps was 4, is 9"):
        train(scene.detector, [scene.dataset], longer, tmp_path / "whole", resume=True)
    other = dataclasses.replace(scene.detector, sha256="0" * 64)
    with pytest.raises(TrainingError, match="another checkpoint"):
        train(other, [scene.dataset], RECIPE, tmp_path / "whole", resume=True)
    (tmp_path / "whole/last.pt").write_bytes(b"no state")
    with pytest.raises(TrainingError, match="could not be read"):
        run(tmp_path / "whole", resume=True)


def test_files_of_something_else_are_no_heads(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="something else"):
        read_heads(scene.checkpoint, support.CONFIG, scene.detector.sha256)
    with pytest.raises(CheckpointError, match="not a readable"):
        read_heads(scene.data, support.CONFIG, scene.detector.sha256)
    with pytest.raises(CheckpointError, match="there is no file"):
        read_heads(tmp_path / "heads.safetensors", support.CONFIG, scene.detector.sha256)


def test_without_masks_there_is_nothing_to_train_on(scene: Scene, tmp_path: Path) -> None:
    bare = tuple(
        dataclasses.replace(r, annotations=tuple(dataclasses.replace(a, shape=None) for a in r.annotations))
        for r in scene.dataset.records
    )
    boxes = dataclasses.replace(scene.dataset, records=bare)
    with pytest.raises(DataError, match="no image has masks"):
        train(scene.detector, [boxes], RECIPE, tmp_path)
