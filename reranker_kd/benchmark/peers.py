"""Rerankers of other libraries, each behind a few lines. Run as a script by a Python that has the library.

    python peers.py NAME

One JSON request a line on stdin, one JSON answer a line on stdout (see :func:`serve`). Nothing of reranker_kd and
nothing outside the standard library is imported at the top: the libraries pin versions that exclude each other.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Queries = list[tuple[str, list[str]]]
"""Queries, each with the texts of its candidates."""

Score = Callable[[Queries], list[list[float]]]
"""From queries to the scores of their texts: logits, so that all libraries can be held against each other."""

Load = Callable[..., tuple[Score, dict[str, Any]]]
"""From a model's folder and the longest input to its scores, and to what is to be said of backend and precision."""

_PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "optimum",
    "optimum-onnx",
    "optimum-intel",
    "openvino",
    "onnxruntime",
    "nncf",
    "flashrank",
    "rerankers",
    "reranker-kd",
)


@dataclass(frozen=True)
class Peer:
    """A reranker of another library.

    :param requires: what pip installs it by
    :param load: loads a model's folder
    :param prepare: writes the model in the form that is loaded into a folder; None where there is nothing to convert
    """

    requires: str
    load: Load
    prepare: Callable[[str, Path, int], None] | None = None


def _sentence_transformers(backend: str = "torch", precision: str = "float32", file: str | None = None) -> Load:
    def load(folder: str, max_length: int, device: str | None = None) -> tuple[Score, dict[str, Any]]:
        import torch
        from sentence_transformers import CrossEncoder

        keywords: dict[str, Any] = {}
        if backend == "torch":
            # The library's own default is not to say anything.
            keywords = {} if precision == "float32" else {"dtype": precision}
        elif file is not None:
            keywords = {"file_name": file}
        model = CrossEncoder(folder, max_length=max_length, backend=backend, device=device, model_kwargs=keywords)
        identity = torch.nn.Identity()

        def score(queries: Queries) -> list[list[float]]:
            pairs = [(query, text) for query, texts in queries for text in texts]
            scores = model.predict(pairs, activation_fn=identity, show_progress_bar=False)
            return _by_query([float(s) for s in scores.reshape(-1)], queries)

        if backend != "openvino":
            return score, {"precision": precision}
        # OpenVINO picks it by the processor: bfloat16 where it computes in it.
        picked = model.transformers_model.request.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return score, {"precision": {"bf16": "bfloat16", "f32": "float32"}.get(picked, picked)}

    return load


def _exported(backend: str) -> Callable[[str, Path, int], None]:
    def prepare(model: str, folder: Path, max_length: int) -> None:
        from sentence_transformers import CrossEncoder

        CrossEncoder(model, max_length=max_length, backend=backend, device="cpu").save_pretrained(str(folder))

    return prepare


def _quantised(model: str, folder: Path, max_length: int) -> None:
    """Write dynamic int8 for processors with AVX-512 VNNI, as sentence-transformers' guide has it."""
    from sentence_transformers import CrossEncoder, export_dynamic_quantized_onnx_model

    loaded = CrossEncoder(model, max_length=max_length, backend="onnx", device="cpu")
    loaded.save_pretrained(str(folder))
    export_dynamic_quantized_onnx_model(loaded, "avx512_vnni", str(folder), file_suffix="int8")
    (folder / "onnx" / "model.onnx").unlink()


# FlashRank takes models of its own list only: ours goes under the name of one of them.
_FLASHRANK_NAME = "ms-marco-MiniLM-L-12-v2"
_FLASHRANK_FILE = "flashrank-MiniLM-L-12-v2_Q.onnx"


def _flashrank_folder(model: str, folder: Path, max_length: int) -> None:
    _quantised(model, folder, max_length)
    named = folder / _FLASHRANK_NAME
    named.mkdir()
    for path in folder.glob("*.json"):
        path.rename(named / path.name)
    (folder / "onnx" / "model_int8.onnx").rename(named / _FLASHRANK_FILE)
    special = named / "special_tokens_map.json"
    if not special.is_file():
        # transformers 5 keeps these in tokenizer_config.json alone.
        config = json.loads((named / "tokenizer_config.json").read_text(encoding="utf-8"))
        tokens = {name: config[name] for name in ("pad_token", "cls_token", "sep_token", "unk_token") if name in config}
        special.write_text(json.dumps(tokens), encoding="utf-8")


