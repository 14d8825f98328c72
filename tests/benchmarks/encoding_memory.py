"""Peak memory of ``reranker-kd encode`` over a collection and over one of twenty times the documents.

    python tests/benchmarks/encoding_memory.py COLLECTION [DOCUMENTS [TIMES]]

Each collection is encoded by a command of its own, whose peak resident memory the system reports. The larger one
repeats the smaller one's texts under other docids, so that the lengths of texts are alike.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from itertools import islice
from pathlib import Path

from reranker_kd.formats.collections import read_collection


def main(collection: str, documents: int = 2048, times: int = 20, index_type: str = "Flat") -> None:
    """Encode both and print the peaks."""
    taken = list(islice(read_collection(collection), documents))
    peaks = []
    with tempfile.TemporaryDirectory() as temporary:
        for repeats in (1, times):
            sample = Path(temporary) / f"docs-{repeats}.jsonl"
            with sample.open("w", encoding="utf-8") as stream:
                for repeat in range(repeats):
                    for document in taken:
                        line = {"id": f"{document.docid}-{repeat}", "contents": document.text}
                        stream.write(json.dumps(line) + "\n")
            command = [sys.executable, "-m", "reranker_kd", "encode", "--collection", str(sample)]
            command += ["--model", "all-MiniLM-L6-v2", "--output", str(sample.with_suffix("")), "--max-length", "64"]
            command += ["--index-type", index_type]
            pid = os.spawnv(os.P_NOWAIT, sys.executable, command)
            _, status, usage = os.wait4(pid, 0)
            assert status == 0
            peaks.append(usage.ru_maxrss / 1024)
            print(f"{repeats * len(taken)} documents: peak {peaks[-1]:.0f} MiB", flush=True)
    print(f"{times} times the documents: {peaks[1] / peaks[0]:.3f} times the peak")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:5])
