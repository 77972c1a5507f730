"""Write the bytecode of what the service imports of its packages: `VENV/bin/python docker/bytecode.py serve|ray`.

Nothing can be written where the service runs, so a module without bytecode is compiled again at each start. What is
imported is a fifth of what the packages have, so they are not compiled as a whole.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

MODULES = {
    "serve": (
        "PIL.BmpImagePlugin",
        "PIL.GifImagePlugin",
        "PIL.ImageCms",
        "PIL.ImageOps",
        "PIL.JpegImagePlugin",
        "PIL.PngImagePlugin",
        "PIL.TiffImagePlugin",
        "PIL.WebPImagePlugin",
        "fastapi.openapi.docs",
        "fastapi_offline",
        "h11",
        "numpy.typing",
        "onnxruntime",
        "prometheus_client",
        "pydantic.v1",
        "pydantic_settings",
        "safetensors.torch",
        "starlette.middleware.cors",
        "torch.utils.dlpack",
        "typer",
        "uvicorn.middleware.proxy_headers",
        "uvicorn.protocols.http.h11_impl",
    ),
    "ray": ("ray.serve", "ray.util.metrics"),
}


def main() -> None:
    """Import the modules of a part; Python writes what it compiles for that."""
    for name in MODULES[sys.argv[1]]:
        importlib.import_module(name)
    if importlib.util.find_spec("openvino"):  # not in the image for GPUs
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it would send an event
        importlib.import_module("openvino")


if __name__ == "__main__":
    main()
