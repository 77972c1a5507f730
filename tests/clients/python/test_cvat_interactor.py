"""CVAT's interactor: what it answers, read by cvat-sdk's decoder, is the mask of the box."""

from __future__ import annotations

import importlib
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.bundle import Bundle
from pointrend_client import Client, ClientError
from tests.service.engine.test_pressure import COFFEE
from tests.service.support import running

annotation = pytest.importorskip("cvat_sdk.auto_annotation", reason="cvat-sdk is not installed")
if not hasattr(annotation, "InteractionFunctionSpec"):
    pytest.skip("this cvat-sdk has no interaction functions", allow_module_level=True)
masks = importlib.import_module("cvat_sdk.masks")
interactor = importlib.import_module("pointrend_client.cvat_interactor")
BOX = (20.0, 10.0, 90.0, 70.0)


def prompts(box: Any) -> Any:
    return SimpleNamespace(pos_points=(), neg_points=(), bounding_box=box)


def test_a_box_becomes_its_mask(tiny: Bundle) -> None:
    image = Image.open(io.BytesIO(COFFEE)).convert("RGB")
    with running(tiny) as url, Client(url) as client:
        function = interactor.create(url, resolution=56)
        assert (function.spec.min_pos_points, function.spec.min_bounding_boxes) == (0, 1)
        (shape,) = function.detect(None, image, prompts((BOX[:2], BOX[2:])))
        (expected,) = client.segment(image, boxes=[BOX], resolution=56).instances
        assert function.detect(None, image, prompts(None)) == []
        with pytest.raises(ClientError, match="boxes"):
            function.detect(None, image, prompts(((90.0, 70.0), (20.0, 10.0))))
    assert shape.type == "mask" and float(shape.attributes[0].value) == pytest.approx(expected.score)
    found = masks.decode_mask(shape.points, image_width=image.width, image_height=image.height)
    assert expected.mask.any() and np.array_equal(found, expected.mask)
