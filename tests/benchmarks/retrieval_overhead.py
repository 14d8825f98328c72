"""What our retrieval costs over Pyserini's own ``batch_search``: the same queries, side by side in one process.

    python tests/benchmarks/retrieval_overhead.py INDEX TOPICS [ROUNDS]

Prints the median seconds of each over the rounds, taken in turns, and the median of the ratios. Ours includes
turning Lucene's hits into docids and scores and putting them in trec_eval's order; Pyserini's returns Java objects,
whose docids and scores are not read yet.
"""

from __future__ import annotations

import statistics
import sys
import time

from reranker_kd.formats.topics import read_topics
from reranker_kd.retrieve.lucene import LuceneIndex


def main(index: str, topics_file: str, rounds: int = 15) -> None:
    """Time both in turns and print the medians."""
    topics = read_topics(topics_file)
    ours = LuceneIndex(index)

    from pyserini.search.lucene import LuceneSearcher

    theirs = LuceneSearcher(index)
    theirs.set_bm25(0.9, 0.4)

    def search_ours() -> None:
        ours.search(topics)

    def search_theirs() -> None:
        theirs.batch_search(list(topics.values()), list(topics), k=1000, threads=2)

    # The JVM compiles what runs hot: the first rounds do not count.
    for _ in range(5):
        search_ours()
        search_theirs()
    seconds = [(_seconds(search_ours), _seconds(search_theirs)) for _ in range(rounds)]
    print(f"queries {len(topics)}, hits 1000, threads 2, rounds {rounds}")
    print(f"reranker_kd  {statistics.median(ours for ours, _ in seconds):.4f} s")
    print(f"pyserini     {statistics.median(theirs for _, theirs in seconds):.4f} s")
    print(f"ratio        {statistics.median(ours / theirs for ours, theirs in seconds):.3f}")


def _seconds(act) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
