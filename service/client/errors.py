"""What a client raises.

ClientError
├── Refused       trying again would not change it (4xx, 500); `problem` says what is wrong
└── Unavailable   429, 502, 503, 504, a 500 not of the service's own, no connection; also after the last attempt
"""

from __future__ import annotations

from collections.abc import Mapping
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
