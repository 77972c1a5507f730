"""What is sent: the free example pictures, at several sizes and resolutions."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from bench.load.driver import Request

PICTURES = (Path("examples/astronaut.jpg"), Path("examples/grace_hopper.jpg"))
SCALES = (1.0, 0.75, 1.5)
RESOLUTIONS: tuple[str | int, ...] = ("native", 56, 224)
JPEG = (("content-type", "image/jpeg"),)


def same() -> list[Request]:
    """One picture at the default settings: what every server here can be asked."""
    return [Request("/segment", PICTURES[0].read_bytes(), JPEG)]


def as_json(request: Request) -> Request:
    """The same image in JSON, base64 in `image`."""
    body = json.dumps({"image": base64.b64encode(request.body).decode()}).encode()
    return replace(request, body=body, headers=(("content-type", "application/json"),))


def mixed() -> list[Request]:
    """Two pictures, upright and on their side, at three sizes and three resolutions."""
    bodies = [_encoded(p, s, turned) for p in PICTURES for s in SCALES for turned in (False, True)]
    return [
        Request("/segment", body, JPEG, (("resolution", resolution),))
        for body, resolution in itertools.product(bodies, RESOLUTIONS)
    ]


def leaving(requests: Sequence[Request], seconds: float) -> list[Request]:
    """Three rounds of them; a third of the clients, another one each round, hang up after a time."""
    count = len(requests)
    return [
        replace(requests[i % count], leaves_after=seconds if (i + i // count) % 3 == 2 else None)
        for i in range(3 * count)
    ]


def _encoded(path: Path, scale: float, turned: bool) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        image = picture.convert("RGB").resize([round(scale * side) for side in picture.size])
    (image.transpose(Image.Transpose.ROTATE_90) if turned else image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
