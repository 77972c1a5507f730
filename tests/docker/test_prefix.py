"""The service below a path of a real nginx and a real HAProxy, which strip the path or leave it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service.http.problem_kinds import KINDS
from tests.docker.tools import free_port, process, succeeds, tool
from tests.service.http.test_problems import PNG
from tests.service.support import Discs, disc_bundle, encoded, picture, running, wait_for

NGINX = """
daemon off; master_process off; error_log stderr; pid {folder}/nginx.pid; user root;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /vision/ {{
      proxy_pass {upstream};
      proxy_set_header X-Forwarded-For $remote_addr;
      {forwarded}
    }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend public
  bind 127.0.0.1:{port}
  http-request set-header X-Forwarded-For %[src]
  {forwarded}
  use_backend vision if {{ path_beg /vision/ }}
backend vision
  {strip}
  server vision {upstream}
"""
CASES = [
    (proxy, strips, told)
    for proxy in ("nginx", "haproxy")
    for strips in (True, False)
    for told in ("setting", "header")
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'stripped' if case[1] else 'whole'}-{case[2]}")
def below(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address below which a proxy has the service; the service knows it by its setting or by the header."""
    proxy, strips, told = request.param
    program = tool(proxy, f"Debian's {proxy}")
    port, header, discs = free_port(), told == "header", Discs()
    discs.gate.set()
    with ExitStack() as stack:
        setting = "" if header else "/vision"
        url = stack.enter_context(running(disc_bundle(discs), root_path=setting))
        wait_for(lambda: succeeds(f"{url}/readyz"))
        config = tmp_path / "proxy.conf"
        if proxy == "nginx":
            forwarded = "proxy_set_header X-Forwarded-Prefix /vision;" if header else ""
            upstream = f"{url}/" if strips else url
            config.write_text(
                NGINX.format(folder=tmp_path, port=port, upstream=upstream, forwarded=forwarded)
            )
            command = [program, "-p", str(tmp_path), "-c", str(config)]
        else:
            forwarded = "http-request set-header X-Forwarded-Prefix /vision" if header else ""
            strip = r"http-request replace-path /vision/(.*) /\1" if strips else ""
            upstream = url.removeprefix("http://")
            config.write_text(HAPROXY.format(port=port, upstream=upstream, forwarded=forwarded, strip=strip))
            command = [program, "-db", "-f", str(config)]
        stack.enter_context(process(command, tmp_path / "proxy.log"))
        found = f"http://127.0.0.1:{port}/vision"
        wait_for(lambda: succeeds(f"{found}/readyz"))
        yield found


def test_everything_works_below_a_path(below: str) -> None:
    with httpx.Client(timeout=60) as client:
        good = client.post(f"{below}/segment", content=encoded(picture()), headers=PNG)
        assert good.status_code == 200 and good.json()["model"] == "discs"

        home = client.get(f"{below}/")
        linked = re.findall(r'(?:href|src)="([^"]+)"', home.text)
        assert {"docs", "page/script/main.js"} <= set(linked)
        assert all(client.get(home.url.join(each)).is_success for each in linked)
        page = client.get(home.url.join("docs"))
        (address,) = re.findall(r"url: '([^']*)'", page.text)
        document = client.get(page.url.join(address)).json()
        (server,) = document["servers"]
        base = str(page.url.join(server["url"]))
        for path in ("/models", "/models/discs", "/healthz", "/readyz", "/metrics"):
            assert path.replace("discs", "{name}") in document["paths"]
            assert client.get(f"{base}{path}").is_success

        refused = client.post(f"{below}/segment", content=b"no image", headers=PNG)
        assert refused.status_code == 400
        meaning = client.get(refused.url.join(refused.json()["type"]))
        assert str(meaning.url) == f"{below}/problems/not-an-image"
        assert meaning.json()["type"] == refused.json()["type"]
        assert meaning.json()["title"] == KINDS["not-an-image"].title
