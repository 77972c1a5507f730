"""`python -m service serve`: serve models over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from service.cli.address import check_address, check_closed
from service.cli.errors import expected_errors
from service.cli.options import Device, Threads
from service.settings import check_environment, described, read_settings

EPILOG = f"\b\nSettings, from the environment or the TOML file of --config:\n{described()}"


def serve(
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Folder of an exported model; repeat for several.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="127.0.0.1 unless set.")] = None,
    port: Annotated[int | None, typer.Option(help="8000 unless set.")] = None,
    root_path: Annotated[
        str | None, typer.Option(help="Path below which a proxy has the service, such as /vision.")
    ] = None,
    device: Device = None,
    threads: Threads = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
) -> None:
    """Serve models over HTTP. What is not given comes from POINTREND_… in the environment."""
    with expected_errors():
        check_environment()
        settings = read_settings(
            bundles=bundle,
            host=host,
            port=port,
            root_path=root_path,
            device=device,
            threads=threads,
            config=config,
        )
        check_address(settings.host, settings.port)
        has_keys = bool(settings.api_keys or settings.api_keys_file)
        published_at, lends_token = os.environ.get("PUBLISHED_AT", ""), settings.label_studio_url is not None
        if warning := check_closed(settings.host, published_at, has_keys, lends_token=lends_token):
            typer.echo(f"warning: {warning}", err=True)
        # So that other commands need not load the web framework.
        from service.app import create_app
        from service.http.server import run

        code = run(create_app(settings), settings)
    if code:
        os._exit(code)  # requests were lost, so something may be stuck that would never end
