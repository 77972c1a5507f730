"""Write the image's requirements: `python docker/requirements/lock.py`, with uv (PyPI) on the PATH.

One resolution of everything (serving, exporting, both ONNX Runtimes) for Linux on x86-64 and ARM, with a hash of each
file that may be installed, cut into the parts that docker/install.sh installs. No address of an index is written.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
PYTHON = "3.13"
# torch and torchvision come in pairs; both ONNX Runtimes, because the image chooses; of CUDA 13 as torch is.
CHOSEN = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "onnxruntime",
    "onnxruntime-gpu==1.31.1; platform_machine == 'x86_64'",
    "uv",
)
# What PyTorch's build with CUDA requires, is not linked with, and opens for a GPU alone.
FOR_A_GPU = (
    "cuda-bindings",
    "cuda-pathfinder",
    "nvidia-cusolver",
    "nvidia-nvtx",
    "triton",
)
MACHINES = ("x86_64", "aarch64")
_EVERYWHERE = re.compile(
    r" ;(?: python_full_version < '3.15' and)? \(+platform_machine == 'aarch64'[^\\]*(?= \\)"
)


def resolve(*extras: str, chosen: tuple[str, ...], known: str = "") -> dict[str, str]:
    """Each package's lines by its name: the project's requirements, its extras', and the chosen ones."""
    environments = [f"sys_platform == 'linux' and platform_machine == '{machine}'" for machine in MACHINES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
        (folder / "pyproject.toml").write_text(f"{project}\n[tool.uv]\nenvironments = {environments}\n")
        (folder / "README.md").touch()
        (folder / "chosen.txt").write_text("\n".join(chosen))
        (folder / "known.txt").write_text(known)
        command = ["uv", "pip", "compile", "pyproject.toml", "chosen.txt", "--constraint", "known.txt"]
        options = [
            "--universal",
            f"--python-version={PYTHON}",
            "--generate-hashes",
            "--no-annotate",
            "--no-header",
        ]
        extra = [f"--extra={each}" for each in extras]
        done = subprocess.run(
            [*command, *options, *extra, "--quiet", "--no-emit-index-url", "--no-emit-find-links"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
    blocks = re.split(r"\n(?=\w)", done.stdout.strip())
    return {block.split("==")[0]: _EVERYWHERE.sub("", block) for block in blocks}


def is_torch(name: str) -> bool:
    """PyTorch with the CUDA libraries that its wheels for Linux need, whether there is a GPU or not."""
    return name in ("torch", "triton") or name.startswith(("nvidia-", "cuda-"))


def main() -> None:
    """Write each part."""
    everything = resolve("export", "ray", "label-studio", "bf16", chosen=CHOSEN)
    torch_and_onnxruntime = tuple(each for each in CHOSEN if not each.startswith("torchvision"))
    known = "\n".join(everything.values())
    serving = resolve("label-studio", chosen=torch_and_onnxruntime, known=known)
    exporting = resolve("export", chosen=CHOSEN, known=known)
    with_ray = resolve("ray", chosen=torch_and_onnxruntime, known=known)
    apart = ("torchvision", "onnxruntime", "onnxruntime-gpu", "uv")
    parts: dict[str, Callable[[str], bool]] = {
        "uv": lambda name: name == "uv",
        "common": lambda name: name in serving and not is_torch(name) and name not in apart,
        "torch": lambda name: is_torch(name) and name not in FOR_A_GPU,
        "torch-gpu": lambda name: name in FOR_A_GPU,
        "torchvision": lambda name: name == "torchvision",
        "onnxruntime-cpu": lambda name: name == "onnxruntime",
        "onnxruntime-gpu": lambda name: name == "onnxruntime-gpu",
        "openvino": lambda name: name.startswith("openvino"),
        "export": lambda name: name in exporting and name not in serving and name not in apart,
        "ray": lambda name: name in with_ray and name not in serving,
    }
    for part, belongs in parts.items():
        blocks = [block for name, block in everything.items() if belongs(name)]
        text = "\n".join(("# Written by docker/requirements/lock.py", *blocks, ""))
        (HERE / f"{part}.txt").write_text(text, encoding="utf-8")
        print(f"{part}: {len(blocks)}")


if __name__ == "__main__":
    main()
