"""Networks of every preset with random weights: their graphs pass, and graphs with a mistake do not."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from export.graph import trace_staged
from export.parity import measure
from model.config.presets import PRESETS
from model.networks.eager import eager_run
from tests.export.presets import batches, check, eager_steps, exported, random_pass, tiny, written
from tests.export.wrong_graphs import MISTAKES

SEEDS = range(20)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_network_passes_and_every_mistake_is_found(preset: str) -> None:
    """Without a graph: the network's own steps, or those of a network with a mistake, stand in for it."""
    right = random_pass(tiny(preset), 0)
    report = check(right, eager_steps(right), eager_run(right))
    assert report["passed"], report["failures"]
    trials = batches(right.network.config)[:1]
    assert all(row["difference"] == 0 for row in report["stages"].values())
    for name, mistake in MISTAKES.items():
        wrong = copy.deepcopy(right)
        with mistake(wrong) as applies, torch.inference_mode():
            steps = iter([eager_steps(wrong)(given) for given in trials])
        if applies:
            assert measure(right, lambda _, s=steps: next(s), trials).report()["failures"], name  # type: ignore[misc]


def test_graphs_with_random_weights_pass(tmp_path: Path) -> None:
    """Of the preset with the most kinds of parts: a timm trunk, norms in the pyramid, scores that masks lower."""
    for seed in SEEDS[:2]:
        right = random_pass(tiny("people"), seed)
        staged, shipped = exported("people", right, tmp_path)
        report = check(right, staged, shipped)
        assert report["passed"] and "scores" in report["stages"], (seed, report["failures"])
        given = batches(right.network.config)[0]
        assert float(shipped(given)["scores"].sum()) < 0.95 * float(staged(given)["box_scores"].sum())


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_graphs_of_every_preset_with_random_weights_pass(preset: str, tmp_path: Path) -> None:
    for seed in SEEDS:
        right = random_pass(tiny(preset), seed)
        report = check(right, *exported(preset, right, tmp_path))
        assert report["passed"], (seed, report["failures"])


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["people", "street_deeplab_os16_pointrend"])
def test_a_graph_takes_other_weights(preset: str, tmp_path: Path) -> None:
    """A traced graph with other weights put in is, to the bit, the graph that was traced with them."""
    right = random_pass(tiny(preset), 7)
    program, outputs = trace_staged(right)
    (tmp_path / "own").mkdir()
    own, _ = written(program, outputs, tmp_path / "own")
    staged, _ = exported(preset, right, tmp_path)
    for given in batches(right.network.config):
        one, other = own(given), staged(given)
        assert list(one) == list(other)
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_graphs_with_a_mistake_fail(preset: str, tmp_path: Path) -> None:
    right = random_pass(tiny(preset), 0)
    for name, mistake in MISTAKES.items():
        wrong = random_pass(tiny(preset), 0)
        with mistake(wrong) as applies:
            if not applies:
                continue
            program, outputs = trace_staged(wrong)
        staged, _ = written(program, outputs, tmp_path)
        assert measure(right, staged, batches(right.network.config)).report()["failures"], name
