"""Training and evaluation read the pixels that the service reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from model.data.augment import Augmentation
from model.data.coco import load_coco
from model.data.fields import DataError
from model.data.images import read_rgb
from model.data.instance_samples import InstanceTrainingSet
from model.data.label_augment import LabelAugmentation
from model.data.label_map_samples import LabelMapTrainingSet
from model.data.label_maps import load_label_maps
from model.predict.images import decode
from tests.model import label_files
from tests.model.coco_files import annotation, coco, rectangle, write

SIZE = 80, 60  # width, height as displayed
NAMES = ("alpha.png", "grey16.png", "profile.jpg", "turned.jpg")


def write_images(folder: Path) -> dict[str, np.ndarray]:
    """Write one image of each kind that a naive reader gets wrong; return what such a reader would see."""
    width, height = SIZE
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8), np.ones((10, 10, 1)))
    image = Image.fromarray(pixels.astype(np.uint8))
    transparent = image.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(SIZE))
    transparent.save(folder / "alpha.png")
    ramp = np.linspace(0, 65535, width * height).reshape(height, width).astype(np.uint16)
    Image.fromarray(ramp).save(folder / "grey16.png")
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    assert wide is not None
    image.save(folder / "profile.jpg", icc_profile=display_p3(), quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    naive = {}
    for name in NAMES:
        with Image.open(folder / name) as file:
            naive[name] = np.asarray(file.convert("RGB"))
    return naive
