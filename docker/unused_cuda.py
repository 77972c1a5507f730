"""Delete the files of CUDA and Triton that PyTorch is not linked with: `VENV/bin/python docker/unused_cuda.py`.

PyTorch's build with CUDA cannot be imported without the CUDA libraries that it is linked with. The others, 2.5 GB, are
opened for a GPU alone. In an environment with PyTorch's build for CPUs there is nothing to delete.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

PACKAGES = ("nvidia", "cuda", "triton")  # folders of site-packages


def linked(library: Path) -> set[str]:
    """Return the paths of all libraries that the linker loads with this one."""
    listed = subprocess.run(["ldd", str(library)], check=True, capture_output=True, text=True).stdout
    return {str(Path(path).resolve()) for path in re.findall(r" => (/\S+) \(", listed)}


def delete_unused(site: Path, needed: set[str]) -> int:
    """Delete the files of these packages that are not needed, and folders that become empty. Return the bytes."""
    size = 0
    paths = [path for name in PACKAGES for path in (site / name, *(site / name).rglob("*"))]
    for path in sorted(paths, reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.is_file() and str(path.resolve()) not in needed:
            size += path.stat().st_size
            path.unlink()
    return size


def main() -> None:
    """Delete what PyTorch is not linked with, and say how much it was."""
    site = Path(sysconfig.get_path("platlib"))
    (extension,) = site.glob("torch/_C.*.so")
    size = delete_unused(site, linked(extension))
    print(f"{size / 1e9:.1f} GB of CUDA and Triton deleted, which are opened for a GPU alone")


if __name__ == "__main__":
    main()
