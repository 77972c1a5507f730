"""LitServe around the same engine, with its own batching. Its workers are processes that import this file.

LitServe reads the annotations of `decode_request`, which `from __future__ import annotations` would turn into strings.
"""

import base64
from pathlib import Path
from typing import Any

import litserve
import typer
from fastapi import Request, Response

from bench.load.peers import BundleDir, Port, Segmented, opened, read, segment, written
from model.predict.images import DecodedImage

BATCH = 4


class Api(litserve.LitAPI):  # type: ignore[misc]  # it has no types
    """Decode, predict and encode, all in LitServe's worker."""

    def __init__(self, folder: Path) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=0.005, api_path="/segment")
        self.folder = folder

    def setup(self, device: Any) -> None:
        self.bundle = opened(self.folder)

    def decode_request(self, request: Request) -> DecodedImage:
        """Decode the image of a JSON body, because what LitServe hands to its worker must be picklable."""
        return read(base64.b64decode(request["image"]))

    def batch(self, inputs: list[DecodedImage]) -> list[DecodedImage]:
        return inputs

    def predict(self, inputs: list[DecodedImage] | DecodedImage) -> list[Segmented]:
        return segment(self.bundle, inputs if isinstance(inputs, list) else [inputs])

    def unbatch(self, output: list[Segmented]) -> list[Segmented]:
        return output

    def encode_response(self, output: Segmented) -> Response:
        return Response(written(output), media_type="application/json")


def main(bundle: BundleDir, port: Port) -> None:
    """Serve with LitServe."""
    server = litserve.LitServer(Api(bundle), accelerator="cpu")
    server.run(port=port, generate_client_file=False)


if __name__ == "__main__":
    typer.run(main)
