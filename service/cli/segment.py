"""`python -m service segment`: segment files, here or through a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from pydantic import ValidationError

from export.bundle import open_bundle
from export.session import Execution
from model.command_line import message
from model.errors import UserError
from model.masks.overlay import check_suffix
from service.cli.errors import EXPECTED, expected_errors, needs_client
from service.cli.files import ImageFile, images_in, targets_in, with_ids, write_one
from service.cli.offline import segment_files
from service.cli.options import Device, Score, Threads
from service.http.query.parameters import FormatName, SegmentQuery, explain
from service.output.format import Content
from service.output.formats import DEFAULT, FORMATS, described
from service.settings import read_settings

if TYPE_CHECKING:
    from service.client.parameters import Parameters


def segment(
    image: Annotated[Path, typer.Option(help="An image, or a folder: every image in it, in name order.")],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write; for a folder and a format that is not JSON, a folder of one file for each image."
        ),
    ],
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
    annotations: Annotated[
        Path | None,
        typer.Option(help="COCO file whose image ids to use, by file name; without it they count from 1."),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also draw the masks (one image, --bundle only).")
    ] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Segment an image or a folder, here (--bundle) or through a server (--url)."""
    with expected_errors():
        folder = image.is_dir()
        _check_combination(bundle, url, model, overlay, folder)
        given = {
            "model": model,
            "resolution": resolution,
            "points": points,
            "score": score,
            "max_instances": max_instances,
            "classes": classes,
            "boxes": boxes,
            "format": format,
        }
        query = _query(given)
        paths = images_in(image) if folder else [image]
        files = with_ids(paths, annotations)
        kind = FORMATS[format]
        # What would make writing fail shows now, not after an hour's work.
        targets = targets_in(paths, out, kind) if folder and not kind.is_json else None
        (out.parent if targets is None else out).mkdir(parents=True, exist_ok=True)
        if url is not None:
            with needs_client():
                from service.cli.remote import Remote
            remote = Remote(url, api_key, cast("Parameters", given))
            found = asyncio.run(remote.segment(files))
        else:
            assert bundle is not None
            settings = read_settings(device=device, threads=threads)
            opened = open_bundle(bundle, Execution(settings.device, settings.thread_budget))
            found = asyncio.run(segment_files(opened, settings, query, files, overlay))
        _report(files, found, folder)
        if targets is None:
            payloads = [payload for payload in found if not isinstance(payload, Exception)]
            write_one(out, payloads, kind, as_list=folder)
        else:
            for target, payload in zip(targets, found, strict=True):
                if isinstance(payload, bytes):
                    target.write_bytes(payload)
    if any(isinstance(payload, Exception) for payload in found):
        raise typer.Exit(1)


def _check_combination(
    bundle: Path | None, url: str | None, model: str | None, overlay: Path | None, folder: bool
) -> None:
    """Raise UserError for options that do not go together."""
    if (bundle is None) == (url is None):
        raise UserError("give either --bundle or --url")
    if url is not None and overlay is not None:
        raise UserError("--overlay goes with --bundle")
    if url is None and model is not None:
        raise UserError("--model goes with --url: a bundle has one")
    if folder and overlay is not None:
        raise UserError("--overlay draws one image, but --image is a folder")
    if overlay is not None:
        check_suffix(overlay)


def _query(given: Mapping[str, object]) -> SegmentQuery:
    try:
        return SegmentQuery.model_validate(given)
    except ValidationError as error:
        raise UserError("; ".join(str(found) for found in explain(error.errors()))) from error


def _report(files: Sequence[ImageFile], found: Sequence[Content | Exception], folder: bool) -> None:
    """Name the images of a folder that were skipped; raise why a single image has no answer."""
    seen: set[str] = set()
    for file, error in zip(files, found, strict=True):
        if not isinstance(error, Exception):
            continue
        expected = isinstance(error, EXPECTED)
        if not folder:
            raise UserError(f"{file.path}: {error}") if expected else error from error
        # The same failure of every image leaves one file with a traceback, not thousands.
        again = repr(error) in seen
        seen.add(repr(error))
        text = str(error) if expected or again else message(error, EXPECTED)
        typer.echo(f"skipped {file.path.name}: {text}", err=True)
