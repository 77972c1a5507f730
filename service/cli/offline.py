"""Segmenting files without a server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export.bundle import Bundle
from model.masks.overlay import Layer, draw, painted
from model.predict.images import decode
from service.engine.engine import Engine, Rules, Segmented, serving
from service.engine.results import LabelMap
from service.engine.workers import Workers
from service.http.parameters import Ask
from service.observe.metrics import Metrics, ModelMetrics
from service.output.answer import Answer, answer
from service.settings import Settings

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"))


class NotListed(ValueError):
    """A file without an entry in the annotations."""


@dataclass(frozen=True)
class Offline:
    """An engine at work, for files."""

    engine: Engine
    workers: Workers
    settings: Settings

    async def segment(self, file: Path, ask: Ask) -> tuple[Segmented, Answer]:
        """Raises ImageError, ParameterError, OSError."""
        with self.engine.place(ask.options) as place:
            found = await self.engine.segment(file.read_bytes(), ask.options, place)
        manifest = self.engine.manifest
        return found, await self.workers.in_pool(lambda left: answer(found, manifest, ask, file.name, left))

    def overlay(self, file: Path, found: Segmented, out: Path) -> None:
        """Draw what was found on the image. Raises OSError, ValueError (unknown suffix)."""
        pixels = decode(file.read_bytes(), max_pixels=self.settings.max_pixels).pixels
        manifest = self.engine.manifest
        if isinstance(found.found, LabelMap):
            painted(pixels, found.found.labels(found.height, found.width), manifest.palette).save(out)
            return
        names = manifest.categories
        layers = [
            Layer(mask.crop(found.width, found.height), f"{names[mask.category].name} {mask.score:.2f}")
            for mask in found.masks
        ]
        draw(pixels, layers).save(out)


@asynccontextmanager
async def offline(bundle: Bundle, settings: Settings) -> AsyncIterator[Offline]:
    """One request at a time, so nothing waits for company."""
    workers = Workers(settings.thread_budget)
    rules = Rules(settings.max_pixels, settings.max_points)
    engine = Engine(bundle, workers, rules, ModelMetrics(Metrics(), bundle.manifest.name))
    async with serving([engine], workers):
        yield Offline(engine, workers, settings)


async def segment_files(
    bundle: Bundle,
    settings: Settings,
    work: Sequence[tuple[Path, Ask | None]],
    overlay: Path | None,
) -> list[Any | Exception]:
    """For each file the answer, ready for JSON, or why there is none; `overlay`: draw the masks there."""
    found: list[Any | Exception] = []
    async with offline(bundle, settings) as engine:
        for file, ask in tqdm(work, unit="image", disable=len(work) == 1):
            try:
                if ask is None:
                    raise NotListed(f"{file.name} is not in the annotations")
                segmented, written = await engine.segment(file, ask)
            except Exception as error:  # also the device's: ONNX Runtime's have no base of their own
                found.append(error)
                continue
            found.append(written.payload)
            if overlay is not None:
                engine.overlay(file, segmented, overlay)
    return found


def images_in(folder: Path) -> list[Path]:
    """The folder's images by suffix, in name order. Raises ValueError if there is none."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise ValueError(f"{folder} has no images ({', '.join(sorted(SUFFIXES))})")
    return files


def maps_of(files: Sequence[Path], folder: Path) -> list[Path]:
    """Where the label map of each file goes: by its name, as .png. Raises ValueError if it would replace another."""
    sources: dict[Path, Path] = {}
    for file in files:
        if folder.resolve() == file.parent.resolve():
            raise ValueError(f"label maps have their images' names: choose another folder than {folder}")
        other = sources.setdefault(target := folder / f"{file.stem}.png", file)
        if other != file:
            raise ValueError(f"{other.name} and {file.name} would both become {target}; rename one")
    return list(sources)


def image_ids(annotations: Path) -> dict[str, int]:
    """COCO image ids by file name. Raises ValueError, OSError."""
    try:
        images = _images(annotations)
        ids = {Path(entry["file_name"]).name: int(entry["id"]) for entry in images}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not a COCO annotation file: {error!r}") from error
    if len(ids) < len(images):
        raise ValueError(f"{annotations} has images of equal file names; ids cannot be told by name")
    return ids


def _images(annotations: Path) -> Sequence[Mapping[str, Any]]:
    images: Sequence[Mapping[str, Any]] = json.loads(annotations.read_text(encoding="utf-8"))["images"]
    return images


def numbered(files: Sequence[Path], ask: Ask, ids: Mapping[str, int] | None) -> list[tuple[Path, Ask | None]]:
    """Each file with its image_id: the annotations' (None: not listed), else its place in the list from 1."""
    places = {file.name: place for place, file in enumerate(files, 1)} if ids is None else ids
    return [
        (file, replace(ask, image_id=places[file.name]) if file.name in places else None) for file in files
    ]
