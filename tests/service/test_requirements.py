"""Serving needs the core requirements and nothing of training or exporting: the image has only those."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.parity.goldens import FOLDER

EXTRAS = (
    *("torchvision", "timm", "pycocotools", "faster_coco_eval", "onnx", "onnxscript", "matplotlib", "yaml"),
    *("scipy", "skimage", "huggingface_hub", "opentelemetry.sdk", "litserve", "ray", "supervision", "pytest"),
    *("httpx", "tqdm", "python_multipart", "multipart", "av"),
)
SERVERS = (
    "torch",
    "onnxruntime",
    "safetensors",
    "fastapi",
    "starlette",
    "uvicorn",
    "pydantic",
    "typer",
    "tqdm",
)
SERVES = """
import threading, time, urllib.error, urllib.request
from pathlib import Path
import uvicorn
import service.cli.commands, service.http.server
from service.app import create_app
from service.settings import Settings

bundle, picture = sys.argv[1:]
app = create_app(Settings(bundles=(Path(bundle),), threads=1, max_wait_ms=0))
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
thread = threading.Thread(target=server.run)
thread.start()
try:
    while not server.started:
        time.sleep(0.01)
    url = "http://127.0.0.1:%d" % server.servers[0].sockets[0].getsockname()[1]
    while True:
        try:
            urllib.request.urlopen(url + "/readyz")
            break
        except urllib.error.HTTPError as error:
            assert "warming up" in (found := error.read().decode()) or "warmed up" in found, found
            time.sleep(0.05)
    png = {"content-type": "image/png"}
    asked = urllib.request.Request(url + "/segment?score=0.05", Path(picture).read_bytes(), png)
    assert b'"category"' in urllib.request.urlopen(asked).read()
finally:
    server.should_exit = True
    thread.join()
"""
COMMAND = "import service.cli.commands; service.cli.commands.app(sys.argv[1:])"
WITHOUT_CLIENT = """
import service.cli.commands
from typer.testing import CliRunner

for command in ("demo --bundle b --image {0} --out o", "segment --url http://127.0.0.1:9 --image {0} --out o"):
    done = CliRunner().invoke(service.cli.commands.app, command.format(sys.argv[1]).split())
    assert done.exit_code == 2 and "error: this needs the extra `client`" in done.output, done.output
"""
WITHOUT_EXTRA = """
from model.errors import UserError
from service.app import create_app
from service.settings import Settings
try:
    create_app(Settings(label_studio_url="http://studio.example", label_studio_token="t"), [])
except UserError as error:
    assert str(error).startswith("label_studio_url: httpx is not installed"), error
else:
    raise AssertionError("it started")
"""
CLIENT = """
import pointrend_client
with pointrend_client.Client("http://127.0.0.1:9") as client:
    assert client
"""


def python(code: str, *arguments: str | Path, without: Sequence[str] = EXTRAS) -> None:
    """Run code that finds what it would find where these packages are not installed."""
    absent = f"import sys; sys.modules.update(dict.fromkeys({tuple(without)!r}))\n"
    done = subprocess.run(
        [sys.executable, "-c", absent + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_serving(exported: Callable[[str], Path]) -> None:
    python(SERVES, exported("tiny_r50"), FOLDER / "coffee.png")


def test_segmenting_files(exported: Callable[[str], Path], tmp_path: Path) -> None:
    image, out = tmp_path / "black.png", tmp_path / "out.json"
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(image)
    bundle = exported("tiny_r50")
    options = ("--bundle", bundle, "--image", image, "--out", out, "--overlay", tmp_path / "o.png")
    python(COMMAND, "segment", *options)
    assert json.loads(out.read_text())["width"] == 64


def test_what_needs_the_client_says_so() -> None:
    python(WITHOUT_CLIENT, FOLDER / "coffee.png")


def test_the_backend_for_label_studio_says_what_it_needs() -> None:
    python(WITHOUT_EXTRA)


def test_the_client_needs_nothing_of_the_server() -> None:
    python(CLIENT, without=(*SERVERS, "model", "service"))
