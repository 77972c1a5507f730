"""Pictures from Label Studio, and from nowhere else: whoever makes a task chooses an address below its own."""

from __future__ import annotations

import asyncio
import io
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from model.errors import UserError
from service.http.body.limits import Body
from service.http.body.upload import in_time
from service.http.label_studio.access import StudioToken
from service.http.problems import Problem
from service.http.query.echo import cut
from service.settings import Settings

MAX_REDIRECTS = 3
MAX_ANSWER = 65_536  # bytes of an answer with a token
_REDIRECTS = (301, 302, 303, 307, 308)
_REFUSED = (401, 403)
_log = logging.getLogger(__name__)


class StudioFiles:
    """The files of one Label Studio, asked for with its token."""

    def __init__(self, address: str, token: StudioToken, seconds: float, limit: int) -> None:
        """A file may take `seconds` and have `limit` bytes."""
        self._address = httpx.URL(address)
        self._token = token
        self._seconds = seconds
        self._limit = limit
        self._bearer: str | None = None  # got with a personal token; it lasts for some minutes
        self._exchange = asyncio.Lock()
        # Proxies and passwords of the environment are for other programs. OpenSSL itself reads SSL_CERT_FILE.
        context = ssl.create_default_context() if self._address.scheme == "https" else False
        self._client = httpx.AsyncClient(trust_env=False, verify=context, timeout=seconds)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def fetch(self, address: str, body: Body) -> bytes:
        """Return a file, whose bytes count in the memory for bodies.

        Raise Problem if it is elsewhere, or if Label Studio does not hand it out in time and within the limit.
        Raises BodiesFull.
        """
        url = self._checked(address, self._address)
        late = _not_fetched(f"it was not complete after {self._seconds:g} s")
        try:
            return await in_time(self._fetched(url, body), self._seconds, body, late)
        except httpx.HTTPError as error:
            _log.warning("Label Studio: %s", cut(f"{type(error).__name__}: {error}"))
            raise _not_fetched("Label Studio does not answer, or not in HTTP") from error

    async def _fetched(self, url: httpx.URL, body: Body) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._asked(url) as response:
                if response.status_code not in _REDIRECTS:
                    return await self._content(response, body)
                url = self._checked(response.headers.get("location", ""), url)
        raise _not_fetched(f"it redirects more than {MAX_REDIRECTS} times")

    @asynccontextmanager
    async def _asked(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        """Yield the answer about a file. A token that has expired in the meantime is got anew, once."""
        credential = await self._credential(old=None)
        for last in (False, True):
            # A compressed file could be larger than what is counted.
            headers = {"authorization": credential, "accept-encoding": "identity"}
            async with self._client.stream("GET", url, headers=headers) as response:
                renewable = credential.startswith("Bearer ") and not last
                if response.status_code != 401 or not renewable:
                    yield response
                    return
            credential = await self._credential(old=credential)

    async def _content(self, response: httpx.Response, body: Body) -> bytes:
        if response.status_code in _REFUSED:
            raise _not_fetched(
                f"Label Studio answers {response.status_code}: the token is not valid (any more), or its user may not "
                "see this file"
            )
        if response.status_code != 200:
            raise _not_fetched(f"Label Studio answers {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _not_fetched("Label Studio compresses it, although it was asked not to")
        buffer = io.BytesIO()
        async for chunk in response.aiter_raw():
            if buffer.tell() + len(chunk) > self._limit:
                raise Problem("too-many-bytes", f"a file may have at most {self._limit} bytes")
            body.take(len(chunk))
            buffer.write(chunk)
        return buffer.getvalue()

    async def _credential(self, old: str | None) -> str:
        """Return what says who asks. A personal token is exchanged if that was not done yet, or `old` was refused."""
        try:
            personal = self._token.personal
            if personal is None:
                return f"Token {self._token.read()}"
        except (UserError, OSError, ValueError) as error:
            _log.error("label_studio_token_file: %s", error)
            raise _not_fetched("the service cannot read its token for Label Studio") from error
        async with self._exchange:  # of several that need it, one gets it
            if self._bearer is None or self._bearer == old:
                self._bearer = None
                self._bearer = f"Bearer {await self._exchanged(personal)}"
            return self._bearer

    async def _exchanged(self, personal: str) -> str:
        url = self._address.copy_with(path=f"{self._address.path.rstrip('/')}/api/token/refresh")
        headers = {"accept-encoding": "identity"}  # a compressed answer would not be read
        async with self._client.stream("POST", url, headers=headers, json={"refresh": personal}) as response:
            if response.status_code in _REFUSED:
                raise _not_fetched(
                    f"Label Studio answers {response.status_code} to the personal access token: it has expired or was "
                    "revoked, or the organization does not allow such tokens"
                )
            text = b""
            async for chunk in response.aiter_raw():
                text += chunk
                if len(text) > MAX_ANSWER:
                    break
        try:
            return str(httpx.Response(response.status_code, content=text).json()["access"])
        except (ValueError, KeyError, TypeError) as error:
            raise _not_fetched(f"Label Studio answers {response.status_code} and no token") from error

    def _checked(self, address: str, base: httpx.URL) -> httpx.URL:
        """Return an address, which may be relative. Raise Problem unless Label Studio's is its beginning."""
        try:
            url = base.join(address)
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise _foreign(address, self._address) from error
        ours, theirs = ((each.scheme, each.host, _port(each)) for each in (self._address, url))
        # Behind the host there may be others, to whom the path leads. `join` has resolved all dots but encoded ones.
        below = url.path.startswith(f"{self._address.path.rstrip('/')}/") and ".." not in url.path.split("/")
        if ours != theirs or url.userinfo or not below:
            raise _foreign(address, self._address)
        return url.copy_with(fragment=None)


def studio_files(address: str, settings: Settings) -> StudioFiles:
    """Return the files of the Label Studio at this address. Raises UserError, OSError if there is no token for it."""
    return StudioFiles(address, StudioToken.of(settings), settings.body_seconds, settings.max_body_bytes)


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _foreign(address: str, ours: httpx.URL) -> Problem:
    return Problem(
        "foreign-address",
        f"pictures are fetched from {ours} only, but the task or a redirect names {cut(address, 80)!r}",
    )


def _not_fetched(why: str) -> Problem:
    return Problem("not-fetched", f"the picture cannot be fetched: {why}")
