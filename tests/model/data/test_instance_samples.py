"""Samples, batches and their order."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from model.data.augment import Augmentation
from model.data.copy_paste import InstanceSample
from model.data.fields import DataError
from model.data.instance_samples import InstanceBatch, InstanceTrainingSet, collate_instances
from model.data.samplers import Draw, MixedBatches, box_only_period
from tests.model.coco_files import annotation, coco, load, rectangle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

PLAIN = Augmentation((60,), 200, flip=0)
BOX = [10.0, 20, 30, 25]


def mixed(tmp_path: Path, augmentation: Augmentation = PLAIN) -> InstanceTrainingSet:
    """Box-only image 1 and masked images 2 and 3 of one set, masked image 1 of another."""
    polygon = rectangle(10, 20, 30, 25)
    annotations = [annotation(1, 1, BOX), annotation(2, 1, BOX)]
    annotations += [annotation(3, 2, BOX, segmentation=polygon, category_id=7)]
    first = load(tmp_path / "a", coco(annotations, images=3))
    second = load(tmp_path / "b", coco([annotation(1, 1, BOX, segmentation=polygon)], images=1))
    return InstanceTrainingSet([first, second], augmentation)


def test_masked_records_come_first_and_box_only_ones_train_no_masks(tmp_path: Path) -> None:
    data = mixed(tmp_path)
    assert (len(data), data.num_masked) == (4, 3)
    samples = [data[i] for i in range(4)]
    assert [s.masked.tolist() for s in samples] == [[True], [], [True], [False, False]]
    assert [s.classes.tolist() for s in samples] == [[1], [], [0], [0, 0]]
    assert samples[0].boxes.tolist() == [[10, 20, 40, 45]]
    assert samples[0].masks[0].sum() == 30 * 25 and samples[1].masks.shape == (0, 60, 80)
    assert samples[3].masks.shape == (2, 60, 80) and not samples[3].masks.any()
    assert samples[0].image.dtype == np.uint8 and data.landscape().tolist() == [True] * 4


def test_an_image_may_have_masks_for_some(tmp_path: Path) -> None:
    polygon = rectangle(10, 20, 30, 25)
    data = load(
        tmp_path, coco([annotation(1, 1, BOX), annotation(2, 1, BOX, segmentation=polygon)], images=1)
    )
    some = InstanceTrainingSet([data], PLAIN)
    assert some.num_masked == 1 and some[0].masked.tolist() == [False, True]
    assert [mask.sum() for mask in some[0].masks] == [0, 30 * 25]


def test_a_draw_decides_the_view(tmp_path: Path) -> None:
    data = mixed(tmp_path, Augmentation((40, 50, 60), 200, crop=0.7, colour=0.3))
    one, same, other = data[Draw(0, 5)], data[Draw(0, 5)], data[Draw(0, 6)]
    assert np.array_equal(one.image, same.image) and not np.array_equal(one.image, other.image)


def test_the_pictures_orientation_is_applied(tmp_path: Path) -> None:
    data = mixed(tmp_path)
    upright = data[0].image
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise for display
    path = data.records[0].path
    Image.fromarray(np.rot90(upright)).save(path, exif=exif)
    assert np.array_equal(data[0].image, upright)


def test_unusable_pictures_are_named(tmp_path: Path) -> None:
    data = mixed(tmp_path)
    Image.new("RGB", (50, 50)).save(data.records[0].path)
    with pytest.raises(DataError, match=r"image 2 \(.*2\.png\): 50×50, annotated as 80×60"):
        data[0]
    data.records[0].path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"image 2 \(.*2\.png\)"):
        data[0]


def test_data_sets_of_other_categories_do_not_mix(tmp_path: Path) -> None:
    one = load(tmp_path / "a", coco([]))
    other = load(tmp_path / "b", coco([], categories=[{"id": 1, "name": "person"}]))
    for datasets in ([one, other], []):
        with pytest.raises(DataError, match="same categories"):
            InstanceTrainingSet(datasets, PLAIN)


def test_crowds_alone_are_not_background(tmp_path: Path) -> None:
    """Image 1 has an instance and a crowd, image 2 a crowd alone, image 3 nothing."""
    crowds = [annotation(i, i, BOX, iscrowd=1, segmentation=rectangle(10, 20, 30, 25)) for i in (1, 2)]
    data = load(tmp_path, coco([*crowds, annotation(3, 1, BOX)], images=3))
    assert {r.image_id for r in InstanceTrainingSet([data], PLAIN).records} == {1, 3}
    assert {r.image_id for r in InstanceTrainingSet([data], PLAIN, empty=False).records} == {1}
    target = collate_instances([InstanceTrainingSet([data], PLAIN, empty=False)[0]]).targets[0]
    assert len(target.boxes) == 1 and target.ignored is not None
    assert target.ignored.tolist() == [[10, 20, 40, 45]]


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data has no images"):
        InstanceTrainingSet([load(tmp_path / "none", coco([], images=0))], PLAIN)
    crowd = annotation(1, 1, BOX, iscrowd=1)
    with pytest.raises(DataError, match="not one instance in 2 images"):
        InstanceTrainingSet([load(tmp_path / "crowd", coco([crowd]))], PLAIN)


def test_collate_makes_tensors(tmp_path: Path) -> None:
    data = mixed(tmp_path)
    batch = collate_instances([data[0], data[3]])
    assert [(i.dtype, tuple(i.shape)) for i in batch.images] == [(torch.uint8, (3, 60, 80))] * 2
    masked, boxes_only = batch.targets
    assert masked.boxes.dtype == torch.float32 and masked.classes.dtype == torch.int64
    assert masked.masks is not None and tuple(masked.masks.shape) == (1, 60, 80)
    assert boxes_only.masks is None and tuple(boxes_only.boxes.shape) == (2, 4)
    assert torch.equal(batch.images[0].permute(1, 2, 0), torch.from_numpy(data[0].image))


def test_images_of_a_batch_share_their_size_and_batches_differ(tmp_path: Path) -> None:
    data = mixed(tmp_path, Augmentation((40, 50, 60), 200))
    batches = MixedBatches(3, 1, 2, box_only_every=3)
    sizes = [{data[draw].image.shape[0] for draw in batches.batch(step)} for step in range(12)]
    assert all(len(size) == 1 for size in sizes) and set.union(*sizes) == {40, 50, 60}


def test_pasted_instances_train_masks_in_box_only_images_too(tmp_path: Path) -> None:
    data = mixed(tmp_path, Augmentation((60,), 200, flip=0, paste=1.0, paste_least=1.0))
    samples = [data[Draw(3, salt)] for salt in range(20)]
    assert all(s.masked.sum() == 1 for s in samples)  # whoever was below and whatever is left of it
    assert any(len(s.masked) == 3 for s in samples)
    sample = next(s for s in samples if len(s.masked) == 3)
    target = collate_instances([sample]).targets[0]
    assert target.trains_masks().tolist() == [False, False, True]
    assert target.masks is not None and target.masks[2].sum() == sample.masks[2].sum() > 0
    assert collate_instances([data[Draw(0, 1)]]).targets[0].masked is None


def test_nothing_is_pasted_where_nothing_has_a_mask(tmp_path: Path) -> None:
    boxes = load(tmp_path, coco([annotation(1, 1, BOX)], images=1))
    plain, pasting = (InstanceTrainingSet([boxes], Augmentation((60,), 200, paste=p)) for p in (0.0, 1.0))
    assert (plain[0].image == pasting[0].image).all()


def test_a_loader_with_workers_gives_what_the_draws_say(tmp_path: Path) -> None:
    data = mixed(tmp_path, Augmentation((40, 50, 60), 200, colour=0.3))
    batches = MixedBatches(3, 1, 2, box_only_every=3)
    loader: DataLoader[InstanceSample] = DataLoader(
        data, batch_sampler=batches, num_workers=1, collate_fn=collate_instances
    )
    loaded: Iterator[InstanceBatch] = itertools.islice(iter(loader), 4)  # torch types it by the data set
    for step, batch in enumerate(loaded):
        expected = collate_instances([data[draw] for draw in batches.batch(step)])
        assert all(torch.equal(a, b) for a, b in zip(batch.images, expected.images, strict=True))


def test_kinds_take_turns_and_an_epoch_visits_all() -> None:
    batches = MixedBatches(12, 8, 4, seed=1, box_only_every=3)
    drawn = list(itertools.islice(batches, 9))
    kinds = [{d.position >= 12 for d in batch} for batch in drawn]
    assert kinds == [{False}, {False}, {True}] * 3
    masked = [d.position for b, kind in zip(drawn, kinds, strict=True) if kind == {False} for d in b]
    assert sorted(masked) == sorted([*range(12)] * 2) and masked[:12] != masked[12:]
    assert Counter(d.position for b in (drawn[2], drawn[5]) for d in b) == Counter(range(12, 20))
    salts = [d.salt for b in drawn for d in b]
    assert len(set(salts)) == len(salts)


@pytest.mark.parametrize("every", [0, 1])
def test_one_kind_only(every: int) -> None:
    batches = MixedBatches(10 * (1 - every), 10 * every, 3, box_only_every=every)
    drawn = [d.position for step in range(3) for d in batches.batch(step)]
    assert len(set(drawn)) == 9 and max(drawn) < 10


@pytest.mark.parametrize(
    ("masked", "box_only", "least", "period"),
    [
        (1509, 1534, 2, 2),  # the people data: a run in progress counts on it
        (999, 1, 2, 1000),
        (60, 20, 2, 4),
        (1, 99, 2, 2),
        (5, 0, 2, 0),
        (0, 5, 2, 1),
        (0, 5, 0, 1),
        (5, 5, 0, 0),
    ],
)
def test_few_box_only_images_take_few_batches(masked: int, box_only: int, least: int, period: int) -> None:
    assert box_only_period(masked, box_only, least) == period
    MixedBatches(masked, box_only, 1, box_only_every=period)


def test_order_depends_on_seed_and_step_only() -> None:
    def steps(seed: int, start: int, count: int) -> list[list[Draw]]:
        return list(itertools.islice(MixedBatches(11, 7, 2, seed=seed, start=start), count))

    whole = steps(3, 0, 40)
    assert steps(3, 25, 15) == whole[25:] and steps(4, 0, 40) != whole
    batches = MixedBatches(11, 7, 2, seed=3)
    assert [batches.batch(step) for step in reversed(range(40))] == whole[::-1]


def test_ranks_share_an_epoch_without_overlap() -> None:
    ranks = [MixedBatches(24, 12, 2, seed=5, rank=r, world_size=3) for r in range(3)]
    seen: Counter[int] = Counter()
    for step in range(8):  # 4 of each kind: one epoch of the masks, two of the boxes
        shares = [r.batch(step) for r in ranks]
        assert len({d.position for share in shares for d in share}) == 6
        assert len({r.is_box_only(step) for r in ranks}) == 1
        seen.update(d.position for share in shares for d in share)
    assert seen == Counter([*range(24), *range(24, 36), *range(24, 36)])


def test_like_shapes_share_a_batch() -> None:
    landscape = np.random.default_rng(0).random(41) < 0.6
    batches = MixedBatches(41, 0, 4, box_only_every=0, landscape=landscape)
    shapes = [{bool(landscape[d.position]) for d in batches.batch(step)} for step in range(10)]
    assert sum(len(s) == 2 for s in shapes) <= 1 and {True} in shapes and {False} in shapes


def test_a_set_smaller_than_a_batch_is_repeated() -> None:
    batches = MixedBatches(3, 0, 4, box_only_every=0, rank=1, world_size=2)
    assert [len(batches.batch(step)) for step in range(3)] == [4, 4, 4]
    assert {d.position for step in range(3) for d in batches.batch(step)} == {0, 1, 2}


@pytest.mark.parametrize(
    ("masked", "box_only", "size", "more"),
    [
        (0, 5, 2, {}),
        (5, 0, 2, {}),
        (5, 5, 0, {}),
        (5, 5, 2, {"rank": 1}),
        (5, 5, 2, {"box_only_every": -1}),
        (5, 5, 2, {"landscape": np.zeros(9, dtype=bool)}),
    ],
)
def test_impossible_batches_are_refused(masked: int, box_only: int, size: int, more: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        MixedBatches(masked, box_only, size, **more)  # type: ignore[arg-type]
