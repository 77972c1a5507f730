"""Run what a suite runs of a page, and compare what it answers with what the page shows."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, Block, blocks, name_of
from tests.docs.session import Session, run

Record = Callable[[str, object], None]
needs_namespaces = pytest.mark.skipif(
    shutil.which("unshare") is None or shutil.which("ip") is None,
    reason="a page runs in namespaces of its own: needs Linux with util-linux and iproute2",
)
BLOCKS = {page: blocks(page.read_text(encoding="utf-8")) for page in PAGES}


def of_suite(page: Path, *, slow: bool, engine: bool) -> tuple[Block, ...]:
    """Return the blocks of a page that a suite runs. The slow one runs the quick ones, too: they prepare the others."""
    return tuple(
        block
        for block in BLOCKS[page]
        if block.runs and ("engine" in block.marks) == engine and (slow or "slow" not in block.marks)
    )


def pages(*, slow: bool, engine: bool) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each page that has blocks for this suite alone."""
    quick = {page: of_suite(page, slow=False, engine=engine) for page in PAGES}
    found = {page: of_suite(page, slow=slow, engine=engine) for page in PAGES}
    chosen = [page for page in PAGES if found[page] and (not slow or found[page] != quick[page])]
    return pytest.mark.parametrize("page", chosen, ids=name_of)


def check(
    page: Path,
    chosen: tuple[Block, ...],
    project: Path,
    record: Record,
    *,
    minutes: float,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run blocks of a page in a copy of the project. `record` is told which. `variables` are added to the shell's."""
    work = project.parent / "work"
    work.mkdir()
    session = run(chosen, project, work, seconds=60 * minutes, variables=variables or {})
    if session.status:
        failed = ([0] + [int(line) for line in re.findall(r"^== line (\d+)$", session.printed, re.M)])[-1]
        said = session.outputs.get(failed, "")[-4000:] + session.printed[-4000:]
        pytest.fail(f"{name_of(page)}:{failed} ended with {session.status}:\n{said}", pytrace=False)
    check_answers(page, session)
    record("commands", told(page, chosen))


def check_answers(page: Path, session: Session) -> None:
    """Compare the answers that a page shows with those that its commands gave."""
    for command, shown in zip(BLOCKS[page], BLOCKS[page][1:], strict=False):
        if "answer" in shown.marks and command.line in session.outputs:
            real, _ = json.JSONDecoder().raw_decode(session.outputs[command.line].lstrip())
            different = difference(json.loads(re.sub('(?<!")…', "null", shown.code)), real)
            assert not different, f"{name_of(page)}:{shown.line} {different}"


def difference(shown: Any, real: Any, where: str = "answer") -> str:
    """Return what differs: keys, texts, or numbers by more than a hundredth. `null` and `"…"` stand for anything."""
    if shown is None or (shown == "…" and isinstance(real, str)):
        return ""
    if isinstance(shown, dict) and isinstance(real, dict) and shown.keys() == real.keys():
        return next(filter(None, (difference(shown[key], real[key], f"{where}.{key}") for key in shown)), "")
    if isinstance(shown, list) and isinstance(real, list) and len(shown) == len(real):
        pairs = enumerate(zip(shown, real, strict=True))
        return next(filter(None, (difference(*pair, f"{where}[{i}]") for i, pair in pairs)), "")
    number = type(shown) in (int, float) and type(real) in (int, float)
    same = real == pytest.approx(shown, rel=0.01) if number else shown == real
    return "" if same else f"{where} is {real!r}, the page shows {shown!r}"


def told(page: Path, ran: tuple[Block, ...]) -> str:
    """Return one line that says which blocks of a page ran and which did not."""
    others = [block for block in BLOCKS[page] if block.runs and block not in ran]
    reasons = [f"line {block.line} not run: {block.reason}" for block in BLOCKS[page] if block.reason]
    left = [f"line {block.line} in another suite ({', '.join(sorted(block.marks))})" for block in others]
    return f"{name_of(page)}: ran lines {', '.join(str(block.line) for block in ran)}" + "".join(
        f"; {each}" for each in left + reasons
    )
