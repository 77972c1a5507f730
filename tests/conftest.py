"""What all tests share: markers, hypothesis' settings, exported bundles."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Before torch is imported: a worker of pytest-xdist has one thread, so that two workers do not contend for two cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from filelock import FileLock

from tests.paths import ROOT

# The same examples in every run, and no limit on the time of one: a busy machine must not fail a test.
# HYPOTHESIS_PROFILE=explore looks for new examples.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder: `pytest -m unit`, `-m parity`, `-m http`."""
    folders = {"parity": "parity", "service": "http"}
    for item in items:
        room = item.path.relative_to(ROOT / "tests").parts[0]
        item.add_marker(folders.get(room, "unit"))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run share; without pytest-xdist there is one worker."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def exported(shared_folder: Path) -> Callable[[str], Path]:
    """`exported(name)`: the bundle of the tiny checkpoint tests/golden/{name}.pkl, made once in a run.

    No test may write into it; copy it first.
    """

    def export(name: str) -> Path:
        out = shared_folder / "bundles" / name
        out.parent.mkdir(exist_ok=True)
        with FileLock(out.with_suffix(".lock")):
            if not out.exists():  # it appears whole or not at all
                # Imported here, because most tests need no exporter.
                from export.write import write_bundle
                from tests.parity.goldens import load_any

                write_bundle(load_any(name), out, name=name, source={}, full_size=False)
        return out

    return export
