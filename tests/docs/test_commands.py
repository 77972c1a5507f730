"""Every command in a block of README and docs is run as it stands there, or the page says why not.

tests/docs/pages.py has how a page says it, and tests/docs/session.py how blocks are run. Blocks that need an engine
are run by tests/docker/engine/test_documented_commands.py.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from tests.docs.check import BLOCKS, Record, check, needs_namespaces, of_suite, pages
from tests.docs.pages import LANGUAGES, PAGES, name_of
from tests.docs.session import copy_project
from tests.paths import ROOT

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture(scope="session")
def template(shared_folder: Path) -> Path:
    """A copy of the project, in which `make setup` has made what is missing of the shipped bundles."""
    folder = shared_folder / "project"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / ".done").exists():
            copy_project(folder)
            subprocess.run(["make", "setup"], cwd=folder, check=True, capture_output=True, timeout=1500)
            (folder / ".done").touch()
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A copy for one page."""
    made = tmp_path / "project"
    copy_project(made, template / "bundles")
    return made


@every_page
def test_every_block_names_its_language(page: Path) -> None:
    """So no command is in a block that is taken for something else."""
    for block in BLOCKS[page]:
        assert block.language in LANGUAGES, (
            f"line {block.line}: {block.language!r} is none of {sorted(LANGUAGES)}"
        )


@needs_namespaces
@pages(slow=False, engine=False)
def test_quick_commands(page: Path, project: Path, record_property: Record) -> None:
    check(page, of_suite(page, slow=False, engine=False), project, record_property, minutes=15)


@pytest.mark.slow
@needs_namespaces
@pages(slow=True, engine=False)
def test_all_commands(page: Path, project: Path, record_property: Record) -> None:
    check(page, of_suite(page, slow=True, engine=False), project, record_property, minutes=60)


def test_the_shell_blocks_of_the_readme_are_found() -> None:
    """Nothing else says that the parser sees them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    fences = re.findall(r"^```(?:sh|python)$", text, re.M)
    assert len(fences) == sum(block.language in ("sh", "python") for block in BLOCKS[ROOT / "README.md"]) > 5
