"""`python -m bench.figures`: every measurement once, shortly if that is wanted, and pages from its files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.figures import __main__ as figures
from model.errors import UserError
from tests.paths import ROOT


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages and measurements, without what measures."""
    for name in (*map(str, figures.PAGES), str(figures.PICTURE), "model/weights/people.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_quick_run_measures_everything_and_leaves_docs_alone(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[str] = []

    def run(command: list[str]) -> SimpleNamespace:
        commands.append(" ".join(command[2:]))
        shutil.copytree(ROOT / "docs/load", figures.QUICK / "docs/load", dirs_exist_ok=True)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    page = checkout / "docs/load.md"
    page.write_text(page.read_text().replace("| queue |", "| typed by hand |"))
    figures.main(quick=True, without=["litserve", "ray"])
    assert [each.split(" --out")[0] for each in commands] == [
        "bench",
        "bench.speed.growth",
        "bench.load overhead",
        "bench.load overload --seconds 20",
        "bench.load burst",
        "bench.load soak --seconds 180",
        "bench.load plot",
    ]
    assert all("out/figures/docs" in each for each in commands)
    assert "typed by hand" in page.read_text()
    assert (figures.QUICK / "docs/load.md").read_text() == (ROOT / "docs/load.md").read_text()
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("[1/7] python -m bench --out") and told[1].startswith("[1/7] done in ")


def test_pages_are_written_without_measuring(checkout: Path) -> None:
    shutil.copytree(ROOT / "docs/load", checkout / "docs/load")
    page = checkout / "docs/load.md"
    page.write_text(page.read_text().replace("| queue |", "| typed by hand |"))
    figures.main(pages_only=True)
    assert page.read_text() == (ROOT / "docs/load.md").read_text()


def test_what_cannot_be_measured_is_said_before_anything_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_there", lambda package: package != "ray")
    with pytest.raises(UserError, match=r"ray not installed: pip install .*, or --without ray$"):
        figures.main()
