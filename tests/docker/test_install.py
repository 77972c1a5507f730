"""What the image's environment is installed from, with scripts that stand in for uv and for Python."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.docker.tools import DOCKER

REASON = "no such host"
UV = f"""#!/bin/sh
echo "$@" >>"$LOG"
case "$*" in
  *compile*) [ -z "$UNREACHABLE" ] || {{ printf 'error: no\\n  cause: {REASON}\\n' >&2; exit 2; }} ;;
  *"$FAILS"*) exit 1 ;;
esac
"""
PYTHON = """#!/bin/sh
echo "python $@" >>"$LOG"
case "$*" in
  *"pip install"*--target*)
    folder=${*#*--target } folder=${folder%% *}
    mkdir "$folder/bin"
    cp "$PACKED" "$folder/bin/uv" ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with stand-ins of uv and, in an environment, of Python."""
    (tmp_path / "bin").mkdir()
    for name, text in (("uv", UV), ("python", PYTHON), ("uname", "#!/bin/sh\necho x86_64\n")):
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def install(
    folder: Path, part: str, variant: str = "cpu", *more: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script. Return how it ended, and what it ran. Without PyTorch's own index, PyTorch has CUDA."""
    log = folder / "log"
    if environment.get("UNREACHABLE"):
        (folder / "lib/python3.13/site-packages/torch/lib").mkdir(parents=True)
        (folder / "lib/python3.13/site-packages/torch/lib/libtorch_cuda.so").touch()
    variables = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "LOG": str(log), "VARIANT": variant}
    done = subprocess.run(
        [DOCKER / "install.sh", part, folder, *more],
        env=os.environ | variables | {"UNREACHABLE": "", "FAILS": "nothing"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, log.read_text().splitlines() if log.exists() else []


def version(name: str) -> str:
    found = re.search(rf"^{name}==(\S+)", (DOCKER / f"requirements/{name}.txt").read_text(), re.M)
    assert found
    return found[1]


@pytest.mark.parametrize(("part", "name"), [("serve", "torch"), ("export", "torchvision")])
def test_a_cpu_has_pytorch_s_own_builds(folder: Path, part: str, name: str) -> None:
    done, ran = install(folder, part)
    assert done.returncode == 0, done.stderr
    assert any(line.endswith(f"--no-deps --torch-backend=cpu {name}=={version(name)}") for line in ran)
    assert not any(f"/{name}.txt" in line for line in ran)
    assert any(line.startswith("pip check") for line in ran)
    assert "index" not in done.stderr
    assert any(line.endswith("/openvino.txt") for line in ran) == (part == "serve")


@pytest.mark.parametrize(("part", "name"), [("serve", "torch"), ("export", "torchvision")])
def test_without_their_index_the_pinned_ones_are_installed(folder: Path, part: str, name: str) -> None:
    done, ran = install(folder, part, UNREACHABLE="1")
    assert done.returncode == 0, done.stderr
    assert any(re.search(rf"--require-hashes --requirement \S+/{name}\.txt$", line) for line in ran)
    if part == "serve":
        assert done.stderr.count("\n") == 1 and REASON in done.stderr and "3 GB" in done.stderr
        assert any(line.endswith("unused_cuda.py") for line in ran)
        # What only a GPU needs is not installed, so not all requirements are met.
        assert not any("torch-gpu" in line or line.startswith("pip check") for line in ran)


def test_a_gpu_has_the_pinned_ones_complete(folder: Path) -> None:
    _, ran = install(folder, "serve", "gpu")
    assert any(line.startswith("pip check") for line in ran)
    assert any("onnxruntime-gpu.txt" in line for line in ran)
    assert any(re.search(r"/torch\.txt .*/torch-gpu\.txt$", line) for line in ran)
    assert not any("--torch-backend" in line or "unused_cuda" in line or "openvino" in line for line in ran)


@pytest.mark.parametrize("fails", ["common.txt", "torch.txt"])
def test_what_cannot_be_installed_ends_the_build(folder: Path, fails: str) -> None:
    done, ran = install(folder, "serve", "gpu", FAILS=fails)
    assert done.returncode != 0
    assert not any(line.startswith("pip check") for line in ran)


def test_where_there_is_no_uv_the_pinned_one_is_there_for_the_run_alone(folder: Path) -> None:
    (folder / "tmp").mkdir()
    packed = (folder / "bin/uv").rename(folder / "packed")
    places = f"{folder / 'bin'}:/usr/bin:/bin"
    done, ran = install(folder, "ray", PATH=places, PACKED=str(packed), TMPDIR=str(folder / "tmp"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^python -m pip install .*--require-hashes .*/uv\.txt$", ran[0])
    assert any(line.endswith("/ray.txt") for line in ran)
    assert list((folder / "tmp").iterdir()) == []


def test_the_code_is_installed_without_requirements(folder: Path) -> None:
    done, ran = install(folder, "code", "cpu", "/code")
    assert done.returncode == 0, done.stderr
    assert "--no-deps" in ran[0] and ran[0].endswith(
        "--no-build-isolation --compile-bytecode --target /code ."
    )


def test_unknown_parts_and_variants_are_refused(folder: Path) -> None:
    done, ran = install(folder, "train")
    assert (done.returncode, done.stderr) == (2, "the parts are serve, export, ray and code, not train\n")
    done, ran = install(folder, "serve", "tpu")
    assert done.returncode == 2
    assert "VARIANT" in done.stderr
    assert ran == []


def test_only_files_of_cuda_that_are_not_needed_are_deleted(tmp_path: Path) -> None:
    program = runpy.run_path(str(DOCKER / "unused_cuda.py"))
    kept = ("nvidia/cu13/lib/libcudart.so.13", "torch/lib/libtorch.so")
    for name in (*kept, "nvidia/cudnn/lib/libcudnn_ops.so.9", "triton/language/core.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("12345")
    (tmp_path / "nvidia/cu13/lib/libcudart.so").symlink_to("libcudart.so.13")
    assert program["delete_unused"](tmp_path, {str((tmp_path / kept[0]).resolve())}) == 10
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not path.is_dir()}
    assert left == {*kept, "nvidia/cu13/lib/libcudart.so"}
    assert not (tmp_path / "triton").exists()
    assert not (tmp_path / "nvidia/cudnn").exists()


def test_the_libraries_that_pytorch_is_linked_with_are_found() -> None:
    (extension,) = (Path(sysconfig.get_path("platlib")) / "torch").glob("_C.*.so")
    libraries = {
        Path(name).name for name in runpy.run_path(str(DOCKER / "unused_cuda.py"))["linked"](extension)
    }
    assert {"libtorch_cpu.so", "libtorch_python.so"} <= libraries
