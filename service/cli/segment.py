"""`python -m service segment`: segment files, here or through a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from pydantic import ValidationError

from model.errors import UserError
from model.masks.overlay import check_suffix
from service.cli.errors import expected_errors, needs_client, needs_video
from service.cli.files import ImageFile, check_not_source, check_out, images_in, targets_in, with_ids
from service.cli.offline import offline
from service.cli.options import Device, Score, Threads
from service.cli.overlay import THINGS, Look, Overlays
from service.cli.results import FileEach, Listed, OneFile, Results
from service.cli.work import Answerer, FileTally, work
from service.execution import open_bundles
from service.http.query.parameters import FormatName, SegmentQuery, explain
from service.output.format import Format
from service.output.formats import DEFAULT, FORMATS, described
from service.settings import Settings, read_settings
from service.torch_threads import set_torch_threads

if TYPE_CHECKING:
    from pointrend_client.parameters import Parameters


def segment(
    out: Annotated[
        Path,
        typer.Option(
            help="File to write; for a folder and a format that is not JSON, a folder of one file for each image."
        ),
    ],
    image: Annotated[
        Path | None, typer.Option(help="An image, or a folder: every image in it, in name order.")
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(help="A video instead: one list of the answers about its frames, which count from 0."),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of an exported model.")] = None,
    url: Annotated[str | None, typer.Option(help="The address of a running server, instead.")] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="POINTREND_API_KEY", help="Key for that server, if it needs one.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model of that server; its first if absent.")] = None,
    resolution: Annotated[
        str, typer.Option(help="native, or the side of box masks, or the height of a label map.")
    ] = "native",
    points: Annotated[str, typer.Option(help="auto, or points per level.")] = "auto",
    score: Score = 0.5,
    max_instances: Annotated[int, typer.Option(help="Most detections per image.")] = 100,
    classes: Annotated[str | None, typer.Option(help="Names, comma-separated; all if absent.")] = None,
    boxes: Annotated[str | None, typer.Option(help='JSON [[x0,y0,x1,y1,"class"?],…] to segment.')] = None,
    format: Annotated[
        FormatName,
        typer.Option(
            help=f"{described()}. A folder gives one list of all answers, or a file for each image.",
        ),
    ] = DEFAULT,
    explained: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also write where each mask comes from: its coarse mask, and the points evaluated.",
        ),
    ] = False,
    instance: Annotated[
        int | None, typer.Option(help="Of format cutout: the only instance to show; all if absent.")
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop", help="Of format cutout: show the objects' extent alone.")
    ] = False,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="COCO file whose image ids to use, by file name; without it they count from 1 (format cvat: 0)."
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the masks: a file, of a video a video, or for a folder of images a folder of NAME.jpg each."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a folder or video after an interruption.")
    ] = False,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Segment an image, a folder or a video, here (--bundle) or through a server (--url)."""
    with expected_errors():
        given = {
            "model": model,
            "resolution": resolution,
            "points": points,
            "score": score,
            "max_instances": max_instances,
            "classes": classes,
            "boxes": boxes,
            "format": format,
            "explain": explained,
            "instance": instance,
            "crop": crop,
        }
        _check_combination(bundle, url, model)
        asked = Segmenter(_query(given), given, bundle, url, api_key)
        settings = read_settings(device=device, threads=threads)
        if (image is None) == (video is None):
            raise UserError("give either --image or --video")
        if image is not None:
            skipped = SegmentJob(image, out, overlay, annotations, resume, asked).run(settings)
        else:
            assert video is not None
            if annotations is not None:
                raise UserError("--annotations has the ids of images; frames of a video have their numbers")
            skipped = VideoJob(video, out, overlay, resume, asked).run(settings)
    if skipped:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Segmenter:
    """Asks a bundle or a server, with the options of one command."""

    query: SegmentQuery
    given: Mapping[str, object]
    bundle: Path | None
    url: str | None
    api_key: str | None

    @property
    def format(self) -> Format:
        """The format of the answers."""
        return FORMATS[self.query.format]

    def listed(self, out: Path, files: Sequence[ImageFile], resume: bool, **more: object) -> Listed:
        """Return what keeps the answers as one list, and make its folder. Raises UserError, OSError."""
        out.parent.mkdir(parents=True, exist_ok=True)
        place = {"bundle": self.bundle and str(self.bundle.resolve()), "url": self.url}
        return Listed(out, files, not self.format.enveloped, {**self.given, **place, **more}, resume)

    def check_drawable(self) -> None:
        """Raise UserError unless answers can be drawn on their images."""
        if not self.format.drawable:
            allowed = ", ".join(name for name, format in FORMATS.items() if format.drawable)
            raise UserError(f"--overlay draws answers of format {allowed}, not {self.query.format}")

    @asynccontextmanager
    async def answerer(self, settings: Settings) -> AsyncIterator[tuple[Answerer, Look]]:
        """Yield the engine or the server, and how its answers look."""
        if self.url is not None:
            with needs_client():
                from service.cli.remote import remote
            parameters = cast("Parameters", self.given)
            async with remote(self.url, self.api_key, self.query, parameters) as server:
                yield server, server.look
            return
        assert self.bundle is not None
        set_torch_threads(1)  # of this thread; the device's will compute
        (opened,) = open_bundles(settings, [self.bundle])
        async with offline(opened, settings, self.query) as engine:
            yield engine, engine.look


