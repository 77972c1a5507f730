"""Images with label maps, read and checked.

A data set is a JSON file that says what pixel values mean (model/data/labelling.py) and a folder of pairs of the same
name, `images/a.jpg` (or .jpeg, .png) and `labels/a.png`. A label map is a PNG of 8 bits a pixel, of its image's size.

H, W image size
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from model.data.fields import DataError
from model.data.images import Pixels, read_rgb, read_size
from model.data.labelling import Labelling, read_labelling
from model.predict.image_errors import ImageError

_FORMATS = (".jpg", ".jpeg", ".png")
_LISTED = 10  # problems in one error message


@dataclass(frozen=True)
class Pair:
    """The files of one image."""

    image: Path
    labels: Path
    values: Labelling  # what the pixels of its label map mean


@dataclass(frozen=True)
class LabelMaps:
    """A checked data set."""

    labelling: Labelling
    pairs: tuple[Pair, ...]

    def read(self, index: int) -> tuple[Pixels, Pixels]:
        """Return an RGB image [H, W, 3] and its classes [H, W], as `read_labels` does. Raises DataError."""
        pair = self.pairs[index]
        try:
            pixels = read_rgb(pair.image)
        except (OSError, ImageError) as error:
            raise DataError(f"{pair.image}: {error}") from error
        labels = self.read_labels(index)
        if labels.shape != pixels.shape[:2]:
            raise DataError(_sizes_differ(pair, (pixels.shape[1], pixels.shape[0]), labels.shape[::-1]))
        return pixels, labels

    def read_labels(self, index: int) -> Pixels:
        """Return the classes [H, W] of an image (VOID: ignored). Raises DataError that names the file."""
        pair = self.pairs[index]
        values = read_values(pair.labels)
        _check_values(pair.labels, values, pair.values)
        return pair.values.table()[values].astype(np.uint8)


def load_label_maps(file: Path, folder: Path) -> LabelMaps:
    """Return the data set of a JSON file and a folder, every pair of it checked.

    Raises DataError that lists up to ten problems, each with its file: no partner or two, other sizes, unknown
    values.
    """
    labelling = read_labelling(file)
    problems: list[str] = []
    images = _by_stem(folder / "images", _FORMATS, problems)
    labels = _by_stem(folder / "labels", (".png",), problems)
    alone = [(images | labels)[stem] for stem in sorted(images.keys() ^ labels.keys())]
    problems += [f"{path}: {_missing_partner(path, path.stem in images)}" for path in alone]
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
    """Return several data sets as one, of the classes of `like` (None: the first set's).

    Raises DataError unless all have the same class names in the same order; pixel values may differ.
    """
    labelling = like or datasets[0].labelling
    names = labelling.names
    for dataset in datasets:
        others = dataset.labelling.names
        if others != names:
            first = next((i for i, (a, b) in enumerate(zip(names, others, strict=False)) if a != b), None)
            difference = (
                f"{len(others)} instead of {len(names)}"
                if first is None
                else f"class {first} is {others[first]!r} instead of {names[first]!r}"
            )
            raise DataError(f"all label maps must have the same classes in the same order: {difference}")
    return LabelMaps(labelling, tuple(pair for dataset in datasets for pair in dataset.pairs))


def read_values(path: Path) -> Pixels:
    """Return the pixel values [H, W] of a label map. Raises DataError if the file is none."""
    try:
        with Image.open(path) as file:
            mode, values = file.mode, np.asarray(file)
    except Exception as error:  # Pillow raises nearly anything at a damaged file
        raise DataError(f"{path}: {error}") from error
    if mode not in ("L", "P"):
        hint = "; are these colours instead of class ids?" if mode in ("RGB", "RGBA") else ""
        raise DataError(f"{path}: expected one channel of 8 bits (mode L or P), it is of mode {mode}{hint}")
    return values


def _check_pair(pair: Pair) -> None:
    values = read_values(pair.labels)
    try:
        found = read_size(pair.image)
    except (OSError, ImageError) as error:
        raise DataError(f"{pair.image}: {error}") from error
    if (found.height, found.width) != values.shape:
        raise DataError(_sizes_differ(pair, (found.width, found.height), values.shape[::-1]))
    _check_values(pair.labels, values, pair.values)


def _check_values(path: Path, values: Pixels, labelling: Labelling) -> None:
    """Raise DataError if a label map has pixel values without a meaning."""
    counts = np.bincount(values.ravel(), minlength=256)
    unknown = np.flatnonzero((counts > 0) & (labelling.table() < 0))
    if len(unknown):
        parts = ", ".join(f"{value} ({counts[value]} pixels)" for value in unknown[:5])
        raise DataError(f"{path}: pixel values that are neither a class's id nor ignored: {parts}")


def _sizes_differ(pair: Pair, image: tuple[int, ...], labels: tuple[int, ...]) -> str:
    (w, h), (width, height) = image, labels
    return f"{pair.labels}: {width}×{height}, but {pair.image.name} is {w}×{h}"


def _by_stem(folder: Path, formats: tuple[str, ...], problems: list[str]) -> dict[str, Path]:
    """Return the folder's pictures by name; those whose name another one has are added to the problems."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: images and label maps stand in images/ and labels/")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in formats):
        first = found.setdefault(path.stem, path)
        if first != path:
            problems.append(f"{path}: {first.name} has the same name, so its partner is not clear")
    return found


def _missing_partner(path: Path, is_image: bool) -> str:
    return f"no label map labels/{path.stem}.png" if is_image else f"no image images/{path.stem}.jpg"
