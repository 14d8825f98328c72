"""A service on a free port, and what it serves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from make_tiny_models import make_cross_encoder

from reranker_kd import load_reranker
from reranker_kd.rerank.base import Reranker
from reranker_kd.retrieve.indexing import build_index
from reranker_kd.retrieve.lucene import LuceneIndex
from reranker_kd.serve.app import create_app
from reranker_kd.serve.limits import Limits
from reranker_kd.serve.server import address_of, listen, make_server
from reranker_kd.serve.service import Service

TEXTS = {
    "d1": "heat flow over a flat plate in a boundary layer",
    "d2": "the dog and the cat sat by the river",
    "d3": "a shock wave in supersonic flow over a flat plate",
    "d4": "heat transfer from a cylinder to water",
    "d5": "heat and pressure in a shock wave",
    "hostile": "heat <script>document.title = 'read as markup'</script><img src=x onerror=alert(1)> & more",
}

EXAMPLES = ("shock wave", "heat & <b>flow</b>")

Serving = Callable[..., AbstractContextManager[httpx.Client]]


def _load(*folders: Path) -> dict[str, Reranker]:
    """Rerankers under the names tiny and other, with the same scores on every processor."""
    loaded = (load_reranker(folder, backend="torch", precision="float32") for folder in folders)
    return dict(zip(("tiny", "other"), loaded, strict=True))


@pytest.fixture(scope="session")
def texts() -> Mapping[str, str]:
    return TEXTS


@pytest.fixture(scope="session")
def served_collection(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("served") / "docs.jsonl"
    path.write_text("".join(json.dumps({"id": i, "contents": text}) + "\n" for i, text in TEXTS.items()))
    return path


@pytest.fixture(scope="session")
def served_index(served_collection) -> LuceneIndex:
    build_index(served_collection, served_collection.with_name("index"))
    return LuceneIndex(served_collection.with_name("index"))


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture(scope="session")
def offline(cross_encoder_folder, other_folder) -> Mapping[str, Reranker]:
    """The rerankers by themselves, to hold answers against."""
    return _load(cross_encoder_folder, other_folder)


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Serve rerankers, and an index where one is given, in a thread; the context is a client of it."""

    @contextmanager
    def serve(
        rerankers: Mapping[str, Reranker], index: LuceneIndex | None = None, **options: Any
    ) -> Iterator[httpx.Client]:
        limits = options.pop("limits", None) or Limits()
        service = Service(rerankers, index, limits, options.pop("examples", ()))
        server = make_server(create_app(service, **options), limits)
        listening = listen("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=address_of(listening), timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()

    return serve


@pytest.fixture(scope="session")
def client(serving, served_index, cross_encoder_folder, other_folder) -> Iterator[httpx.Client]:
    """A client of a service over the index and two rerankers, with narrow limits on what a request holds."""
    limits = Limits(
        max_candidates=20, max_body_bytes=20_000, max_text_chars=500, max_query_chars=100, body_timeout_s=0.5
    )
    hosts = {"127.0.0.1", "localhost", "[::1]"}
    rerankers = _load(cross_encoder_folder, other_folder)
    with serving(rerankers, served_index, limits=limits, hosts=hosts, examples=EXAMPLES) as connected:
        yield connected
