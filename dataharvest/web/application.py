"""The web application: pages for people, the same as JSON under /api, and nothing that is not its own."""

from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from dataharvest.web import api, failures, pages, scrape, uploads
from dataharvest.web.headers import SafeHeaders
from dataharvest.web.parts import Parts

STATIC = Path(__file__).parent / "static"
_COMPRESSED_FROM_BYTES = 2048


def build_application(parts: Parts, *, hosts: list[str]) -> FastAPI:
    """The application; answers only requests that name one of ``hosts``, so that no other site can borrow a browser for them."""
    application = FastAPI(
        title="DataHarvest",
        summary="Where every set of files stands and exactly why one is not ready.",
        version="1",
        openapi_url="/api/openapi.json",
        # The usual viewers load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    application.state.parts = parts
    application.include_router(api.router)
    application.include_router(uploads.router)
    application.include_router(scrape.router)
    application.include_router(pages.router, include_in_schema=False)
    application.mount("/static", StaticFiles(directory=STATIC))
    failures.attach(application)
    application.add_middleware(GZipMiddleware, minimum_size=_COMPRESSED_FROM_BYTES, compresslevel=1)
    application.add_middleware(SafeHeaders)
    application.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    return application
