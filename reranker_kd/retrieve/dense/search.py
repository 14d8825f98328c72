"""Dense retrieval: the documents whose embeddings have the largest inner product with the query's."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from reranker_kd.inference.text_encoder import TextEncoder
from reranker_kd.retrieve.dense.compatibility import check_made_by, check_searchable
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.types import Run, Topics, in_rank_order


def search_topics(
    index: EmbeddingIndex,
    encoder: TextEncoder,
    topics: Topics,
    *,
    hits: int = 1000,
    batch_size: int = 256,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Run:
    """Return the documents found for each topic, at most ``hits``.

    :param batch_size: topics that are encoded and searched together
    :param on_progress: called with the number of topics finished since the last call
    :raises InputError: a model that did not make the embeddings, or whose scores are no inner products
    """
    check_searchable(encoder)
    check_made_by(index, encoder)
    run: Run = {}
    remaining = iter(topics.items())
    while batch := list(islice(remaining, batch_size)):
        scores, rows = index.search(encoder.encode_queries([text for _, text in batch]), hits)
        for (qid, _), found, values in zip(batch, rows.tolist(), scores.tolist(), strict=True):
            # FAISS fills up with row -1 where it finds fewer.
            documents = {index.docids[row]: score for row, score in zip(found, values, strict=True) if row >= 0}
            run[qid] = in_rank_order(documents)
        on_progress(len(batch))
    return run
