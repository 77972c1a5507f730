"""README and docs name only files, modules, commands, settings and headings that exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from service.settings import PREFIX, Settings
from tests.paths import ROOT

PAGES = sorted(
    page
    for folder in (ROOT, ROOT / "docs", ROOT / "examples", ROOT / "model/weights")
    for page in folder.glob("*.md")
)
MADE_BY_COMMANDS = ("docker/bundles/mine",)  # paths that a reader makes
# Old commands and paths are part of the notebook of experiments.
NOTEBOOK = ROOT / "docs/experiments.md"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)
CURRENT_PAGES = pytest.mark.parametrize("page", [page for page in PAGES if page != NOTEBOOK], ids=name_of)

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```", re.S)
_INLINE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:model|export|service|bench|tests|docs|docker|examples)/[\w./-]*")
_MODULE = re.compile(r"-m ((?:model|export|service|bench|tests)[\w.]*)")
_SETTING = re.compile(rf"{PREFIX}([A-Z][A-Z_]*)")
# Variables of the service that are no settings: one for error messages.
_OTHER_VARIABLES = {"DEBUG"}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", text_of(page)), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY_PAGE
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in _LINK.findall(text_of(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@CURRENT_PAGES
def test_files_exist(page: Path) -> None:
    """Paths in code that begin with a folder of this repository. `*` and `…` stand for something else."""
    for code in _INLINE.findall(_CODE.sub("", text_of(page))):
        for name in re.findall(rf"(?<![\w./-])({_PATH.pattern})(?![*…{{])", code):
            # A name in a module, such as model/predict/images.decode, is allowed.
            known = (ROOT / name).exists() or (ROOT / name).with_suffix(".py").is_file()
            assert known or name.startswith(MADE_BY_COMMANDS), name


@EVERY_PAGE
def test_modules_of_commands_exist(page: Path) -> None:
    for module in _MODULE.findall(text_of(page)):
        found = importlib.util.find_spec(module)
        assert found is not None, module
        if found.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{module}.__main__") is not None, f"{module} cannot be run"


@EVERY_PAGE
def test_settings_exist(page: Path) -> None:
    for name in _SETTING.findall(text_of(page)):
        assert (
            name.rstrip("_").lower() in Settings.model_fields
            or name in _OTHER_VARIABLES
            or not name.rstrip("_")
        ), name


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Return the modules that a page runs, in blocks of shell code and within text, with their arguments."""
    text = text_of(page)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += _INLINE.findall(_CODE.sub("", text))
    found = [(match[1], line[match.end() :]) for line in lines for match in _MODULE.finditer(line)]
    return [(module, shlex.split(rest, comments=True)) for module, rest in found]


@EVERY_PAGE
def test_commands_of_make_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"^ *make ([a-z-]+)|`make ([a-z-]+)", text_of(page), re.M)
    assert {first or second for first, second in named} <= known


@cache
def command_of(module: str) -> Any:
    """Return the command line of a module: its `app`, or its one function."""
    found = importlib.util.find_spec(module)
    main = f"{module}.__main__" if found and found.submodule_search_locations is not None else module
    loaded = importlib.import_module(main)
    # Where the imports take a while, `main` makes them, so that Ctrl-C is quiet from the first moment.
    for place in (f"{module}.cli", f"{module}.cli.commands"):
        if module in ("model", "export", "service"):
            with suppress(ModuleNotFoundError):
                loaded = importlib.import_module(place)
    app = getattr(loaded, "app", None)
    if app is None:
        app = typer.Typer()
        app.command()(getattr(loaded, "main", None) or getattr(loaded, module.partition(".")[0]))
    return typer.main.get_command(app)


@CURRENT_PAGES
def test_options_of_commands_exist(page: Path) -> None:
    for module, arguments in commands(page):
        if module == "bench.scale" or not arguments:  # of Ray
            continue
        command = command_of(module)
        if commands_below := getattr(command, "commands", None):
            assert arguments[0] in commands_below, f"{module} {arguments[0]}"
            command = commands_below[arguments[0]]
        known = {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
        assert given <= known | {"--help"}, f"{module}: {sorted(given - known)}"
