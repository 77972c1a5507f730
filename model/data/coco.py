"""Instance annotations in COCO's format, read and checked as a whole before anything trains on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model.data.coco_categories import read_categories, used_ids
from model.data.coco_entries import (
    doubt_about,
    image_path,
    is_crowd,
    is_file,
    is_odd,
    left_out_polygons,
    read_annotation,
    read_record,
)
from model.data.coco_records import Annotation, Box, CocoDataset, Record, read_image
from model.data.coco_segmentation import num_short
from model.data.fields import DataError, check_unseen, integer, label_of, read_json, whole
from model.progress import progress

__all__ = ["Annotation", "CocoDataset", "DataError", "Record", "load_coco", "read_image"]

_SHOWN = 10  # problems listed in one error


def load_coco(annotations: Path, images: Path) -> CocoDataset:
    """Read a COCO file whose images lie in the folder `images`.

    Of an annotation with `iscrowd` only the box is kept. Annotations with an empty mask, or with a box without area by
    less than a pixel, are left out. Raises DataError that lists the first problems: missing keys, bad boxes
    or segmentations, unknown categories or images, duplicate ids or names, image files that are missing,
    unreadable or (by their header) of another size.
    """
    data = read_lists(annotations)
    problems: list[str] = []
    remarks: list[str] = []
    used = used_ids(data["annotations"])
    categories = read_categories(data["categories"], used, problems, remarks)
    # Raised before annotations are read, because each one of such a category would be reported, too.
    _raise_problems(problems, annotations)
    _check_folder(annotations, images, data["images"])
    found, unusable = _read_records(annotations, images, data["images"], problems)
    positions = {category.id: i for i, category in enumerate(categories)}
    contents = _read_annotations(data["annotations"], found, unusable, positions, problems, remarks)
    _raise_problems(problems, annotations)
    return CocoDataset(
        categories,
        tuple(contents[i].attached_to(record) for i, record in found.items()),
        tuple(f"{annotations.name}: {remark}" for remark in remarks),
        frozenset(category for category in categories if category.id not in used),
    )


@dataclass
class _Content:
    """What is annotated in one image."""

    instances: list[Annotation] = field(default_factory=list)
    crowds: list[Box] = field(default_factory=list)
    left_out: int = 0
    num_crowds: int = 0

    def attached_to(self, record: Record) -> Record:
        """Return the record of the image with its annotations."""
        return replace(
            record,
            annotations=tuple(self.instances),
            left_out=self.left_out,
            num_crowds=self.num_crowds,
            crowds=tuple(self.crowds),
        )


def read_lists(annotations: Path) -> dict[str, list[Any]]:
    """Return the lists of a COCO file: images, annotations and categories. Raises DataError if one is missing."""
    data = read_json(annotations)
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{annotations}: not a COCO file, it has no list {key!r}")
    if not data["categories"]:
        raise DataError(f"{annotations}: its list of categories is empty")
    return dict(data)


def _raise_problems(problems: list[str], annotations: Path) -> None:
    if problems:
        more = [f"… and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError("\n  ".join([f"{annotations}: {count}", *problems[:_SHOWN], *more]))


def _check_folder(annotations: Path, images: Path, entries: list[Any]) -> None:
    """Raise DataError with one line if the folder is missing or holds none of the images."""
    if not images.is_dir():
        raise DataError(f"{annotations}: its images are looked for in {images}, which is no folder")
    names = [str(e["file_name"]) for e in entries if isinstance(e, dict) and "file_name" in e]
    if names and not any(is_file(image_path(images, name)) for name in names):
        first = image_path(images, names[0])
        raise DataError(
            f"{annotations}: none of its {len(names)} images is in {images}; the first would be {first}"
        )


def _read_records(
    annotations: Path, images: Path, entries: list[Any], problems: list[str]
) -> tuple[dict[int, Record], set[int]]:
    """Return the images by id, and the ids of unusable ones, whose annotations are skipped."""
    found: dict[int, Record] = {}
    paths: set[str] = set()
    unusable: set[int] = set()
    silent = os.environ.get("RANK", "0") != "0"  # of torchrun
    for entry in progress(entries, f"checking {annotations.name}", delay=1, leave=False, silent=silent):
        try:
            record = read_record(entry, images)
            check_unseen("id", record.image_id, found)
            check_unseen("file", str(record.path), paths)
            paths.add(str(record.path))
            found[record.image_id] = record
        except DataError as error:
            problems.append(f"image {label_of(entry)}: {error}")
            if isinstance(entry, dict) and (identity := whole(entry.get("id"))) is not None:
                unusable.add(identity)
    return found, unusable


def _read_annotations(
    entries: list[Any],
    records: Mapping[int, Record],
    unusable: set[int],
    positions: Mapping[int, int],
    problems: list[str],
    remarks: list[str],
) -> dict[int, _Content]:
    """Return what is annotated, by the image's id; what looks wrong or was left out is added to the remarks."""
    contents = {i: _Content() for i in records}
    odd: list[Any] = []  # entries with boxes that may mean something else
    short: list[tuple[int, int]] = []  # annotations with polygons that are left out, and how many
    seen: set[int] = set()
    for entry in entries:
        record = None
        try:
            identity = integer(entry, "id")
            check_unseen("id", identity, seen)
            seen.add(identity)
            image_id = integer(entry, "image_id")
            record = records.get(image_id)
            if record is None and image_id in unusable:
                continue
            if record is None:
                raise DataError(f"image {image_id} is not in the list")
            instance, content = read_annotation(entry, record, positions), contents[image_id]
            crowd = is_crowd(entry)
            if count := num_short(entry.get("segmentation")):
                short.append((identity, count))
            if instance and not crowd:
                content.instances.append(instance)
                odd += [entry] if is_odd(entry, instance, record) else []
            else:
                content.left_out += 1
                content.num_crowds += crowd
                content.crowds += [instance.box] if instance else []
        except DataError as error:
            image = f" of image {record.image_id} ({record.path.name})" if record else ""
            problems.append(f"annotation {label_of(entry)}{image}: {error}")
    if doubt := doubt_about(odd, sum(len(content.instances) for content in contents.values())):
        remarks.append(doubt)
    if short:
        remarks.append(left_out_polygons(short))
    return contents
