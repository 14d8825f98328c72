"""``pyserini.search.lucene`` on a Java that runs it: ``from reranker_kd.lucene import LuceneSearcher``.

The names of Pyserini's module are these; asking for the first one starts Java. From then on all of Pyserini can be
imported.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reranker_kd.retrieve.lucene import pyserini_lucene

    return getattr(pyserini_lucene(), name)
