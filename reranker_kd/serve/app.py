"""The service over HTTP: routes, and every fault as ``{"error": "..."}``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from reranker_kd.errors import CandidateError, RerankerKDError
from reranker_kd.serve.gate import Gate, in_time, refused
from reranker_kd.serve.messages import (
    Fault,
    Health,
    ModelsAnswer,
    RerankAnswer,
    RerankRequest,
    SearchAnswer,
    SearchRequest,
)
from reranker_kd.serve.pages import reference_page, search_page
from reranker_kd.serve.service import Service

_FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "Not JSON"},
    401: {"model": Fault, "description": "No API key, or a wrong one"},
    404: {"model": Fault, "description": "No such model"},
    408: {"model": Fault, "description": "The request took too long to arrive"},
    413: {"model": Fault, "description": "Too large a request"},
    415: {"model": Fault, "description": "Not sent as application/json"},
    422: {"model": Fault, "description": "A field that is missing, wrong or over a limit; a docid without text"},
    503: {"model": Fault, "description": "Too many requests; Retry-After says when to try again"},
    504: {"model": Fault, "description": "No answer in time"},
}


def create_app(service: Service, *, hosts: Collection[str] | None = None, api_key: str | None = None) -> Gate:
    """Return the ASGI application of a service, which it closes at its end; ``hosts`` and ``api_key`` as in Gate."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    own_version = version("reranker-kd")
    # FastAPI's own pages of documentation fetch scripts from elsewhere.
    app = FastAPI(
        title="reranker_kd",
        version=own_version,
        description="Search a Lucene index by BM25, and rerank by distilled models.",
        docs_url=None,
        redoc_url=None,
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return search_page()

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def reference() -> HTMLResponse:
        return reference_page(app.openapi())

    @app.get("/health", summary="Whether requests are taken")
    async def health() -> Health:
        return Health(status="ok", version=own_version)

    @app.get("/models", summary="Models, index and limits", responses={401: _FAULTS[401]})
    async def models() -> ModelsAnswer:
        return service.models()

    @app.post("/rerank", summary="Rerank candidates by a model", responses=_FAULTS)
    async def rerank(asked: RerankRequest, request: Request) -> RerankAnswer:
        return await in_time(request, service.limits, service.rerank(asked))

    @app.post("/search", summary="Search by BM25, and rerank where a model is named", responses=_FAULTS)
    async def search(asked: SearchRequest, request: Request) -> SearchAnswer:
        return await in_time(request, service.limits, service.search(asked))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        if first["type"] == "json_invalid":
            return JSONResponse({"error": f"invalid JSON at character {place}"}, 400)
        return JSONResponse({"error": f"{place[:100]}: {first['msg']}"}, 422)

    @app.exception_handler(CandidateError)
    async def unfit(_: Request, error: CandidateError) -> JSONResponse:
        return JSONResponse({"error": error.fault}, 422)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        known = isinstance(error, RerankerKDError)
        fault = " ".join(str(error).split()) if known else "a fault of this program: its log says more"
        return JSONResponse({"error": fault}, 500)

    return Gate(app, service.limits, hosts=hosts, api_key=api_key)
