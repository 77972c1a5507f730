"""The page at `/`, with its files below `/page/`, under a policy that allows only these and the service."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from starlette.requests import Request
from starlette.responses import Response

from service.http.problems import Problem
from service.page.files import INDEX, PageFile, page_files

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob: data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def add_page(app: FastAPI, *, shown: bool) -> None:
    """Give the app the page; without it, `/` leads to the documentation."""
    if not shown:
        app.get("/", include_in_schema=False)(_documentation)
        return
    files = page_files()

    @app.get("/", include_in_schema=False)
    async def home(request: Request) -> Response:
        """Return the page. Its addresses are relative, so that of the page must end with a slash."""
        if not request.scope.get("raw_path", b"/").endswith(b"/"):
            return RedirectResponse(f"{request.scope['root_path']}/")
        return _answer(request, files[INDEX])

    @app.get("/page/{name:path}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        """Return a file of the page."""
        if name not in files:
            raise Problem("not-found", f"the page has no file {name[:80]!r}")
        return _answer(request, files[name])


async def _documentation(request: Request) -> Response:
    """Redirect to the documentation. Of the address it names the path alone, because a proxy may have another host."""
    root = request.scope["root_path"]
    return RedirectResponse(f"{root}/docs" if root else "docs")


def _answer(request: Request, file: PageFile) -> Response:
    """Return a file, or 304 if the browser has it. It is asked for every time, so that an update shows at once."""
    headers = {"etag": file.etag, "cache-control": "no-cache", "content-security-policy": POLICY}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {file.etag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
