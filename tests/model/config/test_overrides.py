"""Changes by name."""

from __future__ import annotations

import pytest

from model.config.network import changed
from model.config.overrides import override
from model.config.presets import preset
from model.errors import UserError
from model.training.recipes import INSTANCE_RECIPES


def test_parts_are_changed_and_the_rest_stays() -> None:
    before = INSTANCE_RECIPES["people"]
    after = override(
        before, ["lr=1e-3", "augmentation.short_edges=[100, 200]", "augmentation.crop=1", "optimizer=sgd"]
    )
    assert (after.lr, after.optimizer, after.augmentation.crop) == (1e-3, "sgd", 1.0)
    assert (
        after.augmentation.short_edges == (100, 200)
        and after.augmentation.long_edge == before.augmentation.long_edge
    )
    assert before == INSTANCE_RECIPES["people"] and override(before, []) is before
    assert override(before, ["empty_images=false"]).empty_images is False
    assert override(preset("people"), ["backbone.freeze_at = 1"]).backbone.freeze_at == 1


def test_what_kind_a_part_is_does_not_change() -> None:
    with pytest.raises(ValueError, match="there is no 'type'; there are name, freeze_at"):
        override(preset("people"), ["backbone.type=ResNet"])
    with pytest.raises(ValueError, match=r"choose a part, one of fpn.channels, fpn.norm$"):
        override(preset("people"), ["fpn=1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("lr", "expected name=value, got 'lr'"),
        ("speed=3", "'speed=3': there is no 'speed'; there are steps, batch_size"),
        ("augmentation.zoom=3", "there is no 'zoom'; there are short_edges"),
        ("augmentation=3", "choose a part, one of augmentation.short_edges"),
        ("lr.peak=3", "'lr' has no parts"),
        ("steps=1.5", "expected a whole number, like 7400"),
        ("steps=many", "expected a whole number"),
        ("lr=fast", "expected a number, like 0.0004"),
        ("lr=true", "expected a number"),
        ("empty_images=1", "expected true or false"),
        ("augmentation.short_edges=100", "expected a list of numbers"),
        ('augmentation.short_edges=["a"]', "expected a list of numbers"),
        ("augmentation.crop=2", "must lie between 0 and 1"),
        ("ema=1", "ema must be at least 0 and below 1, got 1.0"),
    ],
)
def test_mistakes_are_told(change: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        override(INSTANCE_RECIPES["people"], [change])
    assert message in str(raised.value)


def test_values_of_a_network_must_fit_their_types() -> None:
    assert changed(preset("people"), []) == preset("people")
    assert changed(preset("people"), ["rpn.aspect_ratios=[0.5,1,2]"]).rpn.pre_nms == 500
    with pytest.raises(UserError, match="network.backbone.depth: Input should be 50 or 101"):
        changed(preset("pointrend_rcnn_r50_fpn"), ["backbone.depth=77"])
