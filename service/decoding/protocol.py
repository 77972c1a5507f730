"""What the service, the zygote and the workers say to each other.

Service to zygote: COMMANDS (FORK with the worker's socket as a descriptor, KILL). Zygote to service: REPORTS (READY
with 1 if workers are sandboxed, ENDED with the status that wait() gave, or a negative errno if fork failed). Both are
of fixed size, and name a worker by the service's own number.

Service to worker: the length of a WorkerTask in JSON, with the descriptors of body and pixels, and then the JSON.
Worker to service: one line of JSON. A worker may be in the hands of whoever made the picture, so nothing but a short
line of known words is believed.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import asdict, dataclass

from model.predict.headers import Header

COMMANDS = struct.Struct("<cQ")  # what, worker
FORK, KILL = b"f", b"k"
REPORTS = struct.Struct("<cQi")  # what, worker, value
READY, ENDED = b"r", b"e"

LENGTH = struct.Struct("<I")
MOST_REPLY = 64 * 1024  # bytes
MOST_MESSAGE = 500  # characters


@dataclass(frozen=True)
class WorkerTask:
    """A Job as the worker sees it."""

    number: int  # the reply names it
    header: Header
    size: tuple[int, int]
    length: int  # bytes of the body
    bytes: int
    seconds: float
    large: bool


@dataclass(frozen=True)
class Reply:
    """How a WorkerTask went; `kind` is that of an ImageError, FAILED, or None if the pixels are there."""

    number: int
    kind: str | None = None
    message: str = ""


FAILED = "failed"  # an exception that decoding should never raise
UNPREPARED = 3  # the exit code of a worker that could not begin
OUT_OF_SPACE = "out-of-space"  # the limit of memory was met; the message is the service's


def task_bytes(task: WorkerTask) -> bytes:
    return json.dumps(asdict(task)).encode()


def receive_task(sock: socket.socket) -> tuple[WorkerTask, list[int]] | None:
    """Return the next task and its descriptors, or None at the end. Only for bytes of the service."""
    head, descriptors, _, _ = socket.recv_fds(sock, LENGTH.size, 2)
    if not head:
        return None
    body = _exactly(sock, *LENGTH.unpack(head + _exactly(sock, LENGTH.size - len(head))))
    fields = json.loads(body)
    height, width = fields["size"]
    return WorkerTask(**fields | {"header": Header(**fields["header"]), "size": (height, width)}), descriptors


def receive_command(sock: socket.socket) -> tuple[bytes, int, list[int]] | None:
    """Return the next command, its worker and its descriptors, or None at the end."""
    data, descriptors, _, _ = socket.recv_fds(sock, COMMANDS.size, 1)
    if not data:
        return None
    what, worker = COMMANDS.unpack(data + _exactly(sock, COMMANDS.size - len(data)))
    return what, worker, descriptors


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def reply_bytes(reply: Reply) -> bytes:
    message = reply.message[:MOST_MESSAGE]
    return json.dumps({"number": reply.number, "kind": reply.kind, "message": message}).encode() + b"\n"


def parsed_reply(line: bytes) -> Reply:
    """Return the reply that a worker's line says. Raise ValueError for anything else."""
    try:
        fields = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(fields, dict) or fields.keys() != {"number", "kind", "message"}:
        raise ValueError("other fields than those of a reply")
    number, kind, message = fields["number"], fields["kind"], fields["message"]
    if type(number) is not int or not isinstance(kind, str | None) or not isinstance(message, str):
        raise ValueError("fields of other types than those of a reply")
    printable = "".join(character for character in message if character.isprintable())
    return Reply(number, kind, printable[:MOST_MESSAGE])
