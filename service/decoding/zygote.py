"""The zygote: a process that has loaded what decoding needs, and forks workers from that.

It is a program of its own because the service has threads, and a process with threads must not be forked. It sees no
picture. It is the parent of all workers, so a number names the same process until the zygote itself has reaped it.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from functools import partial

from PIL import Image

from model.predict.headers import FORMATS, read_header
from service.decoding import sandbox
from service.decoding.protocol import ENDED, FORK, KILL, READY, REPORTS, receive_command
from service.decoding.worker import Decode, work

_WARM_SIZE = (16, 16)


class _Zygote:
    """Forks, kills and reaps workers as the service asks."""

    def __init__(self, control: socket.socket, decoder: Decode, most: int) -> None:
        self._control = control
        self._decoder = decoder
        self._most = most
        self._workers: dict[int, int] = {}  # process id → the service's number
        self._wakeups, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._wakeups, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the service closes the control socket, or has died; then all workers end."""
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        waiting.register(self._wakeups, select.POLLIN)
        self._report(READY, 0, sandbox.works())
        try:
            while self._turn({descriptor for descriptor, _ in waiting.poll()}):
                pass
        finally:
            for process in self._workers:
                os.kill(process, signal.SIGKILL)
            for process in self._workers:
                os.waitpid(process, 0)

    def _turn(self, ready: set[int]) -> bool:
        if self._wakeups in ready:
            self._reap()
        if self._control.fileno() in ready:
            command = receive_command(self._control)
            if command is None:
                return False
            self._obey(*command)
        return True

    def _obey(self, what: bytes, worker: int, descriptors: list[int]) -> None:
        if what == FORK:
            self._fork(worker, socket.socket(fileno=descriptors[0]))
        elif what == KILL:
            for process in [process for process, number in self._workers.items() if number == worker]:
                os.kill(process, signal.SIGKILL)

    def _fork(self, worker: int, sock: socket.socket) -> None:
        zygote = os.getpid()
        try:
            process = os.fork()
        except OSError as error:
            self._report(ENDED, worker, -(error.errno or errno.EAGAIN))
            sock.close()
            return
        if process:
            sock.close()
            self._workers[process] = worker
            return
        sandbox.end_with_parent()
        if os.getppid() != zygote:  # it died meanwhile
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        work(sock, self._decoder, self._most, partial(_warm_up, self._decoder, ("JPEG",)))

    def _reap(self) -> None:
        while _read_all(self._wakeups):
            pass
        while self._workers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                break
            self._report(ENDED, self._workers.pop(process), status)

    def _report(self, what: bytes, worker: int, value: int) -> None:
        self._control.sendall(REPORTS.pack(what, worker, value))


def _read_all(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""


def _warm_up(decoder: Decode, formats: tuple[str, ...] = FORMATS) -> None:
    """Decode a small picture of each format, so that all modules are loaded and their memory is touched."""
    for name in formats:
        file = io.BytesIO()
        Image.new("RGB", (24, 24)).save(file, name)
        decoder(file.getvalue(), read_header(file.getvalue()), _WARM_SIZE)


def main(descriptor: str, decoder: str, most: str) -> None:
    """Be the zygote. `decoder` is a module and a function of it: `module:function`."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the service says when it ends
        signal.signal(ignored, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, name = decoder.split(":")
    function: Decode = getattr(importlib.import_module(module), name)
    _warm_up(function)
    gc.collect()
    gc.freeze()  # so that a worker's collections do not copy these objects' memory
    gc.disable()
    with suppress(BrokenPipeError, ConnectionResetError):  # the service died
        _Zygote(socket.socket(fileno=int(descriptor)), function, int(most)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
