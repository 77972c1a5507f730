"""Boxes of kept pictures: the same masks as those of a whole coarse pass, without the picture."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch

from model.predict.instance import InstanceOptions, InstancePrediction, Instances
from model.predict.kept.boxes import Features
from model.predict.kept.instance import KeptInstance, KeptInstances, bytes_of, keep
from model.predict.predictor import Prompt
from tests.model.predict.test_instance import image, predictor

BOXES = (
    Prompt((20.0, 10.0, 90.0, 80.0)),
    Prompt((5.5, 40.25, 60.0, 110.0), 1),
    Prompt((-9.0, -9.0, 400.0, 400.0)),
    Prompt((100.0, 100.0, 104.0, 106.0), 0),
)
ASKED = InstanceOptions(resolution=56, prompts=BOXES)
KEEP = InstanceOptions(resolution=28, score=0.0, max_instances=3, keep=True)


def predicted(options: InstanceOptions, index: int = 0, count: int = 1) -> InstancePrediction:
    """Return what is found in the picture, which is one of several in its batch."""
    batch = [predictor().prepare(image() if i == index else image()[::-1], options) for i in range(count)]
    return predictor().begin(predictor().coarse(batch), index, batch[index], options)


@cache
def kept(index: int = 0, count: int = 1) -> KeptInstances:
    found = predicted(KEEP, index, count)
    return keep(instances(found), found.width, found.height, found.features)


def instances(found: InstancePrediction) -> list[KeptInstance]:
    return [KeptInstance(r.category, r.score, tuple(r.box.tolist()), r.render.source) for r in found.regions]


def features(picture: KeptInstances) -> Features:
    assert picture.features is not None
    return picture.features


def prompted(picture: KeptInstances, options: InstanceOptions) -> Instances:
    assert options.prompts is not None
    own = features(picture)
    prepared = own.prepared(options.prompts, keep=options.keep)
    found = predictor().begin(predictor().boxes(own, prepared), 0, prepared, options)
    predictor().render([found])
    return found.finish()


def check_equal(found: Instances, expected: Instances) -> None:
    """Check that masks are equal, but for cells that rounding chose to evaluate or not."""
    assert len(found.masks) == len(expected.masks)
    for own, other in zip(found.masks, expected.masks, strict=True):
        assert (own.category, own.side) == (other.category, other.side)
        assert own.score == pytest.approx(other.score, abs=1e-5)
        np.testing.assert_array_equal(own.box, other.box)
        close = torch.isclose(own.logits, other.logits, atol=1e-4, rtol=1e-4)
        assert close.float().mean() > 0.995
        assert (own.crop(160, 120).bitmap != other.crop(160, 120).bitmap).mean() < 0.002


def test_masks_are_those_of_a_whole_pass() -> None:
    check_equal(prompted(kept(), ASKED), predictor()(image(), ASKED).finish())


def test_a_picture_of_a_batch_has_its_own_features() -> None:
    check_equal(prompted(kept(1, 3), ASKED), predictor()(image(), ASKED).finish())


def test_explanations_are_those_of_a_whole_pass() -> None:
    options = dataclasses.replace(ASKED, explain=True)
    for own, other in zip(
        prompted(kept(), options).masks, predictor()(image(), options).finish().masks, strict=True
    ):
        assert own.explanation is not None and other.explanation is not None
        np.testing.assert_allclose(own.explanation.coarse, other.explanation.coarse, atol=1e-5)
        assert [each.points for each in own.explanation.levels] == [
            each.points for each in other.explanation.levels
        ]


def test_no_boxes_are_no_masks() -> None:
    assert prompted(kept(), dataclasses.replace(ASKED, prompts=())).masks == ()


def test_features_are_there_if_they_shall_be_kept() -> None:
    assert predicted(dataclasses.replace(KEEP, keep=False)).features is None
    without = dataclasses.replace(predictor(), box_runs=None)
    one = without.prepare(image(), KEEP)
    assert without.begin(without.coarse([one]), 0, one, KEEP).features is None


def test_of_a_batch_only_those_pictures_have_features_that_shall_be_kept() -> None:
    plain = dataclasses.replace(KEEP, keep=False)
    batch = [predictor().prepare(image(), options) for options in (KEEP, plain)]
    coarse = predictor().coarse(batch)
    found = [predictor().begin(coarse, i, each, KEEP).features for i, each in enumerate(batch)]
    assert found[0] is not None and found[1] is None


def test_what_is_kept_owns_its_memory_and_is_counted() -> None:
    for index, count in ((0, 1), (1, 3)):
        found = predicted(KEEP, index, count)
        own = keep(instances(found), found.width, found.height, found.features)
        tensors = [*features(own).pyramid, features(own).fine, *own.instances[0].source.maps]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        assert sum(storages.values()) == bytes_of([each.source for each in instances(found)], found.features)
        # The fine map of windows is that of boxes.
        table = own.instances[0].source.fine.table
        assert table.data_ptr() == features(own).fine.data_ptr()


def test_a_picture_in_which_nothing_was_found_has_features() -> None:
    found = predicted(dataclasses.replace(KEEP, score=1.0))
    assert not found.regions
    own = keep([], found.width, found.height, found.features)
    check_equal(prompted(own, ASKED), predictor()(image(), ASKED).finish())
    assert bytes_of([], found.features) == features(own).nbytes


def test_the_padded_size_is_that_of_the_pass() -> None:
    height, width = features(kept()).padded
    rows, columns = features(kept()).extent
    assert height % 32 == width % 32 == 0 and 0 <= height - rows < 32 and 0 <= width - columns < 32
