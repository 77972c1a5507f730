"""Headers of answers: those that every one has, and names of others."""

from __future__ import annotations

import re
import uuid

from starlette.datastructures import Headers

REQUEST_ID = "x-request-id"
KEPT_ID = "x-kept-id"  # of an answer whose picture is kept
JSON_LENGTH = "inference-header-content-length"  # bytes of JSON, of a body that goes on in binary
# JSON, text and pictures load nothing and need no frame. A page that needs more brings a policy of its own.
SAFE_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),  # says what frame-ancestors says, to browsers that do not know it
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
)
_ACCEPTED = re.compile(r"[!-~]([ -~]{0,126}[!-~])?")  # printable ASCII, no space at the ends


def request_id_of(headers: Headers) -> str:
    """Return the client's request id if it is printable and at most 128 characters long, else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _ACCEPTED.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """Return a request id."""
    return uuid.uuid4().hex
