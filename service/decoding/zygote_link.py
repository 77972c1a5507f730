"""The service's side of the zygote: start it, have workers forked and killed, and hear how they ended."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from itertools import count

from service.decoding.errors import NoWorker
from service.decoding.protocol import COMMANDS, ENDED, FORK, KILL, READY, REPORTS
from service.decoding.worker_link import WorkerLink

START_SECONDS = 60.0  # a busy machine takes long to load modules
END_SECONDS = 5.0
_ZYGOTE = "service.decoding.zygote"
# Of the service's environment the zygote sees what finds libraries, and no secrets.
_PASSED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "TMPDIR")
_SET = {
    "LC_ALL": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # Large pages, and no fresh ones from the kernel for every picture: page faults would take a sixth of the time of
    # a photograph. Workers give the memory back themselves.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432"
    ":glibc.malloc.trim_threshold=134217728",
    "MALLOC_ARENA_MAX": "1",  # an arena a thread would take address space that the limits do not foresee
}


class ZygoteLink:
    """A running zygote, seen from one event loop."""

    def __init__(self, decoder: str, most: int) -> None:
        """Start the process. Raise OSError if that is not possible."""
        self.sandboxed = False
        self.lost = asyncio.get_running_loop().create_future()  # is done when the zygote has ended
        self.workers: dict[int, WorkerLink] = {}  # those that have not ended
        self.idle: list[WorkerLink] = []  # those that wait for a task
        self._numbers = count(1)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._received = b""
        self._control, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _ZYGOTE, str(theirs.fileno()), decoder, str(most)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=_environment(),
                    pass_fds=[theirs.fileno()],
                    # Signals of a terminal are for the service. In a session of its own, niceness would mean nothing:
                    # Linux first shares the processor between sessions.
                    process_group=0,
                )
            except BaseException:
                self._control.close()
                raise
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control, self._read)

    async def ready(self) -> None:
        """Wait until workers can be forked. Raise NoWorker if the zygote ended or takes too long."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.wait({self._ready, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise NoWorker(
                f"the process that starts decoders needed more than {START_SECONDS:g} s"
            ) from error
        if self.lost.done():
            raise NoWorker("the process that starts decoders ended at its start")

    def take(self) -> WorkerLink:
        """Return an idle worker, or a new one. Raise NoWorker."""
        while self.idle:
            worker = self.idle.pop()
            if worker.usable():
                return worker
            self.kill(worker)
        return self.fork()

    def fork(self) -> WorkerLink:
        """Return a new worker, which may be used at once; if the zygote is lost, one that has ended with it.

        Raise NoWorker if there is no socket for it.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise NoWorker(f"no socket for a decoder: {error.strerror}") from error
        worker = WorkerLink(next(self._numbers), ours)
        self.workers[worker.number] = worker
        with theirs:
            self._send(FORK, worker, [theirs.fileno()])
        if self.lost.done():
            worker.close()
        return worker

    def kill(self, worker: WorkerLink) -> None:
        """End a worker at once, whatever it does, and close its socket."""
        worker.close()
        if not worker.ended.done() and not self.lost.done():
            self._send(KILL, worker, [])

    async def close(self) -> None:
        """End the zygote and all workers."""
        if not self.lost.done():
            self._control.shutdown(socket.SHUT_WR)
            await asyncio.wait({self.lost}, timeout=END_SECONDS)
        self.lose()

    def lose(self) -> None:
        """The zygote is of no use any more, and neither are its workers."""
        if not self.lost.done():
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._process.kill()  # it has ended already, unless something is very wrong
            self._process.wait()
            self.lost.set_result(None)
        for worker in self.workers.values():
            worker.ended.set_result(None)
        self.workers.clear()
        while self.idle:
            self.idle.pop().close()

    def _send(self, what: bytes, worker: WorkerLink, descriptors: list[int]) -> None:
        message = COMMANDS.pack(what, worker.number)
        try:
            sent = socket.send_fds(self._control, [message], descriptors)
        except OSError:  # it has ended, or does not read what it is told
            return self.lose()
        assert sent == len(message)  # the kernel takes so few bytes whole or not at all
        return None

    def _read(self) -> None:
        try:
            data = self._control.recv(64 * 1024)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            return self.lose()
        self._received += data
        whole = len(self._received) // REPORTS.size * REPORTS.size
        for what, number, value in REPORTS.iter_unpack(self._received[:whole]):
            if what == READY:
                self.sandboxed = bool(value)
                self._ready.set_result(None)
            elif what == ENDED:
                self.workers.pop(number).ended.set_result(value)
        self._received = self._received[whole:]
        return None


def _environment() -> dict[str, str]:
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    return {name: os.environ[name] for name in _PASSED if name in os.environ} | _SET | {"PYTHONPATH": path}
