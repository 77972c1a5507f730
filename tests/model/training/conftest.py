"""Data that several tests of training share. No test writes into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.data.coco import CocoDataset, load_coco
from tests.model import tiny


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO file of six pictures, which lie beside it."""
    return tiny.write_data(tmp_path_factory.mktemp("discs") / "data")


@pytest.fixture(scope="session")
def data(file: Path) -> CocoDataset:
    """The content of `file`."""
    return load_coco(file, file.parent)
