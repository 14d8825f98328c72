"""What stands before the application: who may ask, how much, how slowly. A request turned away here costs nothing."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any

from reranker_kd.serve.limits import Limits, RefusedError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/", "/docs", "/health", "/openapi.json"})
"""What is served without the API key: it tells nothing of documents and models, and costs next to nothing."""

API_KEY_HEADER = "x-api-key"

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_DRAIN_S = 2.0
_DRAIN_BYTES = 64 * 2**20
_LOGGER = logging.getLogger(__name__)


class Gate:
    """An ASGI application before another one; it passes on requests that are whole and within the limits.

    :param hosts: what the header ``Host`` may name, without the port; None lets any pass. A page of another site that
        points its own name at this machine (DNS rebinding) is found out by it. Such pages cannot send JSON either
        without being allowed to, which they never are
    :param api_key: what the header ``X-API-Key`` must hold beyond :data:`OPEN_PATHS`; None lets everybody pass
    """

    def __init__(
        self,
        application: Application,
        limits: Limits,
        *,
        hosts: Collection[str] | None = None,
        api_key: str | None = None,
    ) -> None:
        self._application = application
        self._limits = limits
        self._hosts = hosts
        self._api_key = api_key
        self._held_bytes = 0
        self._working = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        response = _Response(send)
        body = bytearray()
        whole = False
        try:
            headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
            self._check_host(headers)
            self._check_key(scope["path"], headers)
            self._check_type(scope["method"], headers)
            await self._read(headers, receive, body)
            whole = True
            await self._answer(scope, receive, response, bytes(body))
        except _GoneError:
            pass
        except RefusedError as refusal:
            if not response.started:
                expecting = b"expect" in dict(scope["headers"])
                await response.refuse(refusal, None if whole or expecting or refusal.status == 408 else receive)
        except Exception as error:
            # The application has answered with 500 already.
            _LOGGER.error("%s %s: %s: %s", scope["method"], scope["path"], type(error).__name__, error)
            if not response.started:
                await response.refuse(RefusedError(500, "a fault of this program: its log says more"), None)
        finally:
            self._held_bytes -= len(body)

    def _check_host(self, headers: MutableMapping[str, bytes]) -> None:
        if self._hosts is None:
            return
        host = headers.get("host", b"").decode("latin-1").lower()
        if _without_port(host) not in self._hosts:
            raise RefusedError(421, f"this service is not {host[:60]!r}: ask for it by {sorted(self._hosts)[-1]}")

    def _check_key(self, path: str, headers: MutableMapping[str, bytes]) -> None:
        if self._api_key is None or path in OPEN_PATHS:
            return
        if not hmac.compare_digest(headers.get(API_KEY_HEADER, b""), self._api_key.encode()):
            raise RefusedError(401, "give the service's API key in the header X-API-Key")

    def _check_type(self, method: str, headers: MutableMapping[str, bytes]) -> None:
        kind = headers.get("content-type", b"").split(b";")[0].strip().lower()
        if method == "POST" and kind != b"application/json":
            raise RefusedError(415, "send JSON, with the header Content-Type: application/json")

    async def _read(self, headers: MutableMapping[str, bytes], receive: Receive, body: bytearray) -> None:
        # Compared as text: a number of a thousand digits is over the limit too. h11 lets only digits pass.
        announced = headers.get("content-length", b"0").lstrip(b"0")
        limit = str(self._limits.body_bytes).encode()
        if (len(announced), announced) > (len(limit), limit):
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.body_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    chunk = message.get("body", b"")
                    self._held_bytes += len(chunk)
                    body += chunk
                    if len(body) > self._limits.body_bytes:
                        raise self._too_large()
                    if self._held_bytes > self._limits.concurrent * self._limits.body_bytes:
                        raise RefusedError(503, "too many large requests at once: try again later")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RefusedError(408, f"the request took more than {self._limits.body_s:g} s to arrive") from None

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the request is larger than {self._limits.body_bytes} bytes: send fewer candidates")

    async def _answer(self, scope: Message, receive: Receive, response: _Response, body: bytes) -> None:
        # What costs little is answered under any load.
        costly = scope["method"] == "POST"
        if costly and self._working >= self._limits.concurrent:
            raise RefusedError(503, "too many requests at once: try again later")
        self._working += costly
        gone = asyncio.ensure_future(_disconnected(receive))
        work = asyncio.ensure_future(self._application(scope, _replayed(body, gone), response.send))
        try:
            await asyncio.wait({work, gone}, timeout=self._limits.answer_s, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            elif not gone.done():
                raise RefusedError(504, f"no answer within {self._limits.answer_s:g} s: send fewer candidates")
        finally:
            self._working -= costly
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


class _GoneError(Exception):
    """The client has closed the connection."""


class _Response:
    """What goes to the client, with the headers that every response has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            own = {bytes(name).lower() for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in own]
            message = {**message, "headers": [*message["headers"], *added]}
        await self._send(message)

    async def refuse(self, refusal: RefusedError, unread: Receive | None) -> None:
        """Send a refusal and close the connection.

        :param unread: where the rest of the request's body comes from; closing a connection with data that nobody has
            read resets it, and the client never sees why
        """
        body = json.dumps({"error": refusal.fault}).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **refusal.headers(),
        }
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        if unread is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    await _drain(unread)
        await self.send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    drained = 0
    while drained < _DRAIN_BYTES:
        message = await receive()
        drained += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replayed(body: bytes, gone: asyncio.Future[None]) -> Receive:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        for message in messages:
            return message
        await asyncio.shield(gone)
        return {"type": "http.disconnect"}

    return receive


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
