"""`python -m bench.page.record`: record the answer that the page opens with, from the shipped model, as it streams.

The service runs inside this process. The picture is that in `service/page/example/`, and the answer is written beside
it.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from service.page.files import FOLDER

if TYPE_CHECKING:
    from fastapi import FastAPI

PICTURE = FOLDER / "example" / "astronaut.jpg"
RECORDED = PICTURE.with_suffix(".ndjson")
HEADERS = {"accept": "application/x-ndjson", "content-type": "image/jpeg"}
PAUSE = 0.1  # seconds between two looks at whether the model is ready


def record(app: FastAPI, picture: Path) -> bytes:
    """Return the lines of an app's answer to a picture, with explanations. Raise HTTPStatusError if it fails."""
    from fastapi.testclient import TestClient

    with TestClient(app) as client:
        while (ready := client.get("/readyz")).is_error:
            if ready.json()["type"] != "/problems/starting":
                ready.raise_for_status()
            time.sleep(PAUSE)
        client.post("/segment", content=picture.read_bytes(), headers=HEADERS)  # the first one is slower
        answer = client.post("/segment?explain=true", content=picture.read_bytes(), headers=HEADERS)
    content: bytes = answer.raise_for_status().content
    return content


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description="Record the answer that the page opens with.")
    parser.add_argument("--bundle", type=Path, default=Path("bundles/people"))
    parser.add_argument("--out", type=Path, default=RECORDED)
    given = parser.parse_args(arguments)
    # Imported here, because they take seconds, and `--help` does not need them.
    from service.app import create_app
    from service.settings import Settings

    lines = record(create_app(Settings(bundles=(given.bundle,), device="cpu")), PICTURE)
    given.out.write_bytes(lines)
    print(f"{given.out}: {len(lines.splitlines())} lines, {len(lines):,} bytes")


if __name__ == "__main__":
    main()