@dataclass(frozen=True)
class SegmentJob:
    """What one command was given about images."""

    image: Path
    out: Path
    overlay: Path | None
    annotations: Path | None
    resume: bool
    asked: Segmenter

    def run(self, settings: Settings) -> int:
        """Do it, and return how many files were skipped. Raises what `expected_errors` ends with."""
        paths = images_in(self.image) if self.image.is_dir() else [self.image]
        files = with_ids(paths, self.annotations, self.asked.format.first_id)
        # What would make writing fail shows now, not after an hour's work.
        results, drawings = self._results(files), self._drawings(paths)
        tally = FileTally(len(files))

        async def done() -> str:
            async with self.asked.answerer(settings) as (answerer, look):
                overlays = None if drawings is None else Overlays(look, drawings, settings.max_pixels)
                await work(answerer, files, results, overlays, tally, alone=not self.image.is_dir())
                return THINGS[look.task]

        return _run(done(), tally, self.out, resumable=self.image.is_dir())

    def _results(self, files: Sequence[ImageFile]) -> Results:
        """Return what keeps the answers, and make its folder. Raises UserError, OSError."""
        kind = self.asked.format
        if self.image.is_dir() and not kind.listed:
            targets = targets_in([file.path for file in files], self.out, kind.suffix)
            self.out.mkdir(parents=True, exist_ok=True)
            return FileEach(targets, self.resume)
        check_out(self.out, kind, self.asked.query.format)
        if not self.image.is_dir():
            check_not_source("--out", self.out, self.image)
            self.image.open("rb").close()
            self.out.parent.mkdir(parents=True, exist_ok=True)
            return OneFile(self.out)
        return self.asked.listed(self.out, files, self.resume)

    def _drawings(self, paths: Sequence[Path]) -> Mapping[Path, Path] | None:
        """Return where each image is drawn, and make the folder. Raises UserError, OSError."""
        if self.overlay is None:
            return None
        self.asked.check_drawable()
        if not self.image.is_dir():
            check_suffix(self.overlay)
            check_not_source("--overlay", self.overlay, self.image)
            self.overlay.parent.mkdir(parents=True, exist_ok=True)
            return {self.image: self.overlay}
        targets = targets_in(paths, self.overlay, ".jpg")
        self.overlay.mkdir(parents=True, exist_ok=True)
        return targets


@dataclass(frozen=True)
class VideoJob:
    """What one command was given about a video."""

    path: Path
    out: Path
    overlay: Path | None
    resume: bool
    asked: Segmenter

    def run(self, settings: Settings) -> int:
        """Do it, and return how many frames were skipped. Raises what `expected_errors` ends with."""
        with needs_video():
            from service.cli.video import Video, check_target, work_on_video
        name, kind = self.asked.query.format, self.asked.format
        if not kind.listed:
            allowed = ", ".join(each for each, format in FORMATS.items() if format.listed)
            raise UserError(f"--video gives one list, whose format may be {allowed}, not {name}")
        check_out(self.out, kind, name)
        check_not_source("--out", self.out, self.path)
        if self.overlay is not None:
            self.asked.check_drawable()
            check_target(self.overlay)
            check_not_source("--overlay", self.overlay, self.path)
            self.overlay.parent.mkdir(parents=True, exist_ok=True)
        video = Video(self.path)
        files = video.files()
        results = self.asked.listed(self.out, files, self.resume, video=str(self.path.resolve()))
        tally = FileTally(len(files), "frame")

        async def done() -> str:
            async with self.asked.answerer(settings) as (answerer, look):
                await work_on_video(answerer, look, video, results, self.overlay, tally)
                return THINGS[look.task]

        return _run(done(), tally, self.out, resumable=True)


def _run(done: Coroutine[Any, Any, str], tally: FileTally, out: Path, *, resumable: bool) -> int:
    """Do what is to be done, which returns what was found, and say what came of it. Return how many were skipped."""
    try:
        what = asyncio.run(done)
    except BaseException:
        if tally.answered and resumable:
            count = tally.answered + tally.earlier
            typer.echo(
                f"{count} of {tally.files} {tally.unit}s are done: the same command with --resume goes on",
                err=True,
            )
        raise
    typer.echo(tally.summary(what, out), err=True)
    return tally.skipped


def _check_combination(bundle: Path | None, url: str | None, model: str | None) -> None:
    """Raise UserError for options that do not go together."""
    if (bundle is None) == (url is None):
        raise UserError("give either --bundle or --url")
    if url is None and model is not None:
        raise UserError("--model goes with --url: a bundle has one")


def _query(given: Mapping[str, Any]) -> SegmentQuery:
    try:
        return SegmentQuery.model_validate(given)
    except ValidationError as error:
        raise UserError("; ".join(str(found) for found in explain(error.errors()))) from error
