"""Command line: `python -m service serve`, `segment` and `demo`.

Exit codes: 0 done, 1 some images of a folder were skipped, 2 it cannot be done (one line says why).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer
from pydantic import ValidationError

from export.bundle import open_bundle
from export.session import Execution
from model.masks.overlay import check_suffix
from model.predict.images import ImageError
from model.predict.instance import InstanceOptions
from service.cli.offline import image_ids, images_in, maps_of, numbered, segment_files
from service.cli.remote import Remote
from service.client import ClientError
from service.client.parameters import Parameters
from service.http.parameters import Ask, Format, SegmentQuery, explain
from service.settings import check_environment, described, read_settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)

Device = Annotated[Literal["cpu", "cuda"] | None, typer.Option(help="cpu unless set.")]
_EXPECTED = (
    ImageError,
    ClientError,
    httpx.InvalidURL,
    ValueError,
    RuntimeError,
    OSError,
)  # the user's mistake, or the device's trouble
Threads = Annotated[int | None, typer.Option(min=0, help="0: as many as this process may use.")]


@app.command(epilog=f"\b\nSettings, from the environment or the TOML file of --config:\n{described()}")
def serve(
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Folder of an exported model; repeat for several.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="127.0.0.1 unless set.")] = None,
    port: Annotated[int | None, typer.Option(help="8000 unless set.")] = None,
    device: Device = None,
    threads: Threads = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
) -> None:
    """Serve models over HTTP. What is not given comes from POINTREND_… in the environment."""
    from service.app import create_app
    from service.http.server import run

    with _one_line_errors():
        check_environment()
        settings = read_settings(
            bundles=bundle, host=host, port=port, device=device, threads=threads, config=config
        )
        code = run(create_app(settings), settings)
    if code:
        os._exit(code)  # requests were lost: something is stuck, and is not waited for


@app.command()
def segment(
    image: Annotated[Path, typer.Option(help="An image, or a folder: every image in it, in name order.")],
    out: Annotated[
        Path,
        typer.Option(help="JSON file to write; for --format png a picture, or for a folder one of them."),
    ],
    bundle: Annotated[Path | None, typer.Option(help="Folder of an exported model.")] = None,
    url: Annotated[str | None, typer.Option(help="Instead: the address of a running server.")] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="POINTREND_API_KEY", help="Of that server, if it needs one.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Of that server; its first if absent.")] = None,
    resolution: Annotated[
        str, typer.Option(help="native, or the side of box masks, or the height of a label map.")
    ] = "native",
    points: Annotated[str, typer.Option(help="auto, or points per level.")] = "auto",
    score: Annotated[float, typer.Option(help="Least score of a detection.")] = 0.5,
    max_instances: Annotated[int, typer.Option(help="Most detections per image.")] = 100,
    classes: Annotated[str | None, typer.Option(help="Names, comma-separated; all if absent.")] = None,
    boxes: Annotated[str | None, typer.Option(help='JSON [[x0,y0,x1,y1,"class"?],…] to segment.')] = None,
    format: Annotated[
        Format,
        typer.Option(
            help="coco: one results list; png: a label map, for a folder one for each image, by its name; else an "
            "answer per image, for a folder in a list."
        ),
    ] = "rle",
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
    with _one_line_errors():
        if (bundle is None) == (url is None):
            raise ValueError("give either --bundle or --url")
        if url is not None and overlay is not None:
            raise ValueError("--overlay goes with --bundle")
        if url is None and model is not None:
            raise ValueError("--model goes with --url: a bundle has one")
        given: Parameters = {
            "model": model,
            "resolution": resolution,
            "points": points,
            "score": score,
            "max_instances": max_instances,
            "classes": classes,
            "boxes": boxes,
            "format": format,
        }
        query = SegmentQuery.model_validate(given)
        folder = image.is_dir()
        if folder and overlay is not None:
            raise ValueError("--overlay draws one image, but --image is a folder")
        if overlay is not None:
            check_suffix(overlay)  # rather now than after the work
        files = images_in(image) if folder else [image]
        ids = None if annotations is None else image_ids(annotations)
        maps = maps_of(files, out) if folder and format == "png" else None
        # Rather now than after an hour's work.
        (out.parent if maps is None else out).mkdir(parents=True, exist_ok=True)
        if url is not None:
            # What fits its model, the server knows: here files are only numbered.
            work = numbered(files, Ask(InstanceOptions(), query.format, query.image_id), ids)
            found = asyncio.run(Remote(url, api_key, given).segment(work))
        else:
            assert bundle is not None
            settings = read_settings(device=device, threads=threads)
            opened = open_bundle(bundle, Execution(settings.device, settings.thread_budget))
            work = numbered(files, query.ask(opened.manifest.categories, task=opened.manifest.task), ids)
            found = asyncio.run(segment_files(opened, settings, work, overlay))
        payloads = [payload for payload in found if not isinstance(payload, Exception)]
        for file, payload in zip(files, found, strict=True):
            if isinstance(payload, Exception):
                if not folder:
                    raise ValueError(f"{file}: {payload}") from payload
                typer.echo(f"skipped {file.name}: {payload}", err=True)
        if maps is not None:
            for target, payload in zip(maps, found, strict=True):
                if not isinstance(payload, Exception):
                    target.write_bytes(payload)
        else:
            _write(out, payloads, format, folder)
    if any(isinstance(payload, Exception) for payload in found):
        raise typer.Exit(1)


def _write(out: Path, payloads: list[Any], format: Format, folder: bool) -> None:
    """One file for all of them."""
    if format == "coco":
        payloads = [result for results in payloads for result in results]
    answered = payloads if folder or format == "coco" else payloads[0]
    if isinstance(answered, bytes):
        out.write_bytes(answered)
    else:
        out.write_text(json.dumps(answered, ensure_ascii=False), encoding="utf-8", errors="replace")


@app.command()
def demo(
    bundle: Annotated[
        list[Path], typer.Option(help="Folder of an exported model; repeat for several. The first is asked.")
    ],
    image: Annotated[Path, typer.Option(help="An image.")],
    out: Annotated[Path, typer.Option(help="Folder for masks.json and overlay.png.")],
    score: Annotated[float, typer.Option(help="Least score of a detection.")] = 0.5,
) -> None:
    """Start a server, send it an image, show what comes back."""
    from service.cli.demo import run

    with _one_line_errors():
        run(bundle, image, out, score)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """A mistake of the user's ends in one line, not in a traceback."""
    try:
        yield
    except ValidationError as error:
        _fail("; ".join(str(found) for found in explain(error.errors())))
    except _EXPECTED as error:
        _fail(str(error))


def _fail(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
