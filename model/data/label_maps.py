"""Images with label maps, read and checked.

A data set is a JSON file that says what pixel values mean (model/data/labelling.py) and a folder of pairs of the same
name, `images/a.jpg` (or another suffix of pictures) and `labels/a.png`. A label map is a PNG of one channel, or of
several that are equal, of its image's size.

H, W image size
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from model.data.fields import DataError
from model.data.images import Pixels, read_rgb, read_size
from model.data.labelling import Labelling, read_labelling
from model.errors import reason
from model.predict.headers import png
from model.predict.image_errors import ImageError
from model.predict.suffixes import IMAGE_SUFFIXES, is_listed
from model.progress import progress

_LABELS = frozenset((".png",))
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH = 24  # where the first chunk of a PNG file, its header, says how many bits a sample has
_CHANNELS = ("1", "L", "P", "I;16")  # Pillow's names of pixels with one channel
_SEVERAL_CHANNELS = ("LA", "RGB", "RGBA")
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
            raise DataError(f"{pair.image}: {reason(error)}") from error
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
    images = _by_stem(folder / "images", IMAGE_SUFFIXES, problems)
    labels = _by_stem(folder / "labels", _LABELS, problems)
    alone = [(images | labels)[stem] for stem in sorted(images.keys() ^ labels.keys())]
    problems += [f"{path}: {_missing_partner(path, path.stem in images)}" for path in alone]
    pairs = tuple(
        Pair(images[stem], labels[stem], labelling) for stem in sorted(images.keys() & labels.keys())
    )
    if not pairs and not problems:
        raise DataError(f"{folder}: there are no images in {folder / 'images'}")
    for pair in progress(pairs, "checking label maps", leave=False, delay=3):
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
    """Return the pixel values [H, W] of a label map, as they stand in its file. Raises DataError if it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error
    if not data.startswith(_PNG):
        raise DataError(f"{path} is no PNG file; a label map must be one")
    try:
        with PngImageFile(io.BytesIO(png.essential(data))) as file:
            mode, values = file.mode, np.asarray(file)
    except Exception as error:  # Pillow raises nearly anything at a damaged file
        raise DataError(f"{path} cannot be decoded, it is damaged or not complete") from error
    if mode in _SEVERAL_CHANNELS and data[_DEPTH] == 8 and _is_grey(values):
        values = values[..., 0]
    elif mode not in _CHANNELS:
        hint = "; are these colours instead of class ids?" if mode in ("RGB", "RGBA") else ""
        raise DataError(f"{path}: expected one channel of class ids, it is of mode {mode}{hint}")
    if mode == "L":
        values = values // (255 // (2 ** data[_DEPTH] - 1))  # Pillow spreads 2 and 4 bits over 0 to 255
    if values.max(initial=0) > 255:
        raise DataError(f"{path}: class ids are 0 to 255, but one of its pixel values is {values.max()}")
    return values.astype(np.uint8)


def _is_grey(values: Pixels) -> bool:
    """Return whether all pixels [H, W, channels] have equal colour channels and are opaque: many tools save ids so."""
    colours = 3 if values.shape[2] >= 3 else 1
    equal = (values[..., 1:colours] == values[..., :1]).all()
    return bool(equal and (values[..., colours:] == 255).all())


def _check_pair(pair: Pair) -> None:
    values = read_values(pair.labels)
    try:
        found = read_size(pair.image)
    except (OSError, ImageError) as error:
        raise DataError(f"{pair.image}: {reason(error)}") from error
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


def _by_stem(folder: Path, suffixes: frozenset[str], problems: list[str]) -> dict[str, Path]:
    """Return the folder's pictures by name; those whose name another one has are added to the problems."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: images and label maps stand in images/ and labels/")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if is_listed(path, suffixes)):
        first = found.setdefault(path.stem, path)
        if first != path:
            problems.append(f"{path}: {first.name} has the same name, so its partner is not clear")
    return found


def _missing_partner(path: Path, is_image: bool) -> str:
    return f"no label map labels/{path.stem}.png" if is_image else f"no image images/{path.stem}.jpg"
