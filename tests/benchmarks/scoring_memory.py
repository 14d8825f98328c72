"""Peak memory of scoring pairs, and of scoring several times as many.

    python tests/benchmarks/scoring_memory.py MODEL PAIRS.tsv [BACKEND [TIMES]]

PAIRS.tsv has a query and a text a line, at least as many as the engine orders at a time (4,096), so that more of them
are more work and not a larger pool. The larger set repeats the texts, each time with another word before them: what is
kept of a text cannot be shared, and lengths are alike. Each set is scored in a process of its own, to which the pairs
come in blocks of the smaller set's size, as they do when a run is reranked.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

MAX_LENGTH = 256


def score(model: str, pairs_file: str, backend: str, times: int) -> None:
    """Score the pairs so many times and print the pairs and the peak in MiB, as JSON."""
    from reranker_kd import load_reranker

    pairs = [line.split("\t", 1) for line in Path(pairs_file).read_text(encoding="utf-8").splitlines()]
    reranker = load_reranker(model, max_length=MAX_LENGTH, backend=backend, precision="auto")
    for repeat in range(times):
        reranker.score_pairs([(query, f"{repeat} {text}") for query, text in pairs])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"pairs": times * len(pairs), "peak": peak, **reranker.describe()}))


def main(model: str, pairs_file: str, backend: str = "auto", times: int = 5) -> None:
    """Score both sets and print their peaks."""
    peaks = []
    for repeats in (1, times):
        command = [sys.executable, __file__, "--score", model, pairs_file, backend, str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout.splitlines()[-1])
        peaks.append(said["peak"])
        print(f"{said['backend']} {said['precision']}, {said['pairs']} pairs: peak {said['peak']:.0f} MiB", flush=True)
    print(f"{times} times the pairs: {peaks[1] / peaks[0]:.3f} times the peak")


if __name__ == "__main__":
    if sys.argv[1] == "--score":
        score(*sys.argv[2:5], int(sys.argv[5]))
    else:
        main(*sys.argv[1:4], *map(int, sys.argv[4:5]))
