"""The image that was built from this checkout."""

from __future__ import annotations

import re

from tests.docker.engine.support.engine import Engine
from tests.paths import ROOT

NOT_NEEDED = ("pip", "timm", "torchvision", "onnx", "onnxscript", "pycocotools", "matplotlib")

UNCOMPILED = """
import importlib.util, os, sys
import service.app, service.cli.serve
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
of_packages = [file for file in files if file.endswith(".py") and "/site-packages/" in file]
assert len(of_packages) > 1000
print(*(file for file in of_packages if not os.path.exists(importlib.util.cache_from_source(file))))
"""


def run(engine: Engine, image: str, *command: str) -> str:
    """Run a command in a new container of the image, in place of the service."""
    limits = ("--rm", "--read-only", "--network", "none")
    return engine.docker("run", *limits, "--entrypoint", command[0], image, *command[1:])


def test_it_has_what_serves_and_nothing_else(engine: Engine, image: str) -> None:
    check = f"from importlib.util import find_spec; print([n for n in {NOT_NEEDED} if find_spec(n)])"
    assert run(engine, image, "python", "-c", check) == "[]"


def test_what_a_start_imports_is_compiled(engine: Engine, image: str) -> None:
    """Nothing can be written where it runs, so it would be compiled again at each start."""
    uncompiled = run(engine, image, "python", "-c", UNCOMPILED).split()
    assert len(uncompiled) < 30, uncompiled


def test_it_has_the_shipped_models(engine: Engine, image: str) -> None:
    shipped = sorted(path.stem for path in (ROOT / "model/weights").glob("*.safetensors"))
    text = run(engine, image, "cat", "/app/bundles/service.toml")
    assert sorted(re.findall(r"/app/bundles/(\w+)", text)) == shipped


def test_it_starts_as_an_unprivileged_user_with_a_health_check(engine: Engine, image: str) -> None:
    found = engine.inspect(image)["Config"]
    assert found["User"] == "10001:10001"
    assert found["StopSignal"] == "SIGTERM"
    assert found["Healthcheck"]["Test"][0] in ("CMD", "CMD-SHELL")
    assert not [name for name in found["Env"] if re.search("KEY=|TOKEN=|PASSWORD=", name)]


def test_what_is_refused_is_said_in_one_line(engine: Engine, image: str) -> None:
    done = engine.attempt("run", "--rm", image, "serve", "--bundle", "/missing")
    assert done.returncode == 2
    (line,) = (line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("warning"))
    assert "/missing is no bundle" in line
