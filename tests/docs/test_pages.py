"""How pages are read and run: what counts as a block, what fails, and what a block has of those before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.check import difference, needs_namespaces
from tests.docs.pages import blocks
from tests.docs.session import Session, run

SERVER = """
<!-- server -->
```sh
mkdir -p files && touch files/readyz
python3 -m http.server --directory files 8000
```
"""


def page(text: str, tmp_path: Path) -> Session:
    """Run a page in an empty folder."""
    project, work = tmp_path / "project", tmp_path / "work"
    (project / ".venv/bin").mkdir(parents=True)
    work.mkdir()
    return run(blocks(text), project, work, seconds=300, variables={})


def test_comments_above_a_block_say_how_it_is_run() -> None:
    (block,) = blocks(
        "<!-- slow, server -->\n<!-- given: touch data -->\n<!-- with: 300 → 2; a → b -->\n```sh\na 300\n```\n"
    )
    assert (block.line, block.language, block.code) == (4, "sh", "a 300\n")
    assert block.marks == {"slow", "server"} and block.given == "touch data\n"
    assert block.instead == (("300", "2"), ("a", "b")) and block.runs


def test_a_block_that_is_not_run_has_a_reason_and_text_in_between_ends_a_comment() -> None:
    first, second = blocks(
        "<!-- not run: needs a GPU -->\n```sh\na\n```\n<!-- slow -->\n\nText.\n\n```sh\nb\n```\n"
    )
    assert first.reason == "needs a GPU" and not first.runs
    assert second.marks == frozenset() and second.runs


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("slwo", "'slwo'.* is none of"),
        ("not run:", "needs a reason"),
        ("with: 400 → 2", "'400' is not in the block"),
        ("with: 300", "is not in the block"),
    ],
)
def test_a_mistake_in_a_comment_is_an_error(comment: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        blocks(f"<!-- {comment} -->\n```sh\na 300\n```\n")


@needs_namespaces
def test_a_block_has_what_the_blocks_before_it_made(tmp_path: Path) -> None:
    session = page(
        "```sh\nname=x\necho 1 > file\n```\n```python\nprint(open('file').read())\n```\n"
        "<!-- given: echo 2 > file -->\n<!-- with: there → here -->\n```sh\necho $name there $(cat file)\n```\n",
        tmp_path,
    )
    assert session.status == 0, session.printed
    assert session.outputs == {1: "", 5: "1\n\n", 10: "x here 2\n"}


@needs_namespaces
def test_a_server_goes_on_until_the_next_one(tmp_path: Path) -> None:
    ask = "\n```sh\ncurl --silent --show-error http://127.0.0.1:8000/\n```\n"
    session = page(SERVER + ask + SERVER.replace("files", "others") + ask, tmp_path)
    assert session.status == 0, session.printed
    _, first, _, second = (text for _, text in sorted(session.outputs.items()))
    assert "readyz" in first and "readyz" in second


@needs_namespaces
@pytest.mark.parametrize(
    "block",
    [
        "```sh\nfalse\ntrue\n```",
        "```sh\nfalse | true\n```",
        "```python\nraise SystemExit(3)\n```",
        f"{SERVER}\n```sh\ncurl --silent http://127.0.0.1:8000/missing\n```",
        "<!-- server -->\n```sh\ntrue\n```",
    ],
    ids=["command", "pipe", "python", "answer", "server"],
)
def test_what_fails_ends_the_page(block: str, tmp_path: Path) -> None:
    session = page(f"{block}\n\n```sh\ntouch reached\n```\n", tmp_path)
    assert session.status != 0
    assert not (tmp_path / "project/reached").exists()


def test_an_answer_may_differ_where_the_page_has_dots_and_in_the_last_digits() -> None:
    shown = {"id": "…", "time": None, "name": "people", "scores": [0.5, 0.25], "side": 896}
    real = {"id": "a1", "time": 3.2, "name": "people", "scores": [0.501, 0.2501], "side": 896}
    assert difference(shown, real) == ""
    for key, other in {"id": 1, "name": "street", "scores": [0.5], "side": 448}.items():
        assert key in difference(shown, real | {key: other})
    assert difference(shown, {**real, "new": 1}) and difference(shown, {})
