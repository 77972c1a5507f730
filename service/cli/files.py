"""The files that `segment` reads, and the names of those that it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from model.errors import UserError
from model.predict.suffixes import IMAGE_SUFFIXES, is_listed
from service.output.format import Format


class ImageSource(Protocol):
    """What an answer is asked about: a file, or a frame of a video."""

    @property
    def name(self) -> str:
        """What it is called in messages and answers."""
        ...

    def listed_id(self) -> int:
        """Return its id for COCO's results. Raises NotListed if it has none."""
        ...

    def read(self) -> bytes:
        """Return the bytes of its file. Raises OSError."""
        ...


def check_not_source(option: str, target: Path, source: Path) -> None:
    """Raise UserError if the file that `option` names is the one that is segmented."""
    if target.resolve() == source.resolve():
        raise UserError(
            f"{option} {target} is the file that is segmented, which would be lost: name another file"
        )


class NotListed(UserError):
    """A file has no entry in the annotations."""


@dataclass(frozen=True)
class ImageFile:
    """An image to segment, and its id for COCO's results; None: the annotations do not list it."""

    path: Path
    image_id: int | None

    @property
    def name(self) -> str:
        """Its name without the folder, as text that can be written; unreadable bytes of it are replaced."""
        return self.path.name.encode("utf-8", "replace").decode()

    def listed_id(self) -> int:
        """Return its id. Raises NotListed if it has none."""
        if self.image_id is None:
            raise NotListed(f"{self.name} is not in the annotations")
        return self.image_id

    def read(self) -> bytes:
        """Return its bytes. Raises OSError."""
        return self.path.read_bytes()


def images_in(folder: Path) -> list[Path]:
    """Return the folder's images, chosen by suffix, in the order of their names. Raises UserError if there is none."""
    files = sorted(file for file in folder.iterdir() if is_listed(file) and file.is_file())
    if not files:
        raise UserError(f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def with_ids(files: Sequence[Path], annotations: Path | None, first: int = 1) -> list[ImageFile]:
    """Give each file its id: that of the annotations, by file name, else its place in the list, from `first`.

    Raises UserError, OSError.
    """
    if annotations is None:
        return [ImageFile(file, place) for place, file in enumerate(files, first)]
    ids = image_ids(annotations)
    return [ImageFile(file, ids.get(file.name)) for file in files]


def image_ids(annotations: Path) -> dict[str, int]:
    """Return the image ids of a COCO annotation file by file name. Raises UserError, OSError."""
    try:
        images: Sequence[Mapping[str, Any]] = json.loads(annotations.read_text(encoding="utf-8-sig"))[
            "images"
        ]
        ids = {Path(entry["file_name"].replace("\\", "/")).name: int(entry["id"]) for entry in images}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{annotations} is not a COCO annotation file: it needs a list `images` with `id` and `file_name`"
        ) from error
    if len(ids) < len(images):
        raise UserError(f"{annotations} has images of equal file names, so the id of a file is not clear")
    return ids


def targets_in(files: Sequence[Path], folder: Path, suffix: str) -> dict[Path, Path]:
    """Return where what belongs to each image goes, if each has a file of its own: its name with this suffix.

    Raises UserError if that would replace an image or another answer.
    """
    sources: dict[Path, Path] = {}
    for file in files:
        if folder.resolve() == file.parent.resolve():
            raise UserError(f"answers have their images' names: choose another folder than {folder}")
        other = sources.setdefault(target := folder / f"{file.stem}{suffix}", file)
        if other != file:
            raise UserError(f"{other.name} and {file.name} would both become {target}; rename one")
    return {file: target for target, file in sources.items()}


def check_out(out: Path, format: Format, name: str) -> None:
    """Raise UserError if an answer of this format should not be written into a file of this name."""
    if out.is_dir():
        raise UserError(
            f"--out {out} is a folder: name a file in it, such as {out / f'answer{format.suffix}'}"
        )
    suffix = out.suffix.lower()
    picture = suffix in IMAGE_SUFFIXES or suffix in Image.registered_extensions()
    if format.is_json and picture:
        raise UserError(
            f"--out {out} is a picture's name, but format {name} is JSON: name it .json, ask for --format png "
            f"(label maps), or draw with --overlay {out.name}"
        )
    if not format.is_json and suffix not in ("", format.suffix) and (picture or suffix == ".json"):
        raise UserError(f"--out {out}: format {name} is written as {format.suffix}, not as {suffix}")
