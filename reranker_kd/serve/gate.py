"""What stands before the application: who may ask, how much, how slowly, how many at once.

Starlette's and FastAPI's own guards do not serve here: they answer in plain text, or read the body first.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Awaitable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reranker_kd.serve.limits import Limits
from reranker_kd.serve.messages import RefusedError

T = TypeVar("T")

OPEN_PATHS = frozenset({"/", "/docs", "/health", "/openapi.json"})
"""What is served without the API key: it tells nothing of documents and models, and costs next to nothing."""

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_LOGGER = logging.getLogger(__name__)


@dataclass(repr=False)
class Gate:
    """An ASGI application before another one. It refuses requests by their headers, and bodies as they arrive.

    :param hosts: what the header ``Host`` may name, without the port; None lets any pass. A page of another site that
        points its own name at this machine (DNS rebinding) is found out by it. Such pages cannot send JSON either
        without being allowed to, which they never are
    :param api_key: what the header ``X-API-Key`` must hold beyond :data:`OPEN_PATHS`; None lets everybody pass
    """

    application: ASGIApp
    limits: Limits
    hosts: Collection[str] | None = None
    api_key: str | None = None
    _working: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        send = _with_headers(send)
        # What costs little is answered under any load.
        costly = scope["method"] == "POST"
        try:
            self._check(scope, Headers(scope=scope))
            if costly and self._working >= self.limits.max_concurrent:
                raise RefusedError(503, "too many requests at once: try again later")
        except RefusedError as refusal:
            await (await refused(None, refusal))(scope, receive, send)
            return
        self._working += costly
        try:
            await self.application(scope, self._bounded(scope, receive), send)
        except Exception as error:
            # The application has answered with 500 already.
            _LOGGER.error("%s %s: %s: %s", scope["method"], scope["path"], type(error).__name__, error)
        finally:
            self._working -= costly

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if self.hosts is not None and re.sub(r":\d+$", "", host).lower() not in self.hosts:
            raise RefusedError(421, f"this service is not {host[:60]!r}: ask for it by {max(self.hosts)}")
        if self.api_key is not None and scope["path"] not in OPEN_PATHS:
            given = headers.get("x-api-key", "")
            if not hmac.compare_digest(given.encode(), self.api_key.encode()):
                raise RefusedError(401, "give the service's API key in the header X-API-Key")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            raise RefusedError(415, "send JSON, with the header Content-Type: application/json")

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Return what receives a request's body, and refuses one that is too large or takes too long."""
        limits = self.limits
        until = asyncio.get_running_loop().time() + limits.body_timeout_s
        announced = int(Headers(scope=scope).get("content-length", "0"))
        arrived = 0
        whole = False

        async def bounded() -> Message:
            nonlocal arrived, whole
            if whole:
                # What comes now is that the client hangs up.
                return await receive()
            message: Message = {}
            if announced <= limits.max_body_bytes:
                try:
                    async with asyncio.timeout_at(until):
                        message = await receive()
                except TimeoutError:
                    fault = f"the request took more than {limits.body_timeout_s:g} s to arrive"
                    raise RefusedError(408, fault) from None
            arrived += len(message.get("body", b""))
            if max(announced, arrived) > limits.max_body_bytes:
                fault = f"the request is larger than {limits.max_body_bytes} bytes: send fewer candidates"
                raise RefusedError(413, fault)
            whole = not message.get("more_body", False)
            return message

        return bounded


async def in_time(request: Request, limits: Limits, work: Awaitable[T]) -> T:
    """Return the result of the work; cancel it when its time is over, or when the client hangs up.

    :param request: read to the end of its body
    :raises RefusedError: there is no result
    """
    answer = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answer, gone}, timeout=limits.timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise RefusedError(504, f"no answer within {limits.timeout_s:g} s: send fewer candidates")
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def refused(_: Request | None, error: HTTPException) -> JSONResponse:
    """Return what a client gets that is refused."""
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _with_headers(send: Send) -> Send:
    """Return what sends the headers that every response has, besides its own."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
