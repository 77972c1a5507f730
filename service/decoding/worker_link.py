"""The service's side of a worker: give it a task, and read its reply without believing it."""

from __future__ import annotations

import asyncio
import socket

from service.decoding.protocol import (
    LENGTH,
    MOST_REPLY,
    UNPREPARED,
    Reply,
    WorkerTask,
    parsed_reply,
    task_bytes,
)


class WorkerDied(Exception):
    """The worker ended instead of replying; `status` is that of wait().

    It is a negative errno if the worker never began, and None if the zygote ended, too.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__(f"the worker ended with status {status}")
        self.status = status

    @property
    def signal(self) -> int:
        """The number of the signal that ended it, or 0."""
        return (self.status or 0) & 0x7F if self.began else 0

    @property
    def began(self) -> bool:
        """Whether the worker had begun to work."""
        return self.status is not None and self.status >= 0 and self.status >> 8 != UNPREPARED


class WrongReply(Exception):
    """The worker sent something that is no reply to its task."""


class WorkerLink:
    """A worker, used by one task at a time."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.tasks = 0  # that it was given
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._sock = sock
        self._sock.setblocking(False)

    def usable(self) -> bool:
        """Return whether the worker waits for a task: it has not ended, and said nothing that nobody asked for."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def run(self, task: WorkerTask, body: int, pixels: int) -> Reply:
        """Return the reply to a task. Raise WorkerDied or WrongReply.

        The descriptors may be closed when this ends, or raises anything.
        """
        self.tasks += 1
        try:
            line = await self._exchange(task_bytes(task), [body, pixels])
        except OSError:
            line = b""
        if not line:
            raise WorkerDied(await asyncio.shield(self.ended))
        try:
            reply = parsed_reply(line)
        except ValueError as error:
            raise WrongReply(str(error)) from error
        if reply.number != task.number:
            raise WrongReply("the reply to another task")
        return reply

    async def _exchange(self, message: bytes, descriptors: list[int]) -> bytes:
        """Return the worker's line, or nothing if it ended before. Raise WrongReply if the line is too long."""
        loop = asyncio.get_running_loop()
        length = LENGTH.pack(len(message))
        sent = socket.send_fds(self._sock, [length], descriptors)
        await loop.sock_sendall(self._sock, length[sent:] + message)
        line = b""
        while not line.endswith(b"\n"):
            more = await loop.sock_recv(self._sock, MOST_REPLY)
            line += more
            if not more:
                return b""
            if len(line) > MOST_REPLY:
                raise WrongReply("a reply that is too long")
        return line

    def close(self) -> None:
        """Close the socket, after which the worker ends as soon as it has nothing to do."""
        self._sock.close()
