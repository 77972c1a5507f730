"""`python -m bench.speed.http COMMIT`: a picture → RLE over HTTP, this checkout's service beside that of a commit.

Both services run, each in a process of its own with the same libraries, and one picture is sent to them in turns. A
commit that cannot read today's bundle needs one of its own: `--bundle-then`. It is checked out into a temporary folder.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import httpx
import typer

from bench.load.servers import serving
from bench.speed.row import Row, in_turns, markdown
from model.command_line import one_line_errors
from model.errors import UserError

FOLDERS = ("model", "export", "service")


def compared(now: str, then: str, picture: Path, commit: str, repeats: int) -> Row:
    """Return the row of two services at these addresses."""
    data = picture.read_bytes()
    with httpx.Client(timeout=60, trust_env=False) as client:

        def send(url: str) -> None:
            client.post(
                f"{url}/segment", content=data, headers={"content-type": "image/jpeg"}
            ).raise_for_status()

        found = in_turns({"now": lambda: send(now), "then": lambda: send(then)}, repeats)
    return Row(f"{picture.name} → RLE over HTTP", found["now"], f"commit {commit}", found["then"])


def checked_out(commit: str, folder: Path) -> None:
    """Write the packages of a commit into a folder. Raise UserError if git does not know it."""
    archive = subprocess.run(["git", "archive", commit, *FOLDERS], capture_output=True)
    if archive.returncode:
        raise UserError(f"git archive {commit}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def main(
    commit: Annotated[str, typer.Argument(help="What the present checkout is compared with.")],
    bundle: Annotated[Path, typer.Option(help="Of the present checkout.")] = Path("bundles/people"),
    bundle_then: Annotated[Path | None, typer.Option(help="Of the commit; else the same.")] = None,
    picture: Annotated[Path, typer.Option()] = Path("examples/astronaut.jpg"),
    repeats: Annotated[int, typer.Option(min=1)] = 30,
) -> None:
    """Print one row: the median of either, and their ratio. Nothing else should run on the machine meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        checked_out(commit, Path(folder))
        before = (bundle_then or bundle).resolve()  # the service is started in the other folder
        with serving("ours", bundle) as now, serving("ours", before, folder=Path(folder)) as then:
            print(markdown([compared(now.url, then.url, picture, commit, repeats)]))


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
