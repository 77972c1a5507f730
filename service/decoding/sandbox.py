"""What a worker gives up before it sees a hostile byte: nearly every system call, by a seccomp filter.

The filter lists what is allowed: memory, time, threads, and reading and writing what is open. Anything else fails with
EPERM, above all opening files, sockets, new programs and processes, signals, and tracing. It exists on Linux for x86-64
and ARM64. Elsewhere, and where the kernel refuses it, workers have only their limits.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # instructions of the filter
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in what a filter reads
_OTHER_ABI = 0x40000000  # x32's calls on x86-64 begin here
_CLONE_THREAD, _PROT_EXEC = 0x00010000, 0x4

# Names of system calls with their numbers on x86-64 and ARM64. The first are those that decoding makes most often.
_CALLS = {
    "futex": (202, 98),
    "madvise": (28, 233),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "read": (0, 63),
    "write": (1, 64),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "close": (3, 57),
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "recvmsg": (47, 212),
    "sendmsg": (46, 211),
    "poll": (7, 73),  # ARM64 has ppoll alone
    "ppoll": (271, 73),
    "clock_gettime": (228, 113),
    "gettimeofday": (96, 169),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getrusage": (98, 165),
    "times": (100, 153),
    "sysinfo": (99, 179),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrandom": (318, 278),
    "getrlimit": (97, 163),
    "setrlimit": (160, 164),
    "getpriority": (140, 141),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}


@dataclass(frozen=True)
class _Condition:
    """An argument has none of some bits, one of them, or a value."""

    argument: int
    instruction: int
    value: int
    wanted: bool = True


# Calls that are allowed if all conditions hold, with their numbers as above.
_CONDITIONAL = (
    ((9, 222), [_Condition(2, _ANY_BIT, _PROT_EXEC, wanted=False)]),  # mmap
    ((10, 226), [_Condition(2, _ANY_BIT, _PROT_EXEC, wanted=False)]),  # mprotect
    ((56, 220), [_Condition(0, _ANY_BIT, _CLONE_THREAD)]),  # clone: a thread, no process
    ((302, 261), [_Condition(0, _EQUAL, 0)]),  # prlimit64 of this process
    # setpriority of this process; 0 also means its whole group or all processes of its user
    ((141, 140), [_Condition(0, _EQUAL, os.PRIO_PROCESS), _Condition(1, _EQUAL, 0)]),
)
_CLONE3 = 435  # its flags are in memory, where no filter looks; without it the C library uses clone


def enter() -> bool:
    """Give up all rights that decoding does not need, for good. Return whether the system could do that."""
    if not sys.platform.startswith("linux"):
        return False
    machine = platform.machine()
    if machine not in _MACHINES or sys.maxsize < 2**32:
        return False
    instructions = _filter(*_MACHINES[machine])
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = _Program(len(instructions), ctypes.addressof(code))
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1) and _prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program)
    )


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends; elsewhere than on Linux, do nothing."""
    if sys.platform.startswith("linux"):
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of numbers, audit architecture


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _prctl(option: int, *arguments: int) -> bool:
    call: Callable[..., int] = ctypes.CDLL(None).prctl
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return call(ctypes.c_int(option), *map(ctypes.c_ulong, padded)) == 0


def _filter(column: int, architecture: int) -> Sequence[bytes]:
    refuse = _instruction(_RETURN, _ERRNO | errno.EPERM)
    allow = _instruction(_RETURN, _ALLOW)
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL_PROCESS),
        _instruction(_LOAD, _NUMBER),
        _instruction(_AT_LEAST, _OTHER_ABI, 0, 1),
        refuse,
    ]
    for numbers in _CALLS.values():
        program += [_instruction(_EQUAL, numbers[column], 0, 1), allow]
    for numbers, conditions in _CONDITIONAL:
        checks = [part for condition in conditions for part in (*_check(condition), refuse)]
        program += [_instruction(_EQUAL, numbers[column], 0, len(checks) + 1), *checks, allow]
    return [
        *program,
        _instruction(_EQUAL, _CLONE3, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
        refuse,
    ]


def _check(condition: _Condition) -> tuple[bytes, bytes]:
    """Return instructions that skip the next one if a condition holds."""
    holds, fails = (1, 0) if condition.wanted else (0, 1)
    return (
        _instruction(
            _LOAD, _ARGUMENTS + 8 * condition.argument
        ),  # its lower half: both machines store it first
        _instruction(condition.instruction, condition.value, holds, fails),
    )


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def works() -> bool:
    """Return whether a child of this process can enter the sandbox. Only for a process with one thread."""
    child = os.fork()
    if not child:
        os._exit(not enter())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
