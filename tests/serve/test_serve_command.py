"""``reranker-kd serve`` as a process: started, asked, and stopped while a request runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from reranker_kd import load_reranker
from reranker_kd.cli import main
from reranker_kd.types import Candidate

REFERENCE = ("--backend", "torch", "--precision", "float32")


@contextmanager
def _started(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Start the command; yield the process, its address, and the lines on stderr before the one that has it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reranker_kd", "serve", "--port", "0", "--quiet", *REFERENCE, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stderr is not None
        lines = []
        while found := process.stderr.readline():
            if address := re.search(r"serving .* on (http://\S+)", found):
                break
            lines.append(found)
        assert found, lines
        yield process, address[1], lines
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _assert_a_stop_finishes_what_runs(process, address: str, folder: Path, stop: int, key: str = "") -> None:
    texts = {str(i): f"heat flow over a flat plate in a boundary layer {i} " * 20 for i in range(100)}
    documents = [{"docid": docid, "text": text} for docid, text in texts.items()]
    body = json.dumps({"query": "heat flow", "candidates": documents, "model": folder.name}).encode()
    url = httpx.URL(address)
    head = (
        f"POST /rerank HTTP/1.1\r\nhost: {url.host}\r\ncontent-type: application/json\r\nx-api-key: {key}\r\n"
        f"content-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.sendall(head.encode())
        # From here on the request is under way.
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        process.send_signal(stop)
        time.sleep(0.3)
        connection.sendall(body)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")
    reranker = load_reranker(folder, backend="torch", precision="float32")
    expected = reranker.rerank("heat flow", [Candidate(docid, 0, text) for docid, text in texts.items()])
    scores = [ranked["score"] for ranked in json.loads(reply.partition(b"\r\n\r\n")[2])["ranking"]]
    assert scores == pytest.approx([candidate.score for candidate in expected.candidates], abs=1e-5)


@pytest.mark.slow
def test_over_a_collection_with_a_key_until_sigterm(served_collection, cross_encoder_folder, texts):
    arguments = ["--collection", str(served_collection), "--model", str(cross_encoder_folder)]
    key = {"x-api-key": "sesame"}
    with _started(*arguments, RERANKER_KD_API_KEY="sesame") as (process, address, lines):
        assert lines == []
        assert httpx.get(f"{address}/models").status_code == 401
        assert httpx.get(f"{address}/health", headers={"host": "evil.example"}).status_code == 421
        request = {"query": "heat flow", "hits": 1}
        (hit,) = httpx.post(f"{address}/search", json=request, headers=key, timeout=30).json()["ranking"]
        assert hit["text"] == texts[hit["docid"]]
        _assert_a_stop_finishes_what_runs(process, address, cross_encoder_folder, signal.SIGTERM, "sesame")


@pytest.mark.slow
def test_beyond_loopback_without_a_key_until_ctrl_c(cross_encoder_folder):
    with _started("--model", str(cross_encoder_folder), "--host", "0.0.0.0") as (process, address, lines):
        assert len(lines) == 1
        assert lines[0].startswith("warning: everybody who reaches 0.0.0.0 can use this service")
        address = address.replace("0.0.0.0", "127.0.0.1")
        # The name by which others ask is not known, so none is refused.
        assert httpx.get(f"{address}/models", headers={"host": "lab.example"}).status_code == 200
        _assert_a_stop_finishes_what_runs(process, address, cross_encoder_folder, signal.SIGINT)


def _fails(capsys, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *arguments])
    return stopped.value.code, capsys.readouterr().err


def test_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, error = _fails(capsys, "--model", "any", "--port", port)
    assert (status, error) == (
        1,
        f"error: 127.0.0.1:{port}: cannot listen: Address already in use: choose another --port or --host\n",
    )


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "schlüssel"])
def test_a_key_file_without_a_key(capsys, tmp_path, content):
    (tmp_path / "key").write_text(content)
    status, error = _fails(capsys, "--model", "any", "--port", "0", "--api-key-file", str(tmp_path / "key"))
    assert (status, error) == (1, f"error: {tmp_path}/key: expected an API key of printable ASCII in one line\n")


def test_a_model_that_is_nowhere(capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    status, error = _fails(capsys, "--model", "nobody/no-such-model", "--port", "0")
    assert status == 1
    assert error.startswith("error: nobody/no-such-model: no such folder")


def test_two_models_of_one_name(capsys, cross_encoder_folder, tmp_path):
    shutil.copytree(cross_encoder_folder, tmp_path / cross_encoder_folder.name)
    both = [str(cross_encoder_folder), str(tmp_path / cross_encoder_folder.name)]
    status, error = _fails(capsys, "--model", both[0], "--model", both[1], "--port", "0")
    assert status == 2
    assert "two models would have the same name" in error


def test_without_fastapi(cross_encoder_folder):
    program = (
        "import sys, importlib.machinery as machinery\n"
        "find = machinery.PathFinder.find_spec\n"
        "hide = lambda name, *rest: None if name == 'fastapi' else find(name, *rest)\n"
        "machinery.PathFinder.find_spec = staticmethod(hide)\n"
        "from reranker_kd.cli import main\n"
        "main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "serve", "--model", str(cross_encoder_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert (done.returncode, done.stderr) == (1, "error: serve needs fastapi: pip install 'reranker-kd[serve]'\n")
