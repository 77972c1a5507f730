"""Networks of both tasks by one function, and their coarse passes as functions of named tensors."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.config.categories import numbered
from model.config.network import NetworkConfig
from model.masks.palette import default_palette
from model.networks.build import build_network, coarse_pass
from model.networks.eager import eager_run, predictor_of
from model.networks.mask_rcnn import MaskRCNN
from model.networks.semantic import SemanticNet
from model.predict.coarse import InstanceCoarse, LabelMapCoarse, no_prompts
from tests.model import tiny, tiny_semantic

CONFIGS = [tiny.CONFIG, tiny.CONV, tiny_semantic.CONFIG, tiny_semantic.DEEPLAB]
BASE_ALONE = dataclasses.replace(tiny_semantic.CONFIG, point=None)


def test_a_configuration_builds_the_network_of_its_task() -> None:
    assert type(build_network(tiny.CONFIG)) is MaskRCNN
    assert type(build_network(tiny_semantic.CONFIG)) is SemanticNet


@pytest.mark.parametrize("config", CONFIGS)
def test_given_tensors_are_the_networks(config: NetworkConfig) -> None:
    tensors = build_network(config).state_dict()
    network = build_network(config, tensors)
    assert not network.training
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())
    del tensors[next(iter(tensors))]
    with pytest.raises(RuntimeError, match="Missing key"):
        build_network(config, tensors)


@pytest.mark.parametrize("config", [*CONFIGS, BASE_ALONE])
def test_a_run_takes_the_inputs_that_it_needs_and_leaves_out_what_is_not_there(config: NetworkConfig) -> None:
    network = build_network(config)
    images, sizes = tiny.images(1)
    with torch.inference_mode():
        found = eager_run(coarse_pass(network))({"image": images, "size": sizes, **no_prompts()})
    names = {
        "instance": InstanceCoarse._fields[:-1],  # features are asked for elsewhere
        "semantic": LabelMapCoarse._fields if network.point_head else ("coarse",),
    }
    assert tuple(found) == names[config.task]
    assert all(value.device.type == "cpu" for value in found.values())


def test_a_predictor_has_a_point_head_of_its_own() -> None:
    network = build_network(tiny_semantic.CONFIG).train()
    predictor = predictor_of(network, numbered(3))
    assert not network.training
    assert predictor.palette == default_palette(3)
    assert predictor.head is not None and predictor.head is not network.point_head
    assert predictor_of(build_network(BASE_ALONE), numbered(3)).head is None
    assert predictor_of(build_network(tiny.CONV), numbered(2)).head is None
