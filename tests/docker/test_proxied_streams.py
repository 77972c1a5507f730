"""Streams behind a real nginx and a real HAProxy: each line comes before the next level is begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.bundle import Bundle
from tests.docker.test_prefix import HAPROXY, NGINX
from tests.docker.tools import free_port, process, succeeds, tool
from tests.service.conftest import tiny
from tests.service.http.test_stream import ONE, Steps, lines, steps, streaming
from tests.service.support import running, wait_for

__all__ = ["steps", "tiny"]


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_lines_pass_one_by_one(proxy: str, tiny: Bundle, steps: Steps, tmp_path: Path) -> None:
    program, port, config = tool(proxy, f"Debian's {proxy}"), free_port(), tmp_path / "proxy.conf"
    steps.allow(100)
    with running(tiny, root_path="/vision") as url:
        wait_for(lambda: succeeds(f"{url}/readyz"))
        if proxy == "nginx":
            config.write_text(NGINX.format(folder=tmp_path, port=port, upstream=url, forwarded=""))
            command = [program, "-p", str(tmp_path), "-c", str(config)]
        else:
            upstream = url.removeprefix("http://")
            config.write_text(HAPROXY.format(port=port, upstream=upstream, forwarded="", strip=""))
            command = [program, "-db", "-f", str(config)]
        with process(command, tmp_path / "proxy.log"):
            below = f"http://127.0.0.1:{port}/vision"
            wait_for(lambda: succeeds(f"{below}/readyz"))
            steps.forbid()
            steps.allow()
            with streaming(below, **ONE) as response:
                found = lines(response)
                for side in (28, 56, 112):
                    assert next(found)["side"] == side
                    steps.allow()
                assert [line["event"] for line in found] == ["done"]
