"""What a proxy on this machine needs: its files with other addresses, and a name server that knows its replicas."""

from __future__ import annotations

import shutil
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.docker.tools import DOCKER, free_port

CONFIG = DOCKER / "haproxy.cfg"


@dataclass
class Names:
    """A name server that answers every question with the same addresses."""

    addresses: list[str]
    socket: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def __post_init__(self) -> None:
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self._answer, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def _answer(self) -> None:
        while True:
            try:
                asked, client = self.socket.recvfrom(4096)
            except OSError:  # closed
                return
            question = asked[12 : asked.index(0, 12) + 5]
            known = self.addresses if question[-3] == 1 else []  # type A
            header = asked[:2] + b"\x81\x80\0\1" + len(known).to_bytes(2, "big") + b"\0\0\0\0"
            answers = [b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes(map(int, each.split("."))) for each in known]
            self.socket.sendto(header + question + b"".join(answers), client)


def configured(folder: Path, public: int, operation: int, names: int = 53, replicas: int = 8000) -> Path:
    """Write the files, and return the first, with the ports of the proxy, a name server and replicas."""
    text = CONFIG.read_text()
    for here, there in (
        ("127.0.0.11:53", f"127.0.0.1:{names}"),
        ("pointrend:8000", f"pointrend:{replicas}"),
        ("bind :8000", f"bind 127.0.0.1:{public}"),
        ("bind :8404", f"bind 127.0.0.1:{operation}"),
        ("ipv4@127.0.0.1:9999", f"ipv4@127.0.0.1:{free_port()}"),
    ):
        assert text.count(here) == 1
        text = text.replace(here, there)
    # A busy machine's replicas are late; one that is gone is noticed at once.
    text = text.replace("fall 2", "fall 60")
    config = folder / "haproxy.cfg"
    config.write_text(text)
    shutil.copytree(DOCKER / "proxy_errors", folder / "proxy_errors")
    return config
