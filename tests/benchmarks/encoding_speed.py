"""Documents a second of ``reranker-kd encode`` beside sentence-transformers' and Pyserini's own encoding.

    python tests/benchmarks/encoding_speed.py COLLECTION [DOCUMENTS [ROUNDS]]

The same texts, all-MiniLM-L6-v2, one process, in turns: sentence-transformers' ``encode`` as it is by default (float32,
batches of 32), Pyserini's ``AutoDocumentEncoder`` with its command's defaults (float32, batches of 64), and ours as
the command runs it (survey, parts, index and all), in the precision that the processor is best at and in float32.
Prints medians, ratios, and the smallest cosine of our vectors to sentence-transformers' float32 ones.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from reranker_kd.formats.collections import read_collection
from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.resources.packaged_models import all_minilm_l6_v2
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.encoding import encode_collection, survey_collection
from reranker_kd.retrieve.lucene.jvm import pyserini_importable, start_java


def main(collection: str, documents: int = 2000, rounds: int = 3) -> None:
    """Time all in turns and print the medians."""
    start_java()
    with pyserini_importable():
        from pyserini.encode import AutoDocumentEncoder

    taken = list(islice(read_collection(collection), documents))
    texts = [document.text for document in taken]
    folder = str(all_minilm_l6_v2())
    theirs = SentenceTransformer(folder, device="cpu")
    pyserini = AutoDocumentEncoder(folder, device="cpu", pooling="mean", l2_norm=True)
    ours = {precision: load_encoder(folder, precision=precision) for precision in ("auto", "float32")}
    vectors = {}
    with tempfile.TemporaryDirectory() as temporary:
        sample = Path(temporary) / "docs.jsonl"
        with sample.open("w", encoding="utf-8") as stream:
            for document in taken:
                stream.write(json.dumps({"id": document.docid, "contents": document.text}) + "\n")

        def encode_ours(precision: str) -> None:
            output = Path(temporary) / precision
            encode_collection(sample, survey_collection(sample), ours[precision], output, overwrite=True)
            vectors[precision] = EmbeddingIndex(output).vectors_of(np.arange(len(taken)))

        def encode_sentence_transformers() -> None:
            vectors["sentence-transformers"] = theirs.encode(texts, show_progress_bar=False)

        def encode_pyserini() -> None:
            batches = [texts[start : start + 64] for start in range(0, len(texts), 64)]
            vectors["pyserini"] = np.concatenate([pyserini.encode(batch, max_length=256) for batch in batches])

        acts = {
            "sentence-transformers": encode_sentence_transformers,
            "pyserini": encode_pyserini,
            "auto": lambda: encode_ours("auto"),
            "float32": lambda: encode_ours("float32"),
        }
        encode_ours("auto")
        seconds = {name: [] for name in acts}
        for _ in range(rounds):
            for name, act in acts.items():
                start = time.perf_counter()
                act()
                seconds[name].append(time.perf_counter() - start)
    reference = vectors["sentence-transformers"]
    print(f"documents {len(texts)}, rounds {rounds}, ours in {ours['auto'].describe()['precision']}")
    for name in acts:
        ratio = statistics.median(s / o for s, o in zip(seconds[name], seconds["auto"], strict=True))
        cosine = (reference * vectors[name]).sum(1).min()
        rate = len(texts) / statistics.median(seconds[name])
        print(f"{name:22} {rate:7.1f} documents/s, ours is {ratio:.2f} times as fast, smallest cosine {cosine:.5f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
