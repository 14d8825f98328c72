"""What a user may ask of a reranker that is a model: the keywords of ``load_reranker``."""

from __future__ import annotations

from reranker_kd.inference.options import ModelOptions
from reranker_kd.rerank.long_documents import LongDocuments


class RerankOptions(ModelOptions, LongDocuments):
    """How the model runs, and how it reads long documents."""