def _flashrank(folder: str, max_length: int, device: str | None = None) -> tuple[Score, dict[str, Any]]:  # noqa: ARG001
    import numpy
    from flashrank import Ranker, RerankRequest

    ranker = Ranker(_FLASHRANK_NAME, cache_dir=folder, max_length=max_length, log_level="WARNING")

    def score(queries: Queries) -> list[list[float]]:
        scores = []
        for query, texts in queries:
            passages = [{"id": place, "text": text} for place, text in enumerate(texts)]
            ranked = ranker.rerank(RerankRequest(query=query, passages=passages))
            shares = numpy.zeros(len(texts))
            shares[[passage["id"] for passage in ranked]] = [passage["score"] for passage in ranked]
            # It returns the sigmoid.
            scores.append(numpy.log(shares / (1 - shares)).tolist())
        return scores

    return score, {"precision": "int8"}


def _rerankers(folder: str, max_length: int, device: str | None = None) -> tuple[Score, dict[str, Any]]:
    from rerankers import Reranker

    keywords = {"device": device} if device else {}
    ranker = Reranker(
        folder, model_type="cross-encoder", verbose=0, tokenizer_kwargs={"model_max_length": max_length}, **keywords
    )

    def score(queries: Queries) -> list[list[float]]:
        scores = []
        for query, texts in queries:
            ranked = ranker.rank(query, texts, doc_ids=list(range(len(texts))))
            by_place = {result.doc_id: float(result.score) for result in ranked}
            scores.append([by_place[place] for place in range(len(texts))])
        return scores

    return score, {"precision": "float32"}


_ONNX = "sentence-transformers[onnx]"
_OPENVINO = "sentence-transformers[openvino]"

PEERS = {
    "sentence-transformers": Peer("sentence-transformers", _sentence_transformers()),
    "sentence-transformers-bf16": Peer("sentence-transformers", _sentence_transformers(precision="bfloat16")),
    "sentence-transformers-onnx": Peer(_ONNX, _sentence_transformers("onnx"), _exported("onnx")),
    "sentence-transformers-onnx-int8": Peer(
        _ONNX, _sentence_transformers("onnx", "int8", "model_int8.onnx"), _quantised
    ),
    "sentence-transformers-openvino": Peer(_OPENVINO, _sentence_transformers("openvino"), _exported("openvino")),
    "flashrank": Peer(f"flashrank '{_ONNX}'", _flashrank, _flashrank_folder),
    "rerankers": Peer("'rerankers[transformers]'", _rerankers),
}


def _by_query(scores: list[float], queries: Queries) -> list[list[float]]:
    remaining = iter(scores)
    return [[next(remaining) for _ in texts] for _, texts in queries]


class _Session:
    """The requests that a process answers, each by a method; its arguments are the request's keys."""

    def __init__(self, load: Load, prepare: Callable[[str, Path, int], None] | None) -> None:
        self._load = load
        self._prepare = prepare
        self._queries: Queries = []
        self._score: Score = lambda queries: [[0.0 for _ in texts] for _, texts in queries]

    def prepare(self, model: str, folder: str, max_length: int) -> dict[str, Any]:
        """Write a model into a folder in the form that the library loads."""
        assert self._prepare is not None
        self._prepare(model, Path(folder), max_length)
        return {}

    def start(self, model: str, keywords: dict[str, Any], pair: tuple[str, str]) -> dict[str, Any]:
        """Load a model and score a pair."""
        self._score, description = self._load(model, **keywords)
        self._score([(pair[0], [pair[1]])])
        return {"description": description, "software": _software()}

    def warm(self, queries: Queries, pairs: int) -> dict[str, Any]:
        """Take the queries, and score some of their pairs (about ``pairs``), untimed."""
        self._queries = [(query, list(texts)) for query, texts in queries]
        step = max(1, sum(len(texts) for _, texts in queries) // pairs)
        self._score([(query, texts[::step]) for query, texts in self._queries])
        for query in self._queries[:3]:
            self._score([query])
        return {}

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


def serve(load: Load, prepare: Callable[[str, Path, int], None] | None = None) -> None:
    """Answer requests until stdin ends.

    A request is a JSON object: ``do`` names a method of :class:`_Session`, the other keys are its arguments. An
    answer holds what the method returns and ``peak_memory_bytes``, or ``error``, a line, and ``missing``: whether a
    package is.
    """
    # Libraries print to stdout what is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    session = _Session(load, prepare)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(session, request.pop("do"))(**request)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            answer = {"error": said, "missing": isinstance(error, ImportError)}
        answers.write(json.dumps({**answer, "peak_memory_bytes": _peak_memory_bytes()}) + "\n")
        answers.flush()


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
    versions = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


if __name__ == "__main__":
    serve(PEERS[sys.argv[1]].load, PEERS[sys.argv[1]].prepare)
