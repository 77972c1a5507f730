"""Addresses and methods as clients mean them: HEAD wherever GET is, and a final slash changes nothing.

A redirect would do for the slash, too, but it would have to say where the service is, which only a proxy in front of it
may know; and not every client sends its body a second time.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ForgivingRoutes:
    """ASGI middleware, see the module. The server leaves out the body of an answer to HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        root = scope.get("root_path", "")
        path, method = scope["path"], scope["method"]
        if root and path == root:
            path = f"{root}/"
        elif path.endswith("/") and path.removeprefix(root) != "/":
            path = path[:-1]
        meant = {**scope, "path": path, "method": "GET" if method == "HEAD" else method}

        async def allowing(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                headers = MutableHeaders(scope=message)
                methods = headers.get("allow", "").split(", ")
                if "GET" in methods and "HEAD" not in methods:
                    headers["allow"] = ", ".join((*methods, "HEAD"))
            await send(message)

        try:
            await self._app(meant, receive, allowing)
        finally:
            if "route" in meant:  # for the metrics
                scope["route"] = meant["route"]
