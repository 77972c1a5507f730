"""A semantic model for the tests of the service, and what they ask of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from export.bundle import Bundle
from export.manifest import Manifest, SemanticPart
from model.config.categories import Category
from model.masks import rle
from model.masks.palette import default_palette
from model.networks.eager import predictor_of
from tests.model import tiny_semantic
from tests.service.support import encoded

CATEGORIES = (Category(4, "ground"), Category(0, "disc"), Category(2, "bar"))
PICTURE = np.random.default_rng(0).integers(0, 256, (70, 100, 3)).astype(np.uint8)
BODY = encoded(PICTURE)
BINARY = {"content-type": "application/octet-stream"}


def street() -> Bundle:
    """An untrained network, run by PyTorch."""
    network = tiny_semantic.network()
    config = network.config
    manifest = Manifest(
        name="street",
        categories=CATEGORIES,
        preprocessing=config.preprocessing,
        model=SemanticPart(point_head=config.point, palette=default_palette(3), stride=config.base.stride),
        fine_channels=16,
        opset=18,
        files={},
    )
    return Bundle(manifest, predictor_of(network, CATEGORIES, manifest.palette), ("PyTorch",))


def post(client: TestClient, body: bytes = BODY, **asked: Any) -> Any:
    return client.post("/segment", params={"model": "street", **asked}, content=body, headers=BINARY)


def labels_of(answer: Any) -> np.ndarray:
    """Class positions that the segments cover; 255 where none does."""
    names = [category.name for category in CATEGORIES]
    labels = np.full((answer["height"], answer["width"]), 255, np.uint8)
    for segment in answer["segments"]:
        mask = rle.decode(
            rle.decompress(segment["segmentation"]["counts"]), answer["width"], answer["height"]
        )
        assert segment["area"] == mask.sum() and (labels[mask] == 255).all()
        labels[mask] = names.index(segment["category"])
    return labels
