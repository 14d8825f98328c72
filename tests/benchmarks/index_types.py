"""What each type of FAISS index costs and loses, over one folder of Flat embeddings.

    python tests/benchmarks/index_types.py FLAT_FOLDER TOPICS QRELS CANDIDATES [MODEL]

For each type: bytes of the index, seconds to build it, milliseconds a query of searching it (the query's encoding
apart, one query at a time, 2 threads, medians), nDCG@10 of the search and of reranking candidates by its vectors.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from reranker_kd import load_reranker
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.formats.topics import read_topics
from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.rerank.rerank_run import rerank_run
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.encoding import convert_embeddings
from reranker_kd.retrieve.dense.search import search_topics

TYPES = [
    ("Flat", {}),
    ("fp16", {}),
    ("SQ8", {}),
    ("PQ96np", {}),
    ("PQ48np", {}),
    ("HNSW32", {}),
    ("HNSW32", {"ef_search": 128}),
    ("IVF128,Flat", {}),
    ("IVF128,Flat", {"nprobe": 16}),
]


def main(flat: str, topics_file: str, qrels_file: str, candidates_file: str, model: str = "all-MiniLM-L6-v2") -> None:
    """Print a row for each type."""
    topics, qrels, candidates = read_topics(topics_file), read_qrels(qrels_file), read_run(candidates_file)
    encoder = load_encoder(model)
    measures = ["nDCG@10", "R@100"]
    queries = encoder.encode_queries(list(topics.values()))
    print("| type | MB | built in | ms a query | nDCG@10 | R@100 | nDCG@10 reranking |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        for name, settings in TYPES:
            folder = Path(temporary) / name
            start = time.perf_counter()
            if not folder.is_dir():
                convert_embeddings(EmbeddingIndex(flat), folder, name)
            built = time.perf_counter() - start
            index = EmbeddingIndex(folder, threads=2, **settings)
            index.search(queries[:1], 100)
            times = []
            for query in queries:
                start = time.perf_counter()
                index.search(query[None], 100)
                times.append(time.perf_counter() - start)
            searched = evaluate(search_topics(index, encoder, topics, hits=100), qrels, measures).means
            reranker = load_reranker(model, embeddings=folder)
            reranked = rerank_run(candidates, topics, lambda _: {}, reranker).run
            ndcg = evaluate(reranked, qrels, measures[:1]).means["nDCG@10"]
            size = (folder / "index").stat().st_size / 1e6
            label = ", ".join([f"`{name}`", *(f"{key} {value}" for key, value in settings.items())])
            print(
                f"| {label} | {size:.1f} | {built:.1f} s | {1000 * statistics.median(times):.2f} "
                f"| {searched['nDCG@10']:.4f} | {searched['R@100']:.4f} | {ndcg:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
