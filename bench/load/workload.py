"""The requests that are sent: the example pictures at several sizes and resolutions."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from bench.load.driver import PlannedRequest

PICTURES = (Path("examples/astronaut.jpg"), Path("examples/grace_hopper.jpg"))
SCALES = (1.0, 0.75, 1.5)
RESOLUTIONS: tuple[str | int, ...] = ("native", 56, 224)
JPEG = (("content-type", "image/jpeg"),)


def same() -> list[PlannedRequest]:
    """Return one picture at the default settings, which all servers that are compared understand."""
    return [PlannedRequest("/segment", PICTURES[0].read_bytes(), JPEG)]


def as_json(request: PlannedRequest) -> PlannedRequest:
    """Return the same request with its image in JSON, as base64 in `image`."""
    body = json.dumps({"image": base64.b64encode(request.body).decode()}).encode()
    return replace(request, body=body, headers=(("content-type", "application/json"),))


def mixed() -> list[PlannedRequest]:
    """Return two pictures, upright and on their side, at three sizes and three resolutions."""
    bodies = [_encoded(p, s, turned) for p in PICTURES for s in SCALES for turned in (False, True)]
    return [
        PlannedRequest("/segment", body, JPEG, (("resolution", resolution),))
        for body, resolution in itertools.product(bodies, RESOLUTIONS)
    ]


def leaving(requests: Sequence[PlannedRequest], seconds: float) -> list[PlannedRequest]:
    """Return three rounds of the requests. A third of each, always other ones, is abandoned after some seconds."""
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
