"""What `python -m service` sets before anything is imported."""

import os
import subprocess
import sys

import pytest

from service import __main__
from service.cli import commands


@pytest.mark.parametrize(("given", "expected"), [(None, __main__.SPINS), ("7", "7")])
def test_threads_look_for_work_before_they_sleep(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setenv("GOMP_SPINCOUNT", given or "")
    if given is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr(commands, "app", lambda: seen.append(os.environ["GOMP_SPINCOUNT"]))
    __main__.main()
    assert seen == [expected]


def test_it_is_set_before_pytorch_is_loaded() -> None:
    """OpenMP reads it when its library is loaded, so nothing may import PyTorch before."""
    code = "import sys, service.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
