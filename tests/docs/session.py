"""A page is a session: its blocks are run from top to bottom by one bash, in a copy of the project of its own.

So a block has the variables, files and servers of the blocks before it. The first command that fails ends the page; an
error that curl gets for an answer is a failure, too. The copy has its own environment, which sees the packages of this
one and keeps what a block installs. A page that needs nothing from outside has a network of its own, with free ports.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import Block
from tests.paths import ROOT

GIT_FILES = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
# Before the blocks: the functions that they are wrapped in, none of which changes what they do.
PRELUDE = """\
set -e -o pipefail
stop() {
    [ -n "$server" ] || return 0
    kill -TERM -- -"$server" 2>/dev/null || true
    while kill -0 -- -"$server" 2>/dev/null; do wait "$server" || true; sleep 0.1; done
    server=
}
started() {
    until curl -q --silent --fail --output /dev/null http://127.0.0.1:8000/readyz; do
        kill -0 -- -"$server" || { echo 'the server ended' >&2; return 1; }
        sleep 0.2
    done
}
server=
"""


@dataclass(frozen=True)
class Session:
    """What a page did: its exit status, everything it printed, and the outputs of its blocks by their lines."""

    status: int
    printed: str
    outputs: Mapping[int, str]


def copy_project(target: Path, bundles: Path = ROOT / "bundles") -> None:
    """Copy the files that git has or would take, as they are now, and the bundles. Make an environment for them."""
    listed = subprocess.run(GIT_FILES, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # not removed since
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for weights in (ROOT / "model/weights").glob("*.safetensors"):
        if (bundles / weights.stem).is_dir():
            # Newer than all code, so that `make` exports what is missing and no more.
            shutil.copytree(
                bundles / weights.stem, target / "bundles" / weights.stem, copy_function=shutil.copy
            )
    _make_environment(target / ".venv")
    # As old as the requirements, so that `make` does not install them.
    (target / ".venv/.installed").touch()
    shutil.copystat(target / "pyproject.toml", target / ".venv/.installed")


def _make_environment(folder: Path) -> None:
    """Make a virtual environment that sees the packages and programs of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    found = (sysconfig.get_path("purelib"), str(folder.parent / "clients/python"))
    (site / "packages_of_the_tests.pth").write_text("\n".join(found) + "\n")
    programs = folder / "bin"
    for program in Path(sys.executable).parent.iterdir():
        if not (programs / program.name).exists() and not program.name.startswith("pip"):
            (programs / program.name).symlink_to(program)
    pip = programs / "pip"
    pip.write_text(f'#!/bin/sh\nexec {programs / "python"} -m pip "$@"\n')
    pip.chmod(0o755)


def script(blocks: Iterable[Block], outputs: Path) -> str:
    """Return the bash program that runs the blocks, and writes what each prints into a file named by its line."""
    return PRELUDE + "".join(_step(block, outputs / str(block.line)) for block in blocks) + "stop\n"


def _step(block: Block, output: Path) -> str:
    code = block.code
    for old, new in block.instead:
        code = code.replace(old, new)
    if block.language == "python":
        code = f"python - <<'END OF THE BLOCK'\n{code}END OF THE BLOCK\n"
    say = f"echo '== line {block.line}' >&2\n"
    if "server" in block.marks:
        # Job control gives the server a process group, by which it is stopped.
        return f"{block.given}{say}stop\nset -m\n(\n{code}) >{output} &\nserver=$!\nset +m\nstarted\n"
    return f"{block.given}{say}{{\n{code}}} >{output}\n"


def run(
    blocks: tuple[Block, ...], project: Path, work: Path, *, seconds: float, variables: Mapping[str, str]
) -> Session:
    """Run blocks in a project's folder. `work` is a folder for everything that is not the project's."""
    outputs = work / "outputs"
    outputs.mkdir()
    (work / "page.sh").write_text(script(blocks, outputs))
    (work / ".curlrc").write_text("fail-with-body\n")
    outside = any(block.marks & {"engine", "online"} for block in blocks)
    # A process namespace of its own ends with its first process: nothing that a page starts outlives it.
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += [] if os.geteuid() == 0 else ["--map-root-user"]
    inside = "exec bash page.sh" if outside else "ip link set lo up && exec bash page.sh"
    inside = f"cd {project} && {inside.replace('page.sh', str(work / 'page.sh'))}"
    command += [*([] if outside else ["--net"]), "bash", "-c", inside]
    log = work / "printed"
    with log.open("wb") as printed:
        page = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**_environment(project, work), **variables},
            start_new_session=True,
        )
        try:
            status = page.wait(seconds)
        except subprocess.TimeoutExpired:
            status = -1
            printed.write(f"\nnot done after {seconds:.0f} s\n".encode())
        finally:
            if page.poll() is None:
                os.killpg(page.pid, signal.SIGKILL)
                page.wait()
    texts = {int(file.name): file.read_text(errors="replace") for file in outputs.iterdir()}
    return Session(status, log.read_text(errors="replace"), texts)


def _environment(project: Path, work: Path) -> dict[str, str]:
    """Return the variables of a reader: an activated environment, and none of this run's settings."""
    ours = (
        "POINTREND_",
        "COMPOSE_",
        "PYTEST_",
        "MAKE",
        "MFLAGS",
        "OMP_",
        "GOMP_",
        "VIRTUAL_ENV",
        "PYTHONPATH",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = f"{project / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    # The answers that pages show are those of fp32: in bf16, where the processor has it, boxes differ by some pixels.
    ours_now = {"VIRTUAL_ENV": str(project / ".venv"), "CURL_HOME": str(work), "POINTREND_PRECISION": "fp32"}
    return kept | {"PATH": path, **ours_now}
