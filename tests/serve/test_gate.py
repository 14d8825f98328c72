"""What is turned away at the door: hosts, keys, large and slow requests, too many at once."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import httpx
import numpy as np
import pytest

from reranker_kd.errors import ModelError
from reranker_kd.rerank.base import Pair, Reranker
from reranker_kd.serve.limits import Limits
from reranker_kd.types import FloatArray

REQUEST = {"query": "heat", "candidates": [{"docid": "a", "text": "x"}], "model": "held"}


class Held(Reranker):
    """Waits until it is let go; a query says how it fails."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.pairs = 0

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        self.begun.release()
        assert self.go.wait(20)
        if pairs[0][0] == "model":
            raise ModelError("held: the model is\nbroken")
        if pairs[0][0] == "bug":
            raise ZeroDivisionError("secret")
        self.pairs += len(pairs)
        return np.zeros(len(pairs), dtype=np.float32)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.go.set()


def _address(client: httpx.Client) -> tuple[str, int]:
    return client.base_url.host, client.base_url.port


def _reply(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]:80"])
def test_a_host_of_this_machine(client, host):
    assert client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.", "", "::1"]
)
def test_a_host_that_points_here_from_elsewhere(client, host):
    response = client.get("/health", headers={"host": host})
    assert response.status_code == 421
    assert response.json()["error"].endswith("ask for it by localhost")


def test_the_api_key(serving, held):
    held.go.set()
    with serving({"held": held}, api_key="sesame") as client:
        for headers in ({}, {"x-api-key": ""}, {"x-api-key": "sesam"}, {"x-api-key": "sesame2"}, {"x-api-key": "ÿ"}):
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            response = client.post("/rerank", json=REQUEST, headers=encoded)
            assert response.status_code == 401
            assert response.json() == {"error": "give the service's API key in the header X-API-Key"}
        assert client.get("/models").status_code == 401
        assert {client.get(path).status_code for path in ("/", "/docs", "/health", "/openapi.json")} == {200}
        assert client.post("/rerank", json=REQUEST, headers={"x-api-key": "sesame"}).status_code == 200
    assert held.pairs == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit(client, chunked):
    body = b" " * 20_001
    content = (body[start : start + 4096] for start in range(0, len(body), 4096)) if chunked else body
    response = client.post("/rerank", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert response.json() == {"error": "the request is larger than 20000 bytes: send fewer candidates"}
    assert client.get("/health").status_code == 200


def test_refused_bodies_leave_the_connection_as_it_is(client):
    for _ in range(3):
        response = client.post("/rerank", content=b" " * 30_000_000, headers={"content-type": "application/json"})
        assert response.status_code == 413
    assert client.get("/health").status_code == 200


def test_a_body_at_the_limit(client):
    response = client.post("/rerank", content=b" " * 20_000, headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_a_body_that_never_ends_is_cut_off(client):
    head = b"POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with socket.create_connection(_address(client)) as connection:
        connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 100_000_000:
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
        assert sent < 100_000_000


def test_an_announced_length_of_absurd_size(client):
    head = b"POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %s\r\n\r\n"
    with socket.create_connection(_address(client)) as connection:
        connection.sendall(head % (b"9" * 18))
        connection.shutdown(socket.SHUT_WR)
        assert _reply(connection).startswith(b"HTTP/1.1 413 ")


def test_who_expects_to_continue_is_told_at_once(client):
    head = (
        b"POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 999999\r\nexpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(_address(client)) as connection:
        connection.sendall(head)
        assert _reply(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("start", [b"", b'{"query": '])
def test_a_slow_body(client, start):
    head = b"POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    with socket.create_connection(_address(client)) as connection:
        connection.sendall(head + start)
        reply = _reply(connection)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b'{"error":"the request took more than 0.5 s to arrive"}' in reply


def test_a_body_that_drips(client):
    head = b"POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    with socket.create_connection(_address(client)) as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.02)
        assert _reply(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "start", [b"", b"GET /health HTTP/1.1\r\nhost: local", b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nGET"]
)
def test_headers_that_never_end(client, start):
    with socket.create_connection(_address(client)) as connection:
        connection.sendall(start)
        reply = _reply(connection)
    assert reply.count(b"HTTP/1.1") == start.count(b"\r\n\r\n")


def test_too_many_at_once(serving, held):
    with serving({"held": held}, limits=Limits(max_concurrent=3)) as client, ThreadPoolExecutor(5) as clients:
        answers = [clients.submit(client.post, "/rerank", json=REQUEST) for _ in range(5)]
        done = as_completed(answers, timeout=10)
        for answer in islice(done, 2):
            refused = answer.result()
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.json() == {"error": "too many requests at once: try again later"}
        assert client.get("/health").status_code == 200
        held.go.set()
        assert [answer.result().status_code for answer in done] == [200] * 3
        assert client.post("/rerank", json=REQUEST).status_code == 200


def test_one_that_still_arrives_counts(serving, held):
    held.go.set()
    head = b"POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    with serving({"held": held}, limits=Limits(max_concurrent=1, body_timeout_s=1)) as client:
        with socket.create_connection(_address(client)) as connection:
            connection.sendall(head)
            time.sleep(0.2)
            assert client.post("/rerank", json=REQUEST).status_code == 503
            assert _reply(connection).startswith(b"HTTP/1.1 408 ")
        assert client.post("/rerank", json=REQUEST).status_code == 200


def test_an_answer_that_takes_too_long(serving, held):
    with serving({"held": held}, limits=Limits(timeout_s=0.3)) as client:
        response = client.post("/rerank", json=REQUEST)
        assert response.status_code == 504
        assert response.json() == {"error": "no answer within 0.3 s: send fewer candidates"}
        assert client.post("/rerank", json={**REQUEST, "query": "waits behind"}).status_code == 504
        held.go.set()
        assert client.post("/rerank", json=REQUEST).status_code == 200
    # The request behind the slow one was taken back before the model saw it.
    assert held.pairs == 2


def test_who_hangs_up_is_not_worked_for(serving, held):
    with serving({"held": held}) as client:
        with ThreadPoolExecutor(1) as clients:
            first = clients.submit(client.post, "/rerank", json=REQUEST)
            assert held.begun.acquire(timeout=10)
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(client.base_url.join("/rerank"), json=REQUEST, timeout=0.3)
            time.sleep(0.2)
            held.go.set()
            assert first.result().status_code == 200
        assert client.post("/rerank", json=REQUEST).status_code == 200
    assert held.pairs == 2


def test_a_model_that_fails(serving, held, caplog):
    held.go.set()
    with serving({"held": held}) as client:
        response = client.post("/rerank", json={**REQUEST, "query": "model"})
        assert (response.status_code, response.json()) == (500, {"error": "held: the model is broken"})
        response = client.post("/rerank", json={**REQUEST, "query": "bug"})
        assert (response.status_code, response.json()) == (500, {"error": "a fault of this program: its log says more"})
        assert client.post("/rerank", json=REQUEST).status_code == 200
    assert "POST /rerank: ZeroDivisionError: secret" in caplog.text


def test_what_is_not_http(client):
    with socket.create_connection(_address(client)) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert _reply(connection).startswith(b"HTTP/1.1 400 ")
