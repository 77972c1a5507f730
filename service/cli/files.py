"""The files that `segment` reads and writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import UserError
from service.output.format import Content, Format

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"))


class NotListed(UserError):
    """A file has no entry in the annotations."""


@dataclass(frozen=True)
class ImageFile:
    """An image to segment, and its id for COCO's results; None: the annotations do not list it."""

    path: Path
    image_id: int | None

    def listed_id(self) -> int:
        """Return its id. Raises NotListed if it has none."""
        if self.image_id is None:
            raise NotListed(f"{self.path.name} is not in the annotations")
        return self.image_id


def images_in(folder: Path) -> list[Path]:
    """Return the folder's images, chosen by suffix, in the order of their names. Raises UserError if there is none."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise UserError(f"{folder} has no images ({', '.join(sorted(SUFFIXES))})")
    return files


def with_ids(files: Sequence[Path], annotations: Path | None) -> list[ImageFile]:
    """Give each file its id: that of the annotations, by file name, else its place in the list, from 1.

    Raises UserError, OSError.
    """
    if annotations is None:
        return [ImageFile(file, place) for place, file in enumerate(files, 1)]
    ids = image_ids(annotations)
    return [ImageFile(file, ids.get(file.name)) for file in files]


def image_ids(annotations: Path) -> dict[str, int]:
    """Return the image ids of a COCO annotation file by file name. Raises UserError, OSError."""
    try:
        images: Sequence[Mapping[str, Any]] = json.loads(annotations.read_text(encoding="utf-8"))["images"]
        ids = {Path(entry["file_name"]).name: int(entry["id"]) for entry in images}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{annotations} is not a COCO annotation file: {error!r}") from error
    if len(ids) < len(images):
        raise UserError(f"{annotations} has images of equal file names, so the id of a file is not clear")
    return ids


def targets_in(files: Sequence[Path], folder: Path, format: Format) -> list[Path]:
    """Return where the answer of each image goes if each has a file of its own: its name with the format's suffix.

    Raises UserError if that would replace an image or another answer.
    """
    sources: dict[Path, Path] = {}
    for file in files:
        if folder.resolve() == file.parent.resolve():
            raise UserError(f"answers have their images' names: choose another folder than {folder}")
        other = sources.setdefault(target := folder / f"{file.stem}{format.suffix}", file)
        if other != file:
            raise UserError(f"{other.name} and {file.name} would both become {target}; rename one")
    return list(sources)


def write_one(out: Path, payloads: Sequence[Content], format: Format, as_list: bool) -> None:
    """Write all answers into one file.

    Lists of COCO's are joined into one; other answers become a list if `as_list`, or else there is one of them.
    """
    if not format.is_json:
        (payload,) = payloads
        assert isinstance(payload, bytes)
        out.write_bytes(payload)
        return
    answered: Any = list(payloads) if as_list else payloads[0]
    if not format.enveloped:
        answered = [entry for payload in payloads for entry in payload]
    out.write_text(json.dumps(answered, ensure_ascii=False), encoding="utf-8", errors="replace")
