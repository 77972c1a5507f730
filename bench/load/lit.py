"""LitServe around the same engine, with its own batching. Its workers are processes that import this file.

It reads the annotations of `decode_request`, so they must not be strings: no `from __future__ import annotations`.
"""

import base64
from pathlib import Path
from typing import Annotated, Any

import litserve
import typer
from fastapi import Request, Response

from bench.load.peers import opened, read, segment, written
from model.predict.images import DecodedImage
from service.engine.engine import Segmented

BATCH = 4


class Api(litserve.LitAPI):  # type: ignore[misc]  # it has no types
    """Decode, predict and encode, where LitServe wants them: all in its worker."""

    def __init__(self, folder: Path) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=0.005, api_path="/segment")
        self.folder = folder

    def setup(self, device: Any) -> None:
        self.bundle = opened(self.folder)

    def decode_request(self, request: Request) -> DecodedImage:
        """Of a JSON body, which is parsed already: what LitServe hands to its worker must be picklable."""
        return read(base64.b64decode(request["image"]))

    def batch(self, inputs: list[DecodedImage]) -> list[DecodedImage]:
        return inputs

    def predict(self, inputs: list[DecodedImage] | DecodedImage) -> list[Segmented]:
        return segment(self.bundle, inputs if isinstance(inputs, list) else [inputs])

    def unbatch(self, output: list[Segmented]) -> list[Segmented]:
        return output

    def encode_response(self, output: Segmented) -> Response:
        return Response(written(self.bundle, output), media_type="application/json")


def main(bundle: Annotated[Path, typer.Option()], port: Annotated[int, typer.Option()]) -> None:
    server = litserve.LitServer(Api(bundle), accelerator="cpu")
    server.run(port=port, generate_client_file=False)


if __name__ == "__main__":
    typer.run(main)
