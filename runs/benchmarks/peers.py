"""Rerankers of other libraries for ``reranker-kd benchmark --peer runs/benchmarks/peers.py:NAME``.

``PEERS`` at the end has each under its name, as ``reranker_kd/benchmark/worker.py`` takes them. peers.txt lists what
they need. Nothing outside the standard library is imported at the top: not every Python has all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Queries = list[tuple[str, list[str]]]
"""Queries, each with the texts of its candidates."""

Score = Callable[[Queries], list[list[float]]]
"""From queries to the scores of their texts: logits, so that all libraries can be held against each other."""

Load = Callable[..., tuple[Score, dict[str, Any]]]
"""From a model's folder and the longest input to its scores, and to what is to be said of backend and precision."""


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


def _by_query(scores: list[float], queries: Queries) -> list[list[float]]:
    remaining = iter(scores)
    return [[next(remaining) for _ in texts] for _, texts in queries]


PEERS = {
    "sentence-transformers": _sentence_transformers(),
    "sentence-transformers-bf16": _sentence_transformers(precision="bfloat16"),
    "sentence-transformers-onnx": (_sentence_transformers("onnx"), _exported("onnx")),
    "sentence-transformers-onnx-int8": (_sentence_transformers("onnx", "int8", "model_int8.onnx"), _quantised),
    "sentence-transformers-openvino": (_sentence_transformers("openvino"), _exported("openvino")),
    "flashrank": (_flashrank, _flashrank_folder),
    "rerankers": _rerankers,
}
