"""What all tests share: markers, hypothesis' settings, exported bundles."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Before torch is imported: a worker of pytest-xdist has one thread, so that two workers do not contend for two cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Answers are compared with those of networks in fp32. bench/accuracy/precision.py measures what bf16 costs.
os.environ.setdefault("POINTREND_PRECISION", "fp32")

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
    """Mark tests by their folder: `pytest -m unit`, `-m parity`, `-m http`, `-m tools`, `-m engine`."""
    folders = {"parity": "parity", "service": "http", "clients": "http", "page": "page", "tools": "tools"}
    for item in items:
        folder = item.path.parent.relative_to(ROOT / "tests").parts
        in_containers = folder[:2] == ("docker", "engine")
        item.add_marker("engine" if in_containers else folders.get("".join(folder[:1]), "unit"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which commands of README and docs were run (tests/docs)."""
    passed = terminalreporter.getreports("passed")
    lines = [text for report in passed for name, text in report.user_properties if name == "commands"]
    if lines:
        terminalreporter.section("commands of README and docs")
    for line in sorted(map(str, lines)):
        terminalreporter.write_line(line)


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

    def write(out: Path) -> None:
        # Imported here, because most tests need no exporter.
        from export.write import write_bundle
        from tests.parity.goldens import load_any

        write_bundle(load_any(out.name), out, name=out.name, source={}, full_size=False)

    return lambda name: _once(shared_folder / "bundles" / name, write)


@pytest.fixture(scope="session")
def detecting(shared_folder: Path) -> Path:
    """The bundle of a tiny network of one class with a tiny detector in front of it, made once in a run.

    No test may write into it; copy it first.
    """

    def write(out: Path) -> None:
        from tests.export.detector.bundles import write_detecting

        write_detecting(out)

    return _once(shared_folder / "bundles" / "detecting", write)


def _once(out: Path, write: Callable[[Path], None]) -> Path:
    out.parent.mkdir(exist_ok=True)
    with FileLock(out.with_suffix(".lock")):
        if not out.exists():  # it appears whole or not at all
            write(out)
    return out
