"""Serving needs the core requirements and nothing of training or exporting: the image has only those."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.parity.goldens import FOLDER

# What imports of these modules find is what they find where the packages are not installed.
ABSENT = (
    *("torchvision", "timm", "pycocotools", "faster_coco_eval", "onnx", "onnxscript", "matplotlib", "yaml"),
    *("scipy", "skimage", "huggingface_hub", "opentelemetry.sdk", "litserve", "ray", "supervision", "pytest"),
)
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}))\n"
SERVES = """
import time
from pathlib import Path
import service.__main__, service.client, service.cli.remote, service.http.server
from fastapi.testclient import TestClient
from service.app import create_app
from service.settings import Settings

bundle, picture = sys.argv[1:]
with TestClient(create_app(Settings(bundles=(Path(bundle),), threads=1, max_wait_ms=0))) as client:
    while not client.get("/readyz").is_success:
        assert client.get("/healthz").is_success
        time.sleep(0.1)
    answer = client.post("/segment?score=0.05", files={"image": Path(picture).read_bytes()})
    assert answer.status_code == 200, answer.text
    assert answer.json()["instances"]
"""
COMMAND = "import service.__main__; service.__main__.app(sys.argv[1:])"


def python(code: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_serving(exported: Callable[[str], Path]) -> None:
    python(SERVES, exported("tiny_r50"), FOLDER / "coffee.png")


def test_segmenting_files(exported: Callable[[str], Path], tmp_path: Path) -> None:
    image, out = tmp_path / "black.png", tmp_path / "out.json"
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(image)
    bundle = exported("tiny_r50")
    python(
        COMMAND,
        "segment",
        "--bundle",
        bundle,
        "--image",
        image,
        "--out",
        out,
        "--overlay",
        tmp_path / "o.png",
    )
    assert json.loads(out.read_text())["width"] == 64
