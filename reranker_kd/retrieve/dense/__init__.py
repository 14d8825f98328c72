"""FAISS folders: embeddings written so that Pyserini's FaissSearcher opens them, and such folders searched."""

from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.index_types import resolve_index_type
from reranker_kd.retrieve.dense.index_writer import write_index

__all__ = ["EmbeddingIndex", "resolve_index_type", "write_index"]
