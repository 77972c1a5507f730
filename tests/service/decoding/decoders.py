"""What workers do in tests: a body that begins with ! names one of these functions; anything else is decoded."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.predict.headers import Header
from model.predict.image_errors import CorruptImage, UnsupportedFormat
from model.predict.images import decode_resized


def scripted(data: bytes, header: Header, size: tuple[int, int]) -> NDArray[np.uint8]:
    if not data.startswith(b"!"):
        return decode_resized(data, header, size)
    name, _, argument = data[1:].partition(b" ")
    ACTIONS[name.decode()](argument)
    return np.full((*size, 3), 7, np.uint8)


def broken(data: bytes, header: Header, size: tuple[int, int]) -> NDArray[np.uint8]:
    raise RuntimeError("this decoder never works")


def allocate(argument: bytes) -> None:
    np.ones(int(argument), np.uint8)


def spin(_: bytes) -> None:
    while True:
        pass


def wait(_: bytes) -> None:
    time.sleep(600)


def crash(_: bytes) -> None:
    ctypes.string_at(1)


def leave(argument: bytes) -> None:
    os._exit(int(argument))


def refuse(argument: bytes) -> None:
    raise UnsupportedFormat(argument.decode())


def fail(_: bytes) -> None:
    raise KeyError("a mistake")


def say(argument: bytes) -> None:
    """Send a line to the service in the place of a reply."""
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, argument)
        except OSError:
            continue


def flood(_: bytes) -> None:
    for part in [b"x" * 4096] * 100:
        say(part)


def who(_: bytes) -> None:
    facts = {
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "process": os.getpid(),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }
    raise CorruptImage(json.dumps(facts))


def escape(_: bytes) -> None:
    """Try what a worker must not be able to do, and raise CorruptImage with the names of errors.

    Priorities are set to what this process has, because where that succeeds it changes all processes of the user.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attempts: dict[str, Callable[[], object]] = {
        "open": lambda: os.open("/etc/hostname", os.O_RDONLY),
        "create": lambda: os.open("/tmp/escaped", os.O_WRONLY | os.O_CREAT),
        "connect": lambda: socket.socket(socket.AF_INET),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "fork": os.fork,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "spawn": lambda: subprocess.Popen(["/bin/true"]),
        "kill": lambda: os.kill(os.getppid(), signal.SIGKILL),
        "ptrace": lambda: _called("ptrace", 16, os.getppid(), 0, 0),
        "read": lambda: _called("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0),
        "limits": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), nice),
        "priority of the group": lambda: os.setpriority(os.PRIO_PGRP, 0, nice),
        "priority of the user": lambda: os.setpriority(os.PRIO_USER, 0, nice),
        "cut": lambda: os.truncate(3, 0),
        "remove": lambda: os.unlink("/tmp/escaped"),
        "execute": lambda: _called("mprotect", 0, 4096, 4),
    }
    raise CorruptImage(json.dumps({name: _outcome(attempt) for name, attempt in attempts.items()}))


def _called(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), name)


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


ACTIONS: dict[str, Callable[[bytes], None]] = {
    action.__name__: action
    for action in (allocate, spin, wait, crash, leave, refuse, fail, say, flood, who, escape)
}
