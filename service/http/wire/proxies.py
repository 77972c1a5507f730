"""What a proxy says of a request, believed if the proxy is trusted: the client, the scheme, the prefix of the path.

Below a path, such as /vision, a proxy passes requests on with this prefix or without it. The app sees what ASGI wants
in both cases: `root_path` is the prefix, and `path` begins with it.
"""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.setting_values import ROOT_PATH

TRUSTED = "127.0.0.1,::1"  # unless FORWARDED_ALLOW_IPS says otherwise
PREFIX_HEADER = "x-forwarded-prefix"


class BehindProxies:
    """ASGI middleware, see the module. `root_path` is the prefix where no trusted proxy names another one."""

    def __init__(self, app: Any, trusted: str, root_path: str) -> None:
        self._headers = ProxyHeadersMiddleware(app, trusted)
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (root := self._prefix(scope)):
            path = scope["path"]
            is_below = path == root or path.startswith(f"{root}/")
            scope.update(root_path=root, path=path if is_below else root + path)
        await self._headers(scope, receive, send)  # type: ignore[arg-type]  # uvicorn's own types of ASGI

    def _prefix(self, scope: Scope) -> str:
        client = scope.get("client")
        if (client[0] if client else None) in self._headers.trusted_hosts:
            named = Headers(scope=scope).get(PREFIX_HEADER, "").rstrip("/")
            if named and ROOT_PATH.fullmatch(named):
                return named
        return self._root_path
