"""A worker: it decodes one picture after another, and ends with its socket."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import select
import socket
import traceback
from collections.abc import Callable
from itertools import pairwise
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from model.predict.headers import Header
from model.predict.image_errors import ImageError
from service.decoding import memory, sandbox
from service.decoding.limits import LARGE_NICE, WorkerLimits, first_to_go
from service.decoding.protocol import (
    FAILED,
    OUT_OF_SPACE,
    UNPREPARED,
    Reply,
    WorkerTask,
    receive_task,
    reply_bytes,
)

Decode = Callable[[bytes, Header, tuple[int, int]], NDArray[np.uint8]]
# What a worker keeps of a picture's memory for the next one, because new memory is slow: so many bytes for so long.
KEPT_BYTES = 64 * 2**20
SMALL_BYTES = 4 * 2**20  # these for ever
KEPT_SECONDS = 5.0


def work(sock: socket.socket, decoder: Decode, most: int, warm_up: Callable[[], None]) -> NoReturn:
    """Be a worker until the service closes the socket. `warm_up` is called while everything is still allowed."""
    try:
        try:
            limits = _prepared(sock, most, warm_up)
        except BaseException:
            traceback.print_exc()  # the service's log shows it, because no hostile byte was seen yet
            os._exit(UNPREPARED)
        while (received := _next(sock, limits)) is not None:
            sock.sendall(reply_bytes(_reply(*received, decoder, limits)))
        os._exit(0)
    finally:  # never back to the zygote's code
        os._exit(1)


def _prepared(sock: socket.socket, most: int, warm_up: Callable[[], None]) -> WorkerLimits:
    gc.enable()
    first_to_go()
    warm_up()
    limits = WorkerLimits(most)
    _close_all_but({sock.fileno(), *limits.descriptors})
    sandbox.enter()
    return limits


def _close_all_but(kept: set[int]) -> None:
    """Close what the zygote had open; input and output lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    for before, after in pairwise([2, *sorted(kept), 2**16]):
        os.closerange(before + 1, after)


def _next(sock: socket.socket, limits: WorkerLimits) -> tuple[WorkerTask, list[int]] | None:
    """Return the next task, or None at the end. Much memory of those before is given back, or after a while."""
    kept = limits.kept()
    if kept > SMALL_BYTES:
        waiting = select.poll()
        waiting.register(sock, select.POLLIN)
        if kept > KEPT_BYTES or not waiting.poll(1000 * KEPT_SECONDS):
            _trim()
    return receive_task(sock)


def _reply(task: WorkerTask, descriptors: list[int], decoder: Decode, limits: WorkerLimits) -> Reply:
    """Put the pixels where the service wants them."""
    body, pixels = descriptors
    height, width = task.size
    if task.large:
        os.nice(LARGE_NICE)
    result = 3 * height * width
    try:
        with limits.task(task.bytes + task.length + result, result, task.seconds):
            array = decoder(_read(body, task.length), task.header, task.size)
            if array.shape != (height, width, 3) or array.dtype != np.uint8:
                raise ValueError(f"decoded to {array.dtype} {array.shape} instead of {task.size}")
            # To write is cheaper than to map: the pages are filled without a fault each.
            memory.write(pixels, np.ascontiguousarray(array).data.cast("B"), 0)
        return Reply(task.number)
    except ImageError as error:
        return Reply(task.number, error.kind, str(error))
    except MemoryError:
        return Reply(task.number, OUT_OF_SPACE)
    except OSError as error:
        kind = OUT_OF_SPACE if error.errno == errno.ENOMEM else FAILED
        return Reply(task.number, kind, repr(error))
    except Exception as error:
        return Reply(task.number, FAILED, repr(error))
    finally:
        os.close(pixels)


def _read(body: int, length: int) -> bytes:
    """Return the body, and free the shared copy of it."""
    try:
        return memory.read(body, length)
    finally:
        os.close(body)


def _trim() -> None:
    """Give freed memory back to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
