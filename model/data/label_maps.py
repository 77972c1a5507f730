"""Images with label maps: read, checked, and as augmented training samples.

A data set is a folder and a small JSON file that says what its pixel values mean:

    {"classes": [{"id": 0, "name": "sky", "colour": [128, 128, 128]}, …], "ignore": [11]}

The folder holds pairs of the same name, `images/a.jpg` (or .jpeg, .png) and `labels/a.png`. A label map is a
PNG of 8 bits a pixel, of its image's size; every pixel is the `id` of a class or one of the values to `ignore`.
Colours may be left out. `examples/camvid.json` is one such file.

H, W image size
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from model.config.categories import Category
from model.data.augment import Pixels
from model.data.fields import DataError
from model.data.label_augment import LabelAugmentation
from model.data.samplers import Draw
from model.masks.palette import Colour, default_palette, parse_palette
from model.predict.preprocess import read_rgb

VOID = 255  # in label maps as read: a pixel that does not count
_FORMATS = (".jpg", ".jpeg", ".png")
_LISTED = 10  # problems in one error message


@dataclass(frozen=True)
class Labelling:
    """What the pixels of label maps mean; a class is its position in `classes`."""

    classes: tuple[Category, ...]  # ids are pixel values
    palette: tuple[Colour, ...]
    ignore: tuple[int, ...] = ()  # pixel values

    def table(self) -> NDArray[np.int16]:
        """[256] pixel value → class, VOID, or -1 for a value that means nothing."""
        table = np.full(256, -1, np.int16)
        table[list(self.ignore)] = VOID
        table[[category.id for category in self.classes]] = np.arange(len(self.classes))
        return table


@dataclass(frozen=True)
class Pair:
    image: Path
    labels: Path
    values: Labelling  # what the pixels of its label map mean


@dataclass(frozen=True)
class LabelMaps:
    """A checked data set."""

    labelling: Labelling
    pairs: tuple[Pair, ...]

    def read(self, index: int) -> tuple[Pixels, Pixels]:
        """RGB image [H, W, 3] and its classes [H, W] (VOID: ignored). Raises DataError that names the file."""
        pair = self.pairs[index]
        try:
            pixels = read_rgb(pair.image)
        except Exception as error:
            raise DataError(f"{pair.image}: {error}") from error
        values = read_values(pair.labels)
        _check(pair.labels, values, pair.values)
        if values.shape != pixels.shape[:2]:
            raise DataError(_sizes(pair, (pixels.shape[1], pixels.shape[0]), values.shape[::-1]))
        return pixels, pair.values.table()[values].astype(np.uint8)


def read_labelling(file: Path) -> Labelling:
    """The JSON file of a data set. Raises DataError that says what is wrong in it."""
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from error
    entries = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f'{file}: expected {{"classes": [{{"id": 0, "name": "sky"}}, …], "ignore": [255]}}')
    classes = tuple(Category(_value(file, e.get("id"), "id"), _name(file, e)) for e in entries)
    ignore = data.get("ignore", [])
    if not isinstance(ignore, list):
        raise DataError(f"{file}: 'ignore' must be a list of pixel values, got {ignore!r}")
    ignored = tuple(_value(file, value, "ignore") for value in ignore)
    values = [*(c.id for c in classes), *ignored]
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise DataError(f"{file}: pixel value {twice[0]} is listed more than once")
    names = [c.name for c in classes]
    if same := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{file}: two classes are named {same[0]!r}")
    if not 2 <= len(classes) <= VOID:
        raise DataError(f"{file}: there must be 2 to {VOID} classes, got {len(classes)}")
    return Labelling(classes, _palette(file, entries), ignored)


def load_label_maps(file: Path, folder: Path) -> LabelMaps:
    """The data set of a JSON file and a folder, every pair of it checked.

    Raises DataError that lists up to ten problems, each with its file: no partner or two, other sizes, unknown
    values.
    """
    labelling = read_labelling(file)
    problems: list[str] = []
    images = _by_stem(folder / "images", _FORMATS, problems)
    labels = _by_stem(folder / "labels", (".png",), problems)
    lone = [(images | labels)[stem] for stem in sorted(images.keys() ^ labels.keys())]
    problems += [f"{path}: {_partner(path, path.stem in images)}" for path in lone]
    pairs = tuple(
        Pair(images[stem], labels[stem], labelling) for stem in sorted(images.keys() & labels.keys())
    )
    if not pairs and not problems:
        raise DataError(f"{folder}: there are no images in {folder / 'images'}")
    for pair in tqdm(pairs, "checking label maps", leave=False, delay=3):
        try:
            _check_pair(pair)
        except DataError as error:
            problems.append(str(error))
        if len(problems) > _LISTED:
            break
    if problems:
        more = ["…"] * (len(problems) > _LISTED)
        raise DataError("\n  ".join([f"{folder} cannot be used:", *problems[:_LISTED], *more]))
    return LabelMaps(labelling, pairs)


def together(datasets: Sequence[LabelMaps], like: Labelling | None = None) -> LabelMaps:
    """Several data sets as one, of the classes of `like` (None: the first set's).

    Raises DataError unless all have the same class names in the same order; pixel values may differ.
    """
    labelling = like or datasets[0].labelling
    names = [category.name for category in labelling.classes]
    for dataset in datasets:
        theirs = [category.name for category in dataset.labelling.classes]
        if theirs != names:
            first = next((i for i, (a, b) in enumerate(zip(names, theirs, strict=False)) if a != b), None)
            told = (
                f"{len(theirs)} instead of {len(names)}"
                if first is None
                else f"class {first} is {theirs[first]!r} instead of {names[first]!r}"
            )
            raise DataError(f"all label maps must have the same classes in the same order: {told}")
    return LabelMaps(labelling, tuple(pair for dataset in datasets for pair in dataset.pairs))


def read_values(path: Path) -> Pixels:
    """The pixel values [H, W] of a label map. Raises DataError if it is none."""
    try:
        with Image.open(path) as file:
            mode, values = file.mode, np.asarray(file)
    except Exception as error:  # PIL raises nearly anything at a damaged file
        raise DataError(f"{path}: {error}") from error
    if mode not in ("L", "P"):
        hint = "; are these colours instead of class ids?" if mode in ("RGB", "RGBA") else ""
        raise DataError(f"{path}: expected one channel of 8 bits (mode L or P), it is of mode {mode}{hint}")
    return values


@dataclass(frozen=True)
class LabelBatch:
    images: list[Tensor]  # each [3, H, W] uint8 RGB, all of one size
    labels: Tensor  # [B, H, W] int64, VOID: ignored


Sample = tuple[Pixels, Pixels]


class TrainLabelMaps(Dataset[Sample]):
    """Augmented samples: image [h, w, 3] and labels [h, w] of the augmentation's crop size."""

    def __init__(self, data: LabelMaps, augmentation: LabelAugmentation, seed: int = 0) -> None:
        self.data, self.augmentation, self.seed = data, augmentation, seed

    def __len__(self) -> int:
        return len(self.data.pairs)

    def __getitem__(self, draw: Draw | int) -> Sample:
        """The sample of a draw; a plain position means salt 0."""
        index, salt = (draw.position, draw.salt) if isinstance(draw, Draw) else (draw, 0)
        rng = np.random.default_rng((self.seed, index, salt))
        image, labels = self.data.read(index)
        return self.augmentation(image, labels, rng)


def collate(samples: Sequence[Sample]) -> LabelBatch:
    """Samples as tensors; normalisation is the model's."""
    return LabelBatch(
        [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image, _ in samples],
        torch.from_numpy(np.stack([labels for _, labels in samples]).astype(np.int64)),
    )


def _check_pair(pair: Pair) -> None:
    values = read_values(pair.labels)
    try:
        with Image.open(pair.image) as file:
            turned = file.getexif().get(0x0112, 1) >= 5  # EXIF orientation: width and height change places
            size = file.size[::-1] if turned else file.size
    except Exception as error:  # PIL raises nearly anything at a damaged file
        raise DataError(f"{pair.image}: {error}") from error
    if size != values.shape[::-1]:
        raise DataError(_sizes(pair, size, values.shape[::-1]))
    _check(pair.labels, values, pair.values)


def _check(path: Path, values: Pixels, labelling: Labelling) -> None:
    counts = np.bincount(values.ravel(), minlength=256)
    unknown = np.flatnonzero((counts > 0) & (labelling.table() < 0))
    if len(unknown):
        parts = ", ".join(f"{value} ({counts[value]} pixels)" for value in unknown[:5])
        raise DataError(f"{path}: pixel values that are neither a class's id nor ignored: {parts}")


def _sizes(pair: Pair, image: tuple[int, ...], labels: tuple[int, ...]) -> str:
    (w, h), (width, height) = image, labels
    return f"{pair.labels}: {width}×{height}, but {pair.image.name} is {w}×{h}"


def _by_stem(folder: Path, formats: tuple[str, ...], problems: list[str]) -> dict[str, Path]:
    """The folder's pictures; adds to the problems those whose name another one has."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: images and label maps stand in images/ and labels/")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in formats):
        first = found.setdefault(path.stem, path)
        if first != path:
            problems.append(f"{path}: {first.name} has the same name, so its partner is not clear")
    return found


def _partner(path: Path, is_image: bool) -> str:
    return f"no label map labels/{path.stem}.png" if is_image else f"no image images/{path.stem}.jpg"


def _value(file: Path, value: Any, key: str) -> int:
    if type(value) is not int or not 0 <= value <= 255:
        raise DataError(f"{file}: {key!r} must be a pixel value from 0 to 255, got {value!r}")
    return value


def _name(file: Path, entry: dict[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise DataError(f"{file}: class {entry.get('id')!r} needs a name")
    return name


def _palette(file: Path, entries: list[dict[str, Any]]) -> tuple[Colour, ...]:
    """The classes' colours; those left out are as different as they can be."""
    rows = [e.get("colour", c) for e, c in zip(entries, default_palette(len(entries)), strict=True)]
    try:
        return parse_palette(rows)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: a 'colour' is not three numbers from 0 to 255") from error
