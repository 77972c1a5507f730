"""Fixtures that several folders share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Markers by folder: `pytest -m unit`, `-m parity`, `-m http`."""
    folders = {"parity": "parity", "service": "http"}
    for item in items:
        room = item.path.relative_to(ROOT / "tests").parts[0]
        item.add_marker(folders.get(room, "unit"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`exported(name)`: the bundle of the tiny checkpoint tests/golden/{name}.pkl, made once a session.

    Nobody may write into it; copy it first.
    """
    bundles: dict[str, Path] = {}

    def export(name: str) -> Path:
        if name not in bundles:
            # Imported here: most tests need no exporter.
            from export.write import write_bundle
            from tests.parity.goldens import load_any

            out = tmp_path_factory.mktemp("bundles") / name
            write_bundle(load_any(name), out, name=name, source={}, full_size=False)
            bundles[name] = out
        return bundles[name]

    return export
