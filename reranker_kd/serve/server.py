"""The service on a port: from an open socket to an end that leaves no request unanswered."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from reranker_kd.errors import OutputError
from reranker_kd.serve.limits import Limits

_REST_BYTES = 64 * 2**20
"""Bytes of a refused request that are still read."""

LOOPBACK_NAMES = frozenset({"127.0.0.1", "[::1]", "localhost"})


def is_loopback(host: str) -> bool:
    """Return whether nobody but this machine can reach an address."""
    return host in {"localhost", "::1"} or host.startswith("127.")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket on which connections wait from now on.

    :param port: 0 takes a free one
    :raises OutputError: the port is taken or the address is not this machine's
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        # Python appends the address to the reason; a name that is not found has a reason of its own.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise OutputError(f"{host}:{port}: cannot listen: {reason}: choose another --port or --host") from error
    # Connections inherit it. asyncio sets it only where a socket names its protocol; without it, an answer's body waits
    # 40 ms for the acknowledgement of its headers.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the URL of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(application: ASGIApp, limits: Limits) -> uvicorn.Server:
    """Return a server whose ``run(sockets=[...])`` serves until SIGTERM or SIGINT."""

    class Protocol(_PunctualProtocol):
        patience_s = limits.body_timeout_s

    # uvicorn calls the protocol with keywords of its own making, so what it is to know stands on the class.
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=math.ceil(limits.body_timeout_s + limits.timeout_s + 1),
        )
    )


def run_until_stopped(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; then take no more connections, finish what runs, and return."""
    # uvicorn raises the signal again when it is done, which would end the process as if it had failed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listening])


class _PunctualProtocol(H11Protocol):
    """HTTP/1.1 that hangs up on a client that takes too long; uvicorn waits forever.

    That is the time for a request's headers, and for the rest of a body whose request is refused already. Some of that
    rest is read and thrown away: a connection that is closed before is reset, and the client never sees why.
    """

    patience_s: float
    _deadline: asyncio.TimerHandle | None = None
    _thrown_away = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()
        self._thrown_away = self._thrown_away + len(data) if self.conn.our_state is h11.DONE else 0
        if self._thrown_away > _REST_BYTES:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def _watch(self) -> None:
        awaited = self.conn.our_state in (h11.IDLE, h11.DONE)
        if awaited and self._deadline is None:
            self._deadline = self.loop.call_later(self.patience_s, self.transport.close)
        elif not awaited and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
