"""Bundles and servers for the tests of the service: no ONNX, no trained weights."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from export.bundle import Bundle
from export.manifest import InstancePart, Manifest
from model.checkpoints.eager import eager_predictor
from model.config.categories import Category
from model.config.instance import PointRendConfig
from model.config.parts import Preprocessing
from model.predict.coarse import InstanceCoarse
from model.predict.instance import InstancePredictor
from service.app import create_app
from service.decoding.decoder import Decoder
from service.http.server import Server, configured
from service.settings import Settings
from tests.parity.goldens import load_checkpoint

CATEGORIES = (Category(1, "disc"), Category(7, "ring"))
PIXELS = Preprocessing("RGB", (0.0,) * 3, (1.0,) * 3, short_edge=64, long_edge=128)
PATIENCE = 60.0  # seconds that a test waits for an event before it fails, on the busiest machine
POISON = (255, 0, 255)  # an image whose first pixel has this colour makes the coarse pass fail


@dataclass
class Discs:
    """A coarse pass that sees a disc and a fainter ring in every image that is not black.

    The brighter the image, the larger the disc. It remembers the size of each batch, waits for `gate`,
    and fails for a poisoned image.
    """

    batches: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        image, size, owners = inputs["image"], inputs["size"], inputs["prompt_batch"]
        self.batches.append(len(image))
        assert self.gate.wait(PATIENCE)
        if (image[:, :, 0, 0] == torch.tensor(POISON)).all(1).any():
            raise RuntimeError("the device trips over this image")
        seen = [i for i, each in enumerate(image) if each.max() > 0 for _ in CATEGORIES]
        quarter = torch.tensor([0.25, 0.25, 0.75, 0.75])
        boxes = [torch.stack([size[i, 1], size[i, 0]]).repeat(2) * quarter for i in seen]
        batch = torch.cat([torch.tensor(seen, dtype=torch.int64), owners])
        kinds = torch.cat([torch.arange(len(seen)) % 2, inputs["prompt_class"].clamp(min=0)])
        scores = torch.cat([torch.tensor([0.9, 0.6] * (len(seen) // 2)), torch.full((len(owners),), 0.8)])
        logits = [_disc(float(image[i].mean()), int(kind)) for i, kind in zip(batch, kinds, strict=True)]
        return InstanceCoarse(
            boxes=torch.cat([torch.stack(boxes) if boxes else torch.zeros(0, 4), inputs["prompts"]]),
            scores=scores,
            classes=kinds,
            batch=batch,
            coarse=torch.stack(logits) if logits else torch.zeros(0, 784, 1),
            fine=torch.zeros(len(image), 0, 0, 0),
        )._asdict()


def _disc(brightness: float, kind: int) -> Tensor:
    x = torch.linspace(-1, 1, 28)
    radius = (x[:, None] ** 2 + x**2).sqrt()
    inside = (radius < 0.4 + brightness / 512) & (radius > 0.25 * kind)
    return (inside.float() * 8 - 4).reshape(784, 1)


def disc_bundle(discs: Discs, name: str = "discs") -> Bundle:
    return Bundle(
        _manifest(name, CATEGORIES, PIXELS, None),
        InstancePredictor(discs, None, PIXELS, CATEGORIES),
        ("Stub",),
    )


def tiny_bundle() -> Bundle:
    """The untrained network of the parity tests, run by PyTorch."""
    checkpoint = load_checkpoint("tiny_r50")
    config = checkpoint.config
    assert isinstance(config.mask, PointRendConfig)
    manifest = _manifest("tiny", checkpoint.categories, config.preprocessing, config.mask)
    return Bundle(manifest, eager_predictor(checkpoint), ("PyTorch",))


def _manifest(
    name: str, categories: tuple[Category, ...], pixels: Preprocessing, head: PointRendConfig | None
) -> Manifest:
    return Manifest(
        name=name,
        categories=categories,
        preprocessing=pixels,
        model=InstancePart(point_head=head, score_threshold=0.05, max_detections=100),
        fine_channels=256,
        opset=18,
        files={},
    )


def settings(**changes: Any) -> Settings:
    return Settings(**{"threads": 1, "max_wait_ms": 1, **changes})


def picture(width: int = 120, height: int = 80, brightness: int = 100) -> NDArray[np.uint8]:
    return np.full((height, width, 3), brightness, np.uint8)


def encoded(image: Image.Image | NDArray[np.uint8], format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format, **options)
    return buffer.getvalue()


@contextmanager
def running(
    *bundles: Bundle,
    send_buffer: int | None = None,
    decoder: Decoder | None = None,
    warm: bool = True,
    **changes: Any,
) -> Iterator[str]:
    """The address of a real server with these bundles, ready, unless a test wants to see it before that (`warm`).

    send_buffer: bytes the kernel keeps, about.
    """
    chosen = settings(**changes)
    app = create_app(chosen, bundles, decoder=decoder)
    server = Server(configured(app, chosen, log_level="warning"))
    # With the protocol named, asyncio switches Nagle's algorithm off, as for the sockets that uvicorn makes itself.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_for(lambda: server.started)
        if warm:
            engines = app.state.service.engines.values()
            wait_for(lambda: all(engine.ready or engine.failure is not None for engine in engines))
        yield address
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def get(url: str) -> httpx.Response:
    """GET. The certificates of the system are not read, because that takes longer than most answers."""
    return httpx.get(url, verify=False, timeout=PATIENCE)


def metrics(url: str) -> str:
    """The metrics of a server."""
    return get(f"{url}/metrics").text


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE, pause: float = 0.005) -> None:
    """Return as soon as the condition holds, which is looked at again after each pause; time is of no importance."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)


@contextmanager
def beginning(url: str, length: int, query: str = "", key: str = "") -> Iterator[socket.socket]:
    """A connection on which a POST /segment has begun: its head is sent, of its `length` bytes of PNG none."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(
            f"POST /segment{query} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\n"
            f"Content-Length: {length}\r\nX-API-Key: {key}\r\n\r\n".encode()
        )
        yield connection


def kill_device() -> None:
    """Let the newest thread of a device end as soon as it is given work again, which is lost."""
    thread: Any = [each for each in threading.enumerate() if each.name.startswith("device")][-1]
    work_queue = thread._args[1]  # of concurrent.futures.thread._worker
    work_queue.put(_Death(work_queue))


class _Death:
    """Work for a thread of an executor that ends the thread instead of returning to it."""

    def __init__(self, work_queue: Any) -> None:
        self.future: Future[None] = Future()
        self._queue = work_queue

    def run(self) -> None:
        while self._queue.empty():
            time.sleep(0.001)
        raise SystemExit
