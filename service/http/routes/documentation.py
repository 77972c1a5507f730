"""The page /docs: Swagger UI from a Python package. It asks no other host, under the strictest policy it allows."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import FileResponse, Response

_SCRIPT, _STYLE = "swagger-ui-bundle.js", "swagger-ui.css"
_MEDIA_TYPES: Mapping[str, str] = MappingProxyType({_SCRIPT: "text/javascript", _STYLE: "text/css"})
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def add_documentation(app: FastAPI) -> None:
    """Give the app the page /docs. FastAPI's own would load its files from a CDN and allow every inline script."""
    folder = Path(str(files("fastapi_offline"))) / "static"

    @app.get("/docs", include_in_schema=False, name="docs")
    async def _(request: Request) -> Response:
        root = request.scope["root_path"]
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}/docs/{_SCRIPT}",
            swagger_css_url=f"{root}/docs/{_STYLE}",
            swagger_favicon_url="data:,",
        )
        page.headers["content-security-policy"] = _policy(bytes(page.body))
        return page

    for name, media_type in _MEDIA_TYPES.items():
        app.add_api_route(
            f"/docs/{name}", _file(folder / name, media_type), include_in_schema=False, name=name
        )


def _file(path: Path, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def file() -> Response:
        return FileResponse(path, media_type=media_type, headers={"cache-control": "max-age=86400"})

    return file


def _policy(page: bytes) -> str:
    """Return a policy that allows this page's inline script, files of this service, and requests to it."""
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE.findall(page))
    inline = " ".join(f"'sha256-{digest}'" for digest in digests)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {inline}",
            "style-src 'self'",
            "img-src data: blob:",  # its icons, and label maps that were tried out
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
