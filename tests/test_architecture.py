"""The rules of docs/design.md about folders and imports."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = {
    "model": ROOT / "model",
    "export": ROOT / "export",
    "service": ROOT / "service",
    "pointrend_client": ROOT / "clients/python/pointrend_client",
    "bench": ROOT / "bench",
}
MOST_FILES = 16  # in a folder
MOST_LINES = 300  # of a file; most have fewer than 250

# A room may import itself and the rooms to its left.
MODEL = (
    "errors",
    "progress",
    "config",
    "masks",
    "pointrend",
    "predict",
    "networks",
    "checkpoints",
    "data",
    "evaluation",
    "training",
)
SERVICE = (
    "machine",
    "torch_threads",
    "setting_values",
    "settings",
    "execution",
    "budgets",
    "output",
    "decoding",
    "engine",
    "observe",
    "page",
    "http",
    "assembly",
    "app",
    "ray_app",
    "ray_proxy",
)


@cache
def imports() -> dict[str, set[str]]:
    """Every module of the packages, with the modules of the packages that it imports anywhere."""
    files = {_name(path): path for folder in PACKAGES.values() for path in sorted(folder.rglob("*.py"))}
    return {name: set(_imported(path, name, set(files))) - {name} for name, path in files.items()}


def _name(path: Path) -> str:
    folder = next(folder for folder in PACKAGES.values() if path.is_relative_to(folder))
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, name: str, known: set[str]) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found = {f"{node.module}.{alias.name}" for alias in node.names} & known
            yield from found or ({node.module} & known)


def room(module: str) -> str:
    """The first two parts of a module's name."""
    return ".".join(module.split(".")[:2])


def test_no_two_files_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_packages_depend_in_one_direction() -> None:
    allowed = {
        "model": {"model"},
        "export": {"model", "export"},
        "service": {"model", "export", "service", "pointrend_client"},
        "pointrend_client": {"pointrend_client"},
        "bench": set(PACKAGES),
    }
    for module, imported in imports().items():
        package = module.split(".")[0]
        assert {m.split(".")[0] for m in imported} <= allowed[package], module


@pytest.mark.parametrize(("package", "order"), [("model", MODEL), ("service", SERVICE)])
def test_rooms_depend_in_one_direction(package: str, order: tuple[str, ...]) -> None:
    places = {f"{package}.{name}": place for place, name in enumerate(order)}
    for module, imported in imports().items():
        if room(module) in places:
            wrong = {m for m in imported if m.split(".")[0] == package and room(m) != package}
            wrong = {m for m in wrong if places.get(room(m), len(places)) > places[room(module)]}
            assert not wrong, f"{module} imports {sorted(wrong)}"


def test_every_room_has_a_place_in_the_order() -> None:
    for package, order, tops in (
        ("model", MODEL, {"command_line", "weights", "cli", "__main__"}),
        ("service", SERVICE, {"cli", "page", "__main__"}),
    ):
        found = {room(module).partition(".")[2] for module in imports() if module.startswith(f"{package}.")}
        assert found <= {*order, *tops}, found - {*order, *tops}


def test_the_design_names_the_rooms_in_this_order() -> None:
    lines = (ROOT / "docs/design.md").read_text().splitlines()
    for package, order in (("model", MODEL), ("service", SERVICE)):
        (line,) = [line for line in lines if line.startswith(f"{package}: ")]
        assert line.partition(":")[2].strip().split(" → ") == [
            name for name in order if name not in ("errors", "progress")
        ]


def test_only_the_command_line_uses_the_client() -> None:
    users = {
        room(module)
        for module, imported in imports().items()
        if any(m.startswith("pointrend_client") for m in imported)
    }
    assert {user for user in users if user.startswith("service")} == {"service.cli"}


def test_only_predictions_reach_a_server() -> None:
    """What serves imports no network, no checkpoint and no training, not even inside a function."""
    serving = {"model.config", "model.masks", "model.pointrend", "model.predict", "export", "service"}
    serving |= {"pointrend_client"}
    for module, imported in imports().items():
        if module.startswith("service."):
            rooms = {room(m) if m.startswith("model.") else m.split(".")[0] for m in imported}
            plain = {"model.command_line", "model.errors", "model.progress"}
            assert rooms <= {*serving, *plain}, f"{module}: {rooms - serving}"


def test_folders_and_files_stay_small() -> None:
    files = [path for folder in PACKAGES.values() for path in folder.rglob("*.py")]
    folders = Counter(path.parent for path in files if path.name != "__init__.py")
    assert {str(folder): count for folder, count in folders.items() if count > MOST_FILES} == {}
    lengths = {str(path): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_classes_of_two_rooms_have_two_names() -> None:
    owners: dict[str, set[str]] = {}
    for folder in PACKAGES.values():
        for path in folder.rglob("*.py"):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    owners.setdefault(node.name, set()).add(room(_name(path)))
    assert {name: sorted(rooms) for name, rooms in owners.items() if len(rooms) > 1} == {}


def test_no_branch_by_task_outside_of_the_tables() -> None:
    """`isinstance` names no type of one task: a third task is new files and a line in each table."""
    marks = (
        "MaskRCNN",
        "SemanticConfig",
        "SemanticNet",
        "LabelMap",
        "Instance",
        "Checkpoint",
        "Manifest",
        "Bundle",
    )
    for package in ("model", "export", "service"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "isinstance"
                ):
                    kind = ast.unparse(node.args[1])
                    assert not any(mark in kind for mark in marks), f"{path}:{node.lineno}: {kind}"
