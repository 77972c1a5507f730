"""A scene for all tests of a run; nobody may change it."""

from __future__ import annotations

import pytest

from tests.bench import support


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> support.Scene:
    return support.scene(tmp_path_factory.mktemp("scene"))
