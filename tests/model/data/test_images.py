"""Training and evaluation see the pixels that the service sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from model.checkpoints.checkpoint import Checkpoint
from model.config.categories import Category
from model.data.augment import Augmentation
from model.data.coco import load_coco
from model.data.fields import DataError
from model.data.images import Pixels
from model.data.instance_samples import InstanceTrainingSet
from model.data.label_augment import LabelAugmentation
from model.data.label_map_samples import LabelMapTrainingSet
from model.data.label_maps import load_label_maps
from model.evaluation.evaluate import evaluate
from model.evaluation.settings import EvaluationSettings
from model.predict.images import decode
from model.predict.instance import InstancePredictor
from model.predict.label_map import LabelMapPredictor
from tests.model import label_files, tiny, tiny_semantic
from tests.model.coco_files import annotation, coco, rectangle, write

WIDTH, HEIGHT = 96, 64  # as displayed
NAMES = ("1.png", "2.png", "3.jpg", "4.jpg")  # transparent, 16 bits, wide colours, turned


def swapped_primaries() -> bytes:
    """An RGB profile that no reader may take for sRGB: red and green are exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB built-in".encode("utf-16-be"), "swapped rgbs!".encode("utf-16-be"))
    return profile.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)


def write_images(folder: Path) -> None:
    """Write one image of each kind that a naive reader gets wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    image = Image.fromarray(blocks.repeat(8, 0).repeat(8, 1))
    transparent = image.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(image.size))
    transparent.save(folder / "1.png")
    ramp = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)
    Image.fromarray(ramp).save(folder / "2.png")
    image.save(folder / "3.jpg", icc_profile=swapped_primaries(), quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "4.jpg", exif=exif, quality=95)


def expected(folder: Path) -> list[Pixels]:
    """What the service sees of the images; a naive reader would see something else."""
    found = [decode((folder / name).read_bytes(), max_pixels=10_000).pixels for name in NAMES]
    for name, pixels in zip(NAMES, found, strict=True):
        naive = np.asarray(Image.open(folder / name).convert("RGB"))
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        assert naive.shape != pixels.shape or np.abs(naive - pixels.astype(int)).mean() > 10, name
    return found


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Pixels]:
    """The images that predictors are given."""
    images: list[Pixels] = []

    for predictor in (InstancePredictor, LabelMapPredictor):
        original = predictor.prepare

        def prepare(self: Any, image: Pixels, options: Any, original: Any = original) -> Any:
            images.append(image)
            return original(self, image, options)

        monkeypatch.setattr(predictor, "prepare", prepare)
    return images


def same(one: list[Pixels], other: list[Pixels]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_instances(tmp_path: Path, seen: list[Pixels]) -> None:
    write_images(tmp_path)
    box = [8.0, 8, 40, 40]
    listed = [
        {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(NAMES, 1)
    ]
    annotations = [annotation(i, i, box, segmentation=rectangle(8, 8, 40, 40)) for i in range(1, 5)]
    categories = [{"id": 3, "name": "dark"}, {"id": 4, "name": "bright"}]
    file = write(tmp_path, coco(annotations, categories=categories) | {"images": listed}, pictures=False)
    images = expected(tmp_path)
    samples = InstanceTrainingSet([load_coco(file, tmp_path)], Augmentation((HEIGHT,), 200, flip=0))
    assert same([samples[i].image for i in range(4)], images)
    network = tiny.network()
    checkpoint = Checkpoint(
        network.config, (Category(1, "dark"), Category(2, "bright")), network.state_dict()
    )
    evaluate(checkpoint, file, tmp_path, EvaluationSettings(resolution="28"))
    assert same(seen, images)


def test_label_maps(tmp_path: Path, seen: list[Pixels]) -> None:
    file = label_files.write(tmp_path, count=0)
    write_images(tmp_path / "images")
    for name in NAMES:
        Image.new("L", (WIDTH, HEIGHT), 4).save(tmp_path / "labels" / f"{Path(name).stem}.png")
    images, data = expected(tmp_path / "images"), load_label_maps(file, tmp_path)
    whole = LabelAugmentation((HEIGHT, WIDTH), (1, 1), flip=0)
    samples = LabelMapTrainingSet(data, whole)
    assert same([samples[i][0] for i in range(4)], images)
    network = tiny_semantic.network()
    checkpoint = Checkpoint(network.config, data.labelling.classes, network.state_dict())
    evaluate(checkpoint, file, tmp_path, EvaluationSettings())
    assert same(seen, images)


def test_formats_that_the_service_refuses_are_refused_with_their_name(tmp_path: Path) -> None:
    file = write(tmp_path, coco([], images=1))
    Image.new("RGB", (80, 60)).save(tmp_path / "1.png", "PPM")
    with pytest.raises(DataError, match=r"1\.png cannot be read: Netpbm images are not supported"):
        load_coco(file, tmp_path)
