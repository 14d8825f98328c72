"""A system in a process of its own: one JSON request a line on stdin, one JSON answer a line on stdout.

    python -m reranker_kd.benchmark.worker     a reranker of this package
    python worker.py FILE NAME                 a peer, by a Python that has its library

``FILE`` is Python, and its ``PEERS`` has under ``NAME`` a function ``load(model, max_length, device=None)``, or a pair
of it and ``prepare(model, folder, max_length)``, which writes the model into a folder in the form that ``load`` takes.
``load`` returns a function from ``[(query, [text, ...]), ...]`` to their scores (``[[float, ...], ...]``, logits, so
that all systems can be held against each other), and a description (``{"precision": ...}``).

Nothing of reranker_kd and nothing outside the standard library is imported at the top: libraries pin versions that
exclude each other.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Queries = list[tuple[str, list[str]]]
Score = Callable[[Queries], list[list[float]]]
Load = Callable[..., tuple[Score, dict[str, Any]]]
Prepare = Callable[[str, Path, int], None]


class Session:
    """The requests that a process answers, each by a method; its arguments are the request's keys."""

    def __init__(self, load: Load, prepare: Prepare | None = None) -> None:
        self._load = load
        self._prepare = prepare
        self._queries: Queries = []
        self._score: Score = lambda queries: [[0.0 for _ in texts] for _, texts in queries]

    def prepare(self, model: str, folder: str, max_length: int) -> dict[str, Any]:
        """Return the folder to load: the model's own, or a new one with the model in the library's form."""
        if self._prepare is None:
            return {"model": model}
        Path(folder).mkdir()
        self._prepare(model, Path(folder), max_length)
        return {"model": folder}

    def start(self, model: str, keywords: dict[str, Any], pair: tuple[str, str]) -> dict[str, Any]:
        """Load a model and score a pair."""
        self._score, description = self._load(model, **keywords)
        self._score([(pair[0], [pair[1]])])
        return {"description": description}

    def warm(self, queries: Queries, pairs: int) -> dict[str, Any]:
        """Take the queries, and score some of their pairs (about ``pairs``), untimed; return versions of packages."""
        self._queries = [(query, list(texts)) for query, texts in queries]
        step = max(1, sum(len(texts) for _, texts in queries) // pairs)
        self._score([(query, texts[::step]) for query, texts in self._queries])
        for query in self._queries[:3]:
            self._score([query])
        return {"software": _software()}

    def pairs(self) -> dict[str, Any]:
        """Score all pairs, handed over together."""
        start = time.perf_counter()
        scores = self._score(self._queries)
        return {"seconds": time.perf_counter() - start, "scores": [list(map(float, row)) for row in scores]}

    def queries(self) -> dict[str, Any]:
        """Score the candidates of one query after the other."""
        milliseconds = []
        for query in self._queries:
            start = time.perf_counter()
            self._score([query])
            milliseconds.append(1000 * (time.perf_counter() - start))
        return {"milliseconds": milliseconds}


def serve(session: Session) -> None:
    """Answer requests until stdin ends.

    A request is a JSON object: ``do`` names a method of the session, the other keys are its arguments. An answer holds
    what the method returns and ``peak_memory_bytes``, or ``error``, a line.
    """
    # Libraries print to stdout what is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(session, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        answers.write(json.dumps({**answer, "peak_memory_bytes": _peak_memory_bytes()}) + "\n")
        answers.flush()


def load_own(model: str, **keywords: Any) -> tuple[Score, dict[str, Any]]:
    """Return what scores queries by a reranker of this package, and what the reranker says of itself."""
    from reranker_kd.rerank.registry import load_reranker

    reranker = load_reranker(model, **keywords)

    def score(queries: Queries) -> list[list[float]]:
        scores = iter(reranker.score_pairs([(query, text) for query, texts in queries for text in texts]).tolist())
        return [[next(scores) for _ in texts] for _, texts in queries]

    description = reranker.describe()
    return score, {name: description[name] for name in ("backend", "precision", "device") if name in description}


def load_peer(file: str, name: str) -> tuple[Load, Prepare | None]:
    """Return the functions of a peer out of a file."""
    peers = runpy.run_path(file)["PEERS"]
    if name not in peers:
        sys.exit(f"{file}: no peer {name!r}; it has {', '.join(peers)}")
    peer = peers[name]
    return peer if isinstance(peer, tuple) else (peer, None)


def _peak_memory_bytes() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux hands a parent's peak down to its children in ru_maxrss.
        found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if found:
            return 1024 * int(found[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _software() -> dict[str, str]:
    """Return the versions of Python and of the packages that are loaded."""
    versions = {"python": sys.version.split()[0]}
    for module in sorted({name.partition(".")[0] for name in sys.modules}):
        with suppress(PackageNotFoundError, ValueError):
            versions[module.replace("_", "-")] = version(module)
    return versions


if __name__ == "__main__":
    if sys.argv[1:]:
        # The folder of this file, whose modules are not the peer's.
        del sys.path[0]
        serve(Session(*load_peer(*sys.argv[1:])))
    else:
        serve(Session(load_own))
