"""The page /docs: Swagger UI, whose script and style come from a CDN, under the strictest policy that it works with."""

from __future__ import annotations

import base64
import hashlib
import re

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response

_SWAGGER = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5"
_SCRIPT, _STYLE = f"{_SWAGGER}/swagger-ui-bundle.js", f"{_SWAGGER}/swagger-ui.css"
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def add_documentation(app: FastAPI) -> None:
    """Give the app the page /docs. FastAPI's own would need a policy that allows every inline script."""

    @app.get("/docs", include_in_schema=False)
    async def _(request: Request) -> Response:
        page = get_swagger_ui_html(
            openapi_url=f"{request.scope.get('root_path', '').rstrip('/')}{app.openapi_url}",
            title=app.title,
            swagger_js_url=_SCRIPT,
            swagger_css_url=_STYLE,
            swagger_favicon_url="data:,",
        )
        page.headers["content-security-policy"] = _policy(bytes(page.body))
        return page


def _policy(page: bytes) -> str:
    """Return a policy that allows this page's inline script, the two files of the CDN, and requests to this service."""
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE.findall(page))
    inline = " ".join(f"'sha256-{digest}'" for digest in digests)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_SCRIPT} {inline}",
            f"style-src {_STYLE}",
            "img-src data: blob:",  # its icons, and label maps that were tried out
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
