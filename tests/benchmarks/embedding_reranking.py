"""Reranking 1,000 candidates of a query by precomputed embeddings, beside a cross-encoder of the same size.

    python tests/benchmarks/embedding_reranking.py COLLECTION [ROUNDS]

The cross-encoder has all-MiniLM-L6-v2's shape and weights, and a head of its own: its scores mean nothing, its time is
a cross-encoder's. Both rerank the same candidates in the best precision here; the time of encoding the query is told
apart. The target is under a thousandth.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reranker_kd import load_reranker
from reranker_kd.formats.collections import read_collection
from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.resources.packaged_models import all_minilm_l6_v2
from reranker_kd.retrieve.dense.encoding import encode_collection, survey_collection
from reranker_kd.types import Candidate

QUERY = "how long does it take to get a passport"


def main(collection: str, rounds: int = 5) -> None:
    """Time both in turns and print the medians."""
    taken = list(islice(read_collection(collection), 2000))
    with tempfile.TemporaryDirectory() as temporary:
        sample = Path(temporary) / "docs.tsv"
        sample.write_text("".join(f"{d.docid}\t{' '.join(d.text.split())}\n" for d in taken), encoding="utf-8")
        encoder = load_encoder(all_minilm_l6_v2(), precision="auto")
        encode_collection(sample, survey_collection(sample), encoder, Path(temporary) / "embeddings")
        cross = AutoModelForSequenceClassification.from_pretrained(all_minilm_l6_v2(), num_labels=1)
        cross.save_pretrained(Path(temporary) / "cross")
        AutoTokenizer.from_pretrained(all_minilm_l6_v2()).save_pretrained(Path(temporary) / "cross")
        by_text = load_reranker(Path(temporary) / "cross", precision="auto", max_length=256)
        gathering = load_reranker(all_minilm_l6_v2(), embeddings=Path(temporary) / "embeddings")
    candidates = [Candidate(d.docid, -i, d.text) for i, d in enumerate(taken[:1000])]
    without_texts = [Candidate(d.docid, -i) for i, d in enumerate(taken[:1000])]
    seconds: dict[str, list[float]] = {"cross-encoder": [], "embeddings, all": [], "encoding the query": []}
    for _ in range(rounds):
        seconds["cross-encoder"].append(_seconds(lambda: by_text.rerank(QUERY, candidates)))
        for _ in range(20):
            seconds["embeddings, all"].append(_seconds(lambda: gathering.rerank(QUERY, without_texts)))
            seconds["encoding the query"].append(_seconds(lambda: gathering.encoder.encode_queries([QUERY])))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:22} {1000 * median:9.2f} ms for 1,000 candidates")
    gathered = medians["embeddings, all"] - medians["encoding the query"]
    print(f"gathering and scoring  {1000 * gathered:9.2f} ms: one {medians['cross-encoder'] / gathered:.0f}th")


def _seconds(act) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
