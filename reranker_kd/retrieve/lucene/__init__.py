"""The bridge to Lucene: the only package that knows Pyserini and the JVM. Java starts on first use."""

from reranker_kd.retrieve.lucene.index import LuceneIndex, SearchSettings, pyserini_lucene
from reranker_kd.retrieve.lucene.index_writer import index_with_anserini, is_index, write_index
from reranker_kd.retrieve.lucene.jvm import pyserini_importable
from reranker_kd.retrieve.lucene.named import pyserini_topics, qrels_file

__all__ = [
    "LuceneIndex",
    "SearchSettings",
    "index_with_anserini",
    "is_index",
    "pyserini_importable",
    "pyserini_lucene",
    "pyserini_topics",
    "qrels_file",
    "write_index",
]
