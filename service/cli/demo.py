"""One image through a real server: start it, wait until it is ready, post the image, show the answer, stop it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from model.errors import UserError
from model.masks.overlay import Layer, draw
from model.masks.paste import Crop
from model.predict.images import decode
from pointrend_client.errors import reason
from pointrend_client.results import parse
from service.cli.errors import Failed
from service.output.format import Json
from service.settings import read_settings

PATIENCE = 180.0  # seconds for the server to become ready, and for its answer


def run(bundles: Sequence[Path], image: Path, out: Path, score: float) -> None:
    """Serve the bundles and ask the first for instance masks. Print a table; write masks.json and overlay.png.

    Raises UserError, OSError.
    """
    data = image.read_bytes()
    pixels = decode(data, max_pixels=read_settings().max_pixels).pixels
    out.mkdir(parents=True, exist_ok=True)
    with _server(bundles) as client:
        print(f"server ready at {client.base_url}; POST /segment with {image.name}")
        answer = _post(client, data, score)
    print(table(answer))
    masks, overlay = out / "masks.json", out / "overlay.png"
    masks.write_text(json.dumps(answer, ensure_ascii=False, indent=1), encoding="utf-8")
    layers = [
        Layer(Crop(0, 0, each.mask), f"{each.category} {each.score:.2f}") for each in parse(answer).instances
    ]
    draw(pixels, layers).save(overlay)
    print(f"masks    {masks}\noverlay  {overlay}")


def table(answer: Json) -> str:
    """Return the instances and timings of an answer as a table for people."""
    rows = [("category", "score", "box (x, y, w, h)", "area", "resolution")] + [
        (
            instance["category"],
            f"{instance['score']:.3f}",
            ", ".join(f"{value:.0f}" for value in instance["bbox"]),
            f"{instance['area']} px",
            f"{instance['resolution']} × {instance['resolution']}",
        )
        for instance in answer["instances"]
    ]
    timings = " · ".join(f"{stage} {value:.0f}" for stage, value in answer["timings_ms"].items())
    head = f"{answer['model']}: {len(rows) - 1} instances in {answer['width']} × {answer['height']}"
    return "\n".join(["", head, "", *_aligned(rows), "", f"milliseconds: {timings}", ""])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _post(client: httpx.Client, data: bytes, score: float) -> Json:
    headers = {"content-type": "application/octet-stream"}
    try:
        response = client.post(
            "/segment", params={"score": score}, content=data, headers=headers, timeout=PATIENCE
        )
    except httpx.HTTPError as error:
        raise Failed(f"the server does not answer: {reason(error)}") from error
    answer: Any = response.json()
    if response.is_error:
        raise UserError(f"the server answers {response.status_code}: {answer['detail']}")
    return dict(answer)


@contextmanager
def _server(bundles: Sequence[Path]) -> Iterator[httpx.Client]:
    """Start a server, and yield a client of it once it is ready."""
    port = _free_port()
    named = [part for bundle in bundles for part in ("--bundle", str(bundle))]
    command = [sys.executable, "-m", "service", "serve", *named, "--port", str(port)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"], stdout=log, stderr=subprocess.STDOUT, text=True
        )
        try:
            # Proxies of the environment are for other hosts.
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                _wait_until_ready(client, process, log)
                yield client
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[str], log: IO[str]) -> None:
    """Return when the server is ready. Raises UserError with the last line of its log if it ends before."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            lines = log.read().strip().splitlines() or ["it says nothing"]
            raise UserError(f"the server does not start: {lines[-1].removeprefix('error: ')}")
        try:
            if client.get("/readyz", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise UserError(f"the server is not ready after {PATIENCE:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
