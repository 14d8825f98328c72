"""The bridge to Lucene: the only package that knows Pyserini and the JVM. Java starts on first use."""

from reranker_kd.retrieve.lucene.index import LuceneIndex, SearchSettings
from reranker_kd.retrieve.lucene.index_writer import LuceneIndexWriter, index_with_anserini, is_index
from reranker_kd.retrieve.lucene.jvm import JAVA_LOG_VARIABLE, pyserini_importable
from reranker_kd.retrieve.lucene.named import pyserini_topics, qrels_file

__all__ = [
    "JAVA_LOG_VARIABLE",
    "LuceneIndex",
    "LuceneIndexWriter",
    "SearchSettings",
    "index_with_anserini",
    "is_index",
    "pyserini_importable",
    "pyserini_topics",
    "qrels_file",
]
