"""What a client raises.

ClientError       also for an argument, or a variable of the environment, that cannot be used
├── Refused       trying again would not change it (4xx, 500); `problem` says what is wrong
└── Unavailable   429, 502, 503, 504, a 500 not of the service's own, no connection; also after the last attempt
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from errno import errorcode
from typing import Any


class ClientError(Exception):
    """There is no answer. `problem` is the service's problem+json, empty if there is none."""

    def __init__(self, message: str, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = dict(problem or {})


class Refused(ClientError):
    """The service refuses the request, and would refuse it again."""


class Unavailable(ClientError):
    """The request may succeed later, or elsewhere."""


def reason(error: BaseException) -> str:
    """Return why something failed, in words: without numbers of errors and names of classes of Python's."""
    found = (_words(each) for each in _causes(error) if isinstance(each, OSError))
    text = next(filter(None, found), None) or str(error).partition("\n")[0]
    text = re.sub(r"^\[[^]]*\] ", "", text) or "the connection broke"
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _words(error: OSError) -> str | None:
    # asyncio puts the address into the text of the error; TLS and names of hosts have numbers of their own.
    if error.errno is not None and error.errno in errorcode and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, what it was raised from, and so on; of a group the first."""
    found: BaseException | None = error
    for _ in range(10):
        if found is None:
            return
        yield found
        first = found.exceptions[0] if isinstance(found, BaseExceptionGroup) else None
        found = first or found.__cause__ or found.__context__
